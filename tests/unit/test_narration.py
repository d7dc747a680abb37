"""What --debug adds to a stage fits the stage's function."""

from __future__ import annotations

import importlib
import inspect
from operator import attrgetter

import pytest

from pyoci.container import conversation
from pyoci.narration import ABOUT, RENAMED, RESULTS, WORDS
from pyoci.stages import STAGES

FUNCTIONS = [
    (label, f"pyoci.{module}", function)
    for module, functions in STAGES.items()
    for function, label in functions.items()
]


def test_what_is_added_belongs_to_a_stage() -> None:
    assert {*ABOUT, *RESULTS, *RENAMED} <= {label for label, _, _ in FUNCTIONS}


@pytest.mark.parametrize(
    ("label", "module", "function"), [each for each in FUNCTIONS if each[0] in ABOUT], ids=lambda each: each
)
def test_what_a_stage_is_about_takes_its_functions_arguments(label: str, module: str, function: str) -> None:
    signature = inspect.signature(attrgetter(function)(importlib.import_module(module)))
    parameters = signature.parameters.values()
    positional = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]
    named = {each.name: each for each in parameters if each.kind is each.KEYWORD_ONLY}
    inspect.signature(ABOUT[label]).bind(*positional, **named)


def test_what_an_init_says_has_names() -> None:
    values = [getattr(conversation, name) for name in WORDS]
    assert sorted(values) == list(range(1, max(values) + 1))
