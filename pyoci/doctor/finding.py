"""What one look at the host found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

# GOOD: there, and usable. LACKING: what depends on it can't be had, the rest can. BROKEN: no container runs.
Level = Literal["good", "lacking", "broken"]
GOOD: Level = "good"
LACKING: Level = "lacking"
BROKEN: Level = "broken"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        area: the part of the host, "kernel" for example.
        name: what was looked for.
        level: GOOD, LACKING or BROKEN.
        found: what is there.
        needed_for: what depends on it.
        mend: what to do about it; "" if it is good, or if nothing can be done.
    """

    area: str
    name: str
    level: Level
    found: str
    needed_for: str
    mend: str = ""


Look = Callable[[], Iterator[Finding]]


def of(
    area: str,
    name: str,
    good: object,
    found: str,
    needed_for: str,
    mend: str = "",
    otherwise: Level = LACKING,
) -> Finding:
    """A finding that is good or not.

    Arguments:
        good: whether it is.
        otherwise: the level if it isn't; `mend` belongs to that case.
    """
    return Finding(area, name, GOOD if good else otherwise, found, needed_for, "" if good else mend)
