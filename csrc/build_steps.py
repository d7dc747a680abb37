"""Writes pyoci/plan/steps.py from the one table of steps: `python build_steps.py steps.def OUTPUT`."""

import re
import sys
from pathlib import Path

ROW = re.compile(r'^STEP\((\w+), "([^"]+)", "([^"]*)", "([^"]+)"\)$', re.MULTILINE)


def steps(table: str) -> list[tuple[str, str, str]]:
    """Each step's name, argument letters and text, in the order of its number, from the table's text."""
    rows = [(name, arguments, text) for _, name, arguments, text in ROW.findall(table)]
    if len(rows) != len(re.findall(r"^STEP\(", table, re.MULTILINE)):
        raise SystemExit("steps.def: a row is not of the form that build_steps.py reads")
    return rows


def identity(rows: list[tuple[str, str, str]]) -> int:
    """What tells this table from any other: FNV-1a of names and arguments, as plan.c has it."""
    value = 2166136261
    for name, arguments, _ in rows:
        for byte in f"{name}\0{arguments}\0".encode():
            value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def main() -> None:
    """Write the module."""
    table, output = sys.argv[1:]
    rows = steps(Path(table).read_text())
    lines = ['"""The steps of a plan. Made from csrc/steps.def by csrc/build_steps.py: do not edit."""', ""]
    lines += ["# name: (number, argument letters, what it does)", "STEPS = {"]
    lines += [
        f"    {name!r}: ({n}, {arguments!r}, {text!r})," for n, (name, arguments, text) in enumerate(rows)
    ]
    lines += ["}", "# Which steps there are, for pyoci-init.", f"TABLE = {identity(rows)}", ""]
    Path(output).write_text("\n".join(lines))


if __name__ == "__main__":
    main()
