"""Gathers the pages of the documentation's site in build/docs/pages: those of the checkout, and two that are made.

make docs
"""

import shutil
import subprocess
import sys
from pathlib import Path

from pyoci import __all__ as PUBLIC
from pyoci.cli.manual import meaning, spelling
from pyoci.cli.options import COMMANDS, GLOBAL_FLAGS, HELP, Command, Flag, usage_line

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build/docs/pages"


def tracked() -> list[Path]:
    """The checkout's pages, relative to it; those of folders that begin with a dot are for the hosting only."""
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return [Path(name) for name in listed if not name.startswith(".")]


def commands() -> str:
    """The page of all commands, from the table of options."""
    parts = [
        "# Commands",
        "`pyoci [GLOBAL FLAGS] COMMAND [FLAGS] [ARGUMENTS]`. Flags are read as Go's flag package reads them: with one "
        "dash or two, the value after `=` or a blank. Made from the table that the parser reads.",
        "## Global flags",
        _table(GLOBAL_FLAGS),
    ]
    for command in COMMANDS:
        parts += [f"## {command.name}", _sentence(command), f"    {usage_line(command)}"]
        parts.append(_table((*command.flags, HELP)))
    return "\n\n".join(parts) + "\n"


def _sentence(command: Command) -> str:
    return f"{command.summary[0].upper()}{command.summary[1:]}."


def _table(flags: tuple[Flag, ...]) -> str:
    rows = [f"| `{_cell(spelling(flag))}` | {_cell(meaning(flag))} |" for flag in flags]
    return "\n".join(["| flag | meaning |", "| --- | --- |", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def python() -> str:
    """The page of the Python API; its contents come from the docstrings."""
    places = {"Bundle": "pyoci.spec.bundle", "Plan": "pyoci.plan.plan"}
    places |= dict.fromkeys(("ConfigError", "Error"), "pyoci.errors")
    parts = ["# Python API", "What `import pyoci` offers: the commands use it themselves.", "::: pyoci.api"]
    parts += ["    options:", "      show_root_heading: false", "      show_root_toc_entry: false"]
    names = [name for name in PUBLIC if name in places]
    parts += [f"::: {places[name]}.{name}" for name in names]
    return "\n\n".join(parts[:3]) + "\n" + "\n".join(parts[3:6]) + "\n\n" + "\n\n".join(parts[6:]) + "\n"


def main() -> int:
    """Write the pages."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for page in tracked():
        (PAGES / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, PAGES / page)
    shutil.copy(ROOT / "docs/site.css", PAGES / "site.css")
    (PAGES / "reference").mkdir(parents=True)
    (PAGES / "reference/commands.md").write_text(commands())
    (PAGES / "reference/python.md").write_text(python())
    return 0


if __name__ == "__main__":
    sys.exit(main())
