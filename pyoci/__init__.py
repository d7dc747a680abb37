"""pyoci: an OCI container runtime for Linux. The command is `pyoci`; see docs/architecture.md for the map."""

__version__ = "0.1.0"
SPEC_VERSION = "1.3.0"
