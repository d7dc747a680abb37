"""Finds what isn't beside a wheel's package: cffi or jsonschema of the system's, for `pip install --user` and the like."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Finder:
    """The last finder: only a module that nobody else has found is looked for where this interpreter has packages."""

    def find_spec(self, name: str, path: "Any", target: object = None) -> "Any":
        """See importlib.abc.MetaPathFinder."""
        sys.meta_path.remove(self)
        import site

        site.main()
        found = (finder.find_spec(name, path, None) for finder in sys.meta_path)
        return next(filter(None, found), None)


def install() -> None:
    """Put the finder after the others."""
    sys.meta_path.append(Finder())
