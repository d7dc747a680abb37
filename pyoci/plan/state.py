"""The specification's state object, as hooks read it."""

from pyoci import SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def state(
    container_id: str, status: str, pid: int, bundle: str, annotations: "dict[str, str] | None"
) -> "dict[str, Any]":
    """The state (runtime.md, "State").

    Arguments:
        pid: 0 if there is no process; then it is left out, but where a status needs one.
    """
    return {
        "ociVersion": SPEC_VERSION,
        "id": container_id,
        "status": status,
        "pid": pid,
        "bundle": bundle,
        "annotations": annotations or {},
    }
