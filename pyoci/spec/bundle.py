"""Reads and checks a bundle: a directory with a config.json (bundle.md, config.md).

The ordinary case costs a read, a parse in C and two passes over the result (`_validator`, generated from
schemas/, and `rules`). Whatever is needed to explain a mistake is imported only when there is one.
"""

import errno
import posix

from pyoci.errors import ConfigError, Error, cause_of, missing_package
from pyoci.jsontext import parse
from pyoci.paths import absolute, is_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

SIZE_LIMIT = 64 << 20


class Bundle:
    """A bundle whose config.json was read and found valid.

    Attributes:
        path: the bundle's directory, absolute and normalised; symbolic links are kept.
        config_path: the file that `config` came from, absolute.
        config: the configuration; members that were null are gone.
        raw: the bytes of the file, as they were read once (later edits have no effect; runtime.md, "create").
        name: what the file is called in messages.
    """

    __slots__ = ("config", "config_path", "name", "path", "raw")

    def __init__(self, path: str, config_path: str, config: "dict[str, Any]", raw: bytes, name: str) -> None:
        self.path = path
        self.config_path = config_path
        self.config = config
        self.raw = raw
        self.name = name

    @staticmethod
    def load(
        path: str, config_path: "str | None" = None, *, warn: "Callable[[str], None] | None" = None
    ) -> "Bundle":
        """Read and check one; see `load`."""
        return load(path, config_path, warn=warn)


def load(
    bundle_path: str, config_path: "str | None" = None, *, warn: "Callable[[str], None] | None" = None
) -> Bundle:
    """Read the bundle's config.json and check it.

    Arguments:
        bundle_path: the bundle's directory, absolute or relative to the working directory.
        config_path: another file to read in place of config.json; relative to the bundle, as crun has it.
        warn: called with a line for each property that seems to be misspelt, also of a config that isn't valid.

    Raises:
        Error: a file that can't be read or isn't JSON.
        ConfigError: a configuration that isn't valid; it has every problem, in the order of the file.
    """
    try:
        path = absolute(bundle_path)
    except OSError as error:
        raise Error(f'the bundle "{bundle_path}": no working directory ({cause_of(error)})') from None
    name = config_path or "config.json"
    file = name if name.startswith("/") else f"{path}/{name}"
    try:
        raw = _read(file)
    except OSError as error:
        _explain_unreadable(path, file, error)
    config = parse(raw, name)
    validate(config, raw, name, warn=warn)
    if b"null" in raw:
        drop_nulls(config)
    return Bundle(path, file, config, raw, name)


def _read(file: str) -> bytes:
    # O_NONBLOCK: opening a FIFO would wait for its writer; to a regular file it makes no difference.
    fd = posix.open(file, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC)
    try:
        status = posix.fstat(fd)
        if status.st_mode & 0o170000 != 0o100000:  # S_IFMT, S_IFREG
            kind = "a directory" if is_directory(file) else "not a regular file"
            raise Error(f'"{file}" is {kind}')
        # The size is a hint: the file may grow, and files of /proc claim to be empty.
        chunks: "list[bytes]" = []
        left = SIZE_LIMIT + 1
        if status.st_size < left:
            while left > 0 and (chunk := posix.read(fd, min(left, max(status.st_size + 1, 65536)))):
                chunks.append(chunk)
                left -= len(chunk)
        if status.st_size > SIZE_LIMIT or left <= 0:
            raise Error(f'"{file}" is larger than {SIZE_LIMIT >> 20} MiB')
        return b"".join(chunks)
    finally:
        posix.close(fd)


def _explain_unreadable(bundle: str, file: str, error: OSError) -> "NoReturn":
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        import os  # only for the explanation: its import is slow

        if not os.path.lexists(bundle):
            raise Error(f'the bundle "{bundle}" does not exist') from None
        if not is_directory(bundle):
            raise Error(f'the bundle "{bundle}" is not a directory') from None
        hint = "`pyoci spec` writes a config.json to start from" if file.endswith("/config.json") else None
        raise Error(f'"{file}" does not exist', hint=hint) from None
    raise Error(f'"{file}" can\'t be read: {posix.strerror(error.errno or errno.EIO)}') from None


def validate(
    config: "Any",
    raw: "bytes | None" = None,
    name: str = "config.json",
    *,
    warn: "Callable[[str], None] | None" = None,
) -> None:
    """Check a configuration: its shape (schemas/config.json) and what relates its parts (`rules`).

    Arguments:
        config: what `parse` returned. A member whose value is null counts as absent.
        raw: the text that it was parsed from, for the line of each problem.
        name: what the file is called in messages.
        warn: see `load`.

    Raises:
        ConfigError: it has every problem, in the order of the file.
    """
    from pyoci.spec import rules
    from pyoci.spec._validator import is_valid

    strange: "list[Any]" = []
    valid = is_valid(config, strange) and not rules.broken(config)
    if warn and (strange or not valid):
        _warn_of_names(config, raw, name, warn)
    if not valid:
        raise _invalid(config, raw, name)


def validate_process(
    process: "Any",
    raw: "bytes | None" = None,
    name: str = "process.json",
    *,
    warn: "Callable[[str], None] | None" = None,
) -> None:
    """Check a process object on its own, as exec reads one; like `validate`.

    Raises:
        ConfigError: its pointers start at the process object.
    """
    from pyoci.spec import rules
    from pyoci.spec._validator import _process as is_valid

    strange: "list[Any]" = []
    valid = is_valid(process, strange) and not rules.broken({"process": process})
    if warn and (strange or not valid):
        _warn_of_names(process, raw, name, warn, "process")
    if not valid:
        raise _invalid(process, raw, name, "/process")


def _warn_of_names(
    value: "Any", raw: "bytes | None", name: str, warn: "Callable[[str], None]", definition: str = ""
) -> None:
    from pyoci.spec import misspelt

    for line in misspelt.warnings(value, raw, name, definition):
        warn(line)


def _invalid(value: "Any", raw: "bytes | None", name: str, root: str = "") -> Error:
    try:
        from pyoci.spec import explain
    except ImportError as error:
        missing = missing_package(error)
        return Error(
            f"{name} is not valid, and what is wrong can't be told: {missing.message}", hint=missing.hint
        )
    return ConfigError(explain.problems(value, raw, root), name=name)


def drop_nulls(value: "Any") -> None:
    """Remove every member of an object that is null, at any depth: nobody else need think of them."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            for name in [name for name, member in each.items() if member is None]:
                del each[name]
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
