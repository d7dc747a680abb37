"""Writes what makes each engine know pyoci, as `pyoci setup` says it: `python examples.py DIRECTORY COMMAND`.

With `--list` in place of both it prints the names of the files.
"""

import sys
from pathlib import Path

from pyoci.engines.known import ENGINES, PODMANS_FILE, Engine, Wanted
from pyoci.engines.setup import fragment


def name(engine: Engine) -> str:
    """The name of its file among the examples."""
    return f"{engine.name}.{engine.form}"


def main() -> None:
    """Write them, or list their names."""
    if sys.argv[1] == "--list":
        print(*map(name, ENGINES), sep="\n")
        return
    directory, command = sys.argv[1:]
    for engine in ENGINES:
        # A user's is in their home, whoever builds this.
        file = PODMANS_FILE if engine.name == "podman" else engine.file
        Path(directory, name(engine)).write_text(fragment(engine, Wanted(command), file))


if __name__ == "__main__":
    main()
