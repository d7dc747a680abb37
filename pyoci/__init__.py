"""pyoci: an OCI container runtime for Linux. The command is `pyoci`; see docs/architecture.md for the map.

For Python programs: `Bundle.load`, `compile_plan`, `Container`, and the errors `Error` and `ConfigError`. They are imported
when they are first asked for, since every command begins by importing this package.
"""

__version__ = "0.1.0"
SPEC_VERSION = "1.3.0"
__all__ = ["SPEC_VERSION", "Bundle", "ConfigError", "Container", "Error", "Plan", "Process", "compile_plan"]

# What it is called here -> the module that has it.
_PLACES = {
    "Bundle": "pyoci.spec.bundle",
    "ConfigError": "pyoci.errors",
    "Container": "pyoci.api",
    "Error": "pyoci.errors",
    "Plan": "pyoci.plan.plan",
    "Process": "pyoci.api",
    "compile_plan": "pyoci.api",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.api import Container, Process, compile_plan
    from pyoci.errors import ConfigError, Error
    from pyoci.plan.plan import Plan
    from pyoci.spec.bundle import Bundle


if not TYPE_CHECKING:  # or every misspelt name would be an object to type checkers

    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module 'pyoci' has no attribute {name!r}")
        found: object = getattr(__import__(_PLACES[name], fromlist=(name,)), name)
        globals()[name] = found
        return found


def __dir__() -> "list[str]":
    return sorted({*globals(), *_PLACES})
