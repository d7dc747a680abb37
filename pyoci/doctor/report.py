"""The report: every look, as text for people or JSON for programs."""

import json
import sys
from dataclasses import asdict

from pyoci.doctor import cgroups, engines, kernel, programs, security, trial
from pyoci.doctor.finding import BROKEN, GOOD, LACKING, Finding, Look

LOOKS: "tuple[Look, ...]" = (
    kernel.look,
    cgroups.look,
    security.look,
    programs.look,
    engines.look,
    trial.look,
)
MARKS = {GOOD: "ok", LACKING: "--", BROKEN: "XX"}
COLOURS = {GOOD: "32", LACKING: "33", BROKEN: "31"}


def findings() -> "list[Finding]":
    """All of them. Looking makes nothing, but for the trial's container, which is gone afterwards."""
    found: "list[Finding]" = []
    for look in LOOKS:
        try:
            found += look()
        except Exception as error:  # a host that is stranger than this module knows must not hide the rest
            area = look.__module__.rpartition(".")[2]
            words = f"can't look: {error or type(error).__name__}"
            found.append(Finding(area, "look", LACKING, words, "this report", "please report this"))
    return found


def status(found: "list[Finding]") -> int:
    """0 if the default bundle runs, else 1."""
    return int(any(finding.level == BROKEN for finding in found if finding.area == "trial"))


def as_json(found: "list[Finding]") -> str:
    """An object with the findings, each with its level, and whether the default bundle runs."""
    document = {"runs": status(found) == 0, "findings": [asdict(finding) for finding in found]}
    return json.dumps(document, indent=2) + "\n"


def as_text(found: "list[Finding]") -> str:
    """A line a finding, and below what isn't good what depends on it and how to mend it."""
    lines: "list[str]" = []
    area = ""
    for finding in found:
        if finding.area != area:
            area = finding.area
            lines += ["", area] if lines else [area]
        lines.append(f"  {_mark(finding)} {finding.name}: {finding.found}  ({finding.needed_for})")
        if finding.mend:
            lines.append(f"       {finding.mend}")
    bad = [finding for finding in found if finding.level == BROKEN]
    lacking = sum(finding.level == LACKING for finding in found)
    runs = "runs" if status(found) == 0 else "does not run"
    lines += ["", f"The default bundle {runs} here: {len(bad)} broken, {lacking} lacking."]
    return "\n".join(lines) + "\n"


def _mark(finding: Finding) -> str:
    mark = MARKS[finding.level]
    return f"\033[{COLOURS[finding.level]}m{mark}\033[0m" if sys.stdout.isatty() else mark
