"""What relates the parts of a configuration to one another, which a schema can't say.

Each rule is a generator of (pointer, message) over a configuration whose shape is valid; `RULES` says what each
reads, so that `explain` can leave out the rules whose facts are themselves wrong. A null counts as absent.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Config = dict[str, Any]
    Findings = Iterator[tuple[str, str]]


def broken(config: "Config") -> bool:
    """Whether a configuration of valid shape breaks any rule."""
    for _, rule in RULES:
        for _ in rule(config):
            return True
    return False


RULES: "tuple[tuple[tuple[str, ...], Callable[[Config], Findings]], ...]" = ()
