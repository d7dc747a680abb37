"""The table of stages speaks of functions that are there."""

from __future__ import annotations

import importlib
from operator import attrgetter

import pytest

from pyoci.stages import STAGES


@pytest.mark.parametrize("module", STAGES)
def test_each_stage_is_a_function_of_its_module(module: str) -> None:
    for function in STAGES[module]:
        assert callable(attrgetter(function)(importlib.import_module(f"pyoci.{module}")))
