"""Imports pyoci's own modules in a third of the usual time.

The ordinary finder lists directories and asks for a dozen attributes of each file; a command that lives for six milliseconds
feels that. This one knows where a module of the package lies. It reads the same cached bytecode and checks it against its
source in the same way; whatever it doesn't find just so (no cache yet, an edited source) it leaves to the ordinary finder.
"""

import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

PACKAGES = ("cli", "spec", "plan", "cgroups", "container", "doctor", "engines")
_ModuleSpec: "Any" = type(sys.__spec__)
_HEADER = 16  # PEP 552: the magic number, flags, the source's modification time and size


class Finder:
    """A finder and loader for the modules below a package directory.

    Arguments:
        root: the directory that holds the package, absolute.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.tag = sys.implementation.cache_tag
        self.magic = b""

    def find_spec(self, name: str, path: object, target: object = None) -> "Any":
        """See importlib.abc.MetaPathFinder."""
        if not name.startswith("pyoci."):
            return None
        place = f"{self.root}/{name.replace('.', '/')}"
        package = name[6:] in PACKAGES
        directory, _, last = (place + "/__init__" if package else place).rpartition("/")
        source = f"{directory}/{last}.py"
        code = self._cached(source, f"{directory}/__pycache__/{last}.{self.tag}.pyc")
        if code is None:
            return None
        spec = _ModuleSpec(name, self, origin=source, loader_state=code, is_package=package)
        spec.has_location = True
        if package:
            spec.submodule_search_locations.append(place)
        return spec

    def _cached(self, source: str, cache: str) -> "CodeType | None":
        try:
            fd = posix.open(cache, posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError:
            return None
        try:
            data = posix.read(fd, 1 << 20)
            stat = posix.stat(source)
        except OSError:
            return None
        finally:
            posix.close(fd)
        times, sizes = int.from_bytes(data[8:12], "little"), int.from_bytes(data[12:_HEADER], "little")
        if data[:8] != self._magic() + bytes(4) or (times, sizes) != (int(stat.st_mtime), stat.st_size):
            return None
        code: "CodeType" = marshal.loads(data[_HEADER:])
        return code

    def _magic(self) -> bytes:
        if not self.magic:
            self.magic = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER
        return self.magic

    def create_module(self, spec: object) -> None:
        """See importlib.abc.Loader; the ordinary module object will do."""

    def exec_module(self, module: "ModuleType") -> None:
        """See importlib.abc.Loader."""
        assert module.__spec__ is not None
        exec(module.__spec__.loader_state, module.__dict__)


def install(root: str) -> None:
    """Put the finder before the others.

    Arguments:
        root: the directory that holds the package.
    """
    sys.meta_path.insert(0, Finder(root))
