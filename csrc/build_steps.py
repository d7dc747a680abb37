"""Writes pyoci/plan/steps.py from steps.def, the one table of steps."""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROW = re.compile(r'^STEP\((\w+), "([^"]+)", "([^"]*)", "([^"]+)"\)$', re.MULTILINE)


def steps() -> list[tuple[str, str, str]]:
    """Each step's name, argument letters and text, in the order of its number."""
    table = (HERE / "steps.def").read_text()
    rows = [(name, arguments, text) for _, name, arguments, text in ROW.findall(table)]
    if len(rows) != len(re.findall(r"^STEP\(", table, re.MULTILINE)):
        raise SystemExit("steps.def: a row is not of the form that build_steps.py reads")
    return rows


def main() -> None:
    """Write the module."""
    lines = ['"""The steps of a plan. Made from csrc/steps.def by csrc/build_steps.py: do not edit."""', ""]
    lines += ["# name: (number, argument letters, what it does)", "STEPS = {"]
    lines += [
        f"    {name!r}: ({n}, {arguments!r}, {text!r})," for n, (name, arguments, text) in enumerate(steps())
    ]
    lines += ["}", ""]
    (HERE.parent / "pyoci/plan/steps.py").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
