"""Prints where this interpreter finds packages below a prefix: `python packages_directory.py PREFIX`."""

import site
import sys

if __name__ == "__main__":
    prefix = sys.argv[1].rstrip("/")
    version = "python{}.{}".format(*sys.version_info[:2])
    found = (place for place in site.getsitepackages() if place.startswith(f"{prefix}/lib"))
    print(next(found, f"{prefix}/lib/{version}/site-packages"))
