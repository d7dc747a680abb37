"""`pyoci setup`: an engine's configuration gets what makes it know pyoci. Everything else in the file stays."""

import json
import os
import time
from pathlib import Path
from typing import Any

from pyoci.engines import known
from pyoci.engines.known import JSON, TOML, Engine, Wanted
from pyoci.errors import Error, cause_of
from pyoci.files import write_file

MODE = 0o644


def fragment(engine: Engine, wanted: Wanted, file: str) -> str:
    """What the file has to say, with a comment that tells where it belongs."""
    where = f"in {file}" if file else "for the cluster"
    lines = [f"{where}, and then: {engine.afterwards}" if engine.afterwards else where]
    # JSON has no comments.
    comment = "" if engine.form == JSON else "".join(f"# {line}\n" for line in lines)
    return comment + engine.settings(wanted)


def write(engine: Engine, wanted: Wanted, file: str) -> list[str]:
    """Merge it into the file; one that was there before is kept beside it.

    Arguments:
        file: the engine's, or another to be written in its place.

    Returns what was done, a line each.

    Raises Error, with the file as it was.
    """
    if not file:
        raise Error(
            f"{engine.name} has no file for this", hint=f"without --write it is printed: {engine.afterwards}"
        )
    path = Path(os.path.realpath(file))  # a symlink stays one
    before = _read(path)
    after = merged(engine, wanted, before, str(path))
    if after == before:
        return [f"{path} says so already"]
    done: list[str] = []
    if before:
        backup = f"{path}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.bak"
        write_file(backup, before.encode(), _mode(path))
        done.append(f"{backup} has what was there")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Error(f"can't make {path.parent}: {cause_of(error)}") from None
    write_file(str(path), after.encode(), _mode(path) if before else MODE)
    done.append(f"{path} is written")
    if engine.afterwards:
        done.append(f"now: {engine.afterwards}")
    return done


def merged(engine: Engine, wanted: Wanted, before: str, path: str) -> str:
    """The text of the file with what the engine has to be told.

    Raises Error: it isn't what the engine reads, or merging takes a library that isn't there.
    """
    parsed = known.parse(engine.form, before, path)
    version = parsed.get("version")
    if isinstance(version, int):
        wanted = Wanted(wanted.command, wanted.default, wanted.systemd, version)
    settings = engine.settings(wanted)
    if not before.strip():
        return settings
    if engine.form == TOML:
        return _merged_toml(before, settings)
    document = _merge(parsed, json.loads(settings))
    return before if document == known.parse(JSON, before, path) else json.dumps(document, indent=2) + "\n"


def _merged_toml(before: str, settings: str) -> str:
    """By tomlkit, which keeps the comments and the order of what is there."""
    try:
        import tomlkit
    except ImportError:
        raise Error(
            "changing an existing TOML file takes the Python package tomlkit, which is not installed",
            hint="install it (Debian: python3-tomlkit), or put in by hand what `setup` prints without --write",
        ) from None
    document = tomlkit.parse(before)
    _merge(document, tomlkit.parse(settings))
    return tomlkit.dumps(document)


def _merge(document: Any, more: Any) -> Any:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(document.get(name), dict):
            _merge(document[name], value)
        elif document.get(name) != value:
            document[name] = value
    return document


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Error(f"{path}: {cause_of(error)}") from None
    except UnicodeDecodeError:
        raise Error(f"{path}: is not UTF-8") from None


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777
