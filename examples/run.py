"""Runs a program in a container, from Python: `run.py BUNDLE`. As root, or with a bundle for users without privileges."""

import os
import sys

import pyoci

bundle = pyoci.Bundle.load(sys.argv[1])
print(f"{len(pyoci.compile_plan(bundle).steps)} steps make it")

container = pyoci.Container.create(f"example-{os.getpid()}", bundle)
try:
    container.start()
    print(f"{container.id} is {container.status}, its process is {container.pid}")
    print(f"another process ended with {container.exec(['sh', '-c', 'exit 3']).wait()}")
    container.kill("KILL")
    print(f"it ended with {container.wait(timeout=10)}")
finally:
    container.delete(force=True)
