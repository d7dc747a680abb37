"""Removes what `meson install` has installed from a build directory: `python uninstall.py DIRECTORY`; honours DESTDIR."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OURS = "pyoci"


def installed(directory: str) -> Iterator[Path]:
    """The files, and the bytecode of those that are Python."""
    command = [sys.executable, "-m", "mesonbuild.mesonmain", "introspect", "--installed", directory]
    listing = subprocess.run(command, check=True, capture_output=True).stdout
    for place in json.loads(listing).values():
        file = Path(os.environ.get("DESTDIR", "") + place)
        yield file
        if file.suffix == ".py":
            yield from (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc")


def main() -> None:
    """Remove them, and those directories of ours that are empty then."""
    directories = set()
    for file in installed(sys.argv[1]):
        file.unlink(missing_ok=True)
        directories |= {place for place in file.parents if OURS in place.parts[-3:]}
    for directory in sorted(directories, reverse=True):
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()


if __name__ == "__main__":
    main()
