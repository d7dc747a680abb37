"""`trace`: a file that --trace has written, as a table with bars for a terminal."""

import shutil

from pyoci.errors import Error, cause_of
from pyoci.jsontext import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The parts of a line before the bar, in characters.
NAME, PLACE = 36, 30
NARROWEST_BAR = 10
# Microseconds since 1970 are too many for a double to have nanoseconds too.
ROUNDING = 0.5
BLOCKS = " ▏▎▍▌▋▊▉█"


def show(path: str, width: int | None = None) -> str:
    """The table: for each command its title, and a line for each event, in the order of their beginnings.

    Arguments:
        width: of the terminal, in characters; None asks it.

    Raises Error if it isn't a trace.
    """
    width = width or shutil.get_terminal_size((120, 24)).columns
    commands: "list[list[dict[str, Any]]]" = []
    for event in _events(path):
        if event["ph"] == "M" and event["name"] == "process_name":
            commands.append([])
        if not commands:
            raise _not_a_trace(path)
        commands[-1].append(event)
    return "\n".join(_table(events, width) for events in commands)


def _events(path: str) -> "list[dict[str, Any]]":
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise Error(f"{path}: {cause_of(error)}") from None
    value = parse(raw, path)
    needed = {"M": ("name", "args"), "X": ("name", "args", "ts", "dur", "tid")}
    if not isinstance(value, list) or not value:
        raise _not_a_trace(path)
    for event in value:
        names = needed.get(event.get("ph", "")) if isinstance(event, dict) else None
        if names is None or not all(name in event for name in names):
            raise _not_a_trace(path)
    return value


def _not_a_trace(path: str) -> Error:
    return Error(f"{path} is not a trace", hint="`pyoci --trace FILE COMMAND ...` writes one")


def _table(events: "list[dict[str, Any]]", width: int) -> str:
    title = events[0]["args"]["name"]
    rows = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    timed = [event for event in events if event["ph"] == "X"]
    begin = min(event["ts"] for event in timed)
    whole = max(event["ts"] + event["dur"] for event in timed) - begin
    bar_width = max(NARROWEST_BAR, width - NAME - PLACE - 26)
    lines = [title, f"{'at ms':>9} {'took ms':>9}     {'':{NAME}} {'from':{PLACE}}".rstrip()]
    open_until: "dict[int, list[float]]" = {row: [] for row in rows}
    for event in timed:
        at, took = event["ts"] - begin, event["dur"]
        around = open_until.setdefault(event["tid"], [])
        while around and around[-1] <= event["ts"] + ROUNDING:
            around.pop()
        name = _cut("  " * len(around) + event["name"], NAME)
        around.append(event["ts"] + took)
        row = str(rows.get(event["tid"], "?")).split(" ")[0]
        place = _cut(event["args"].get("origin", ""), PLACE)
        bar = _bar(at, took, whole, bar_width)
        times = f"{at / 1000:9.3f} {took / 1000:9.3f}"
        lines.append(f"{times}  {row} {name:{NAME}} {place:{PLACE}} {bar}".rstrip())
    return "\n".join(lines) + "\n"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _bar(at: float, took: float, whole: float, width: int) -> str:
    """A bar from the column of its beginning, as long as what it is about; never nothing."""
    scale = width / whole if whole else 0.0
    start = min(int(at * scale), width - 1)
    eighths = max(1, round(took * scale * 8))
    full, part = divmod(eighths, 8)
    length = min(full, width - start)
    return " " * start + BLOCKS[8] * length + (BLOCKS[part] if part and start + length < width else "")
