"""Intervals and tests against simulated truths: small versions of benchmarks/coverage.py, and its own arithmetic."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

REPEATS = 400  # an error of the simulation of 0.011 at 0.95


def benchmark() -> ModuleType:
    """The benchmark's module, under a name that does not hide the package `coverage`."""
    name = "coverage_benchmark"
    if name not in sys.modules:
        path = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


STATEMENTS = tuple(dict.fromkeys(cell.statement for cell in benchmark().cells() if cell.quick))


@pytest.mark.slow
@pytest.mark.parametrize("statement", STATEMENTS)
def test_what_is_printed_holds_as_often_as_it_says(statement: str) -> None:
    module = benchmark()
    found = [module.measure(cell, REPEATS) for cell in module.cells() if cell.quick and cell.statement == statement]

    outside = [(one.cell.name, one.share.value) for one in found if not one.is_met]

    assert found
    assert not outside


def test_a_cell_counts_and_its_goal_allows_for_the_simulation() -> None:
    module = benchmark()
    often = module.measure(module.Cell("accuracy", "often", lambda rng: bool(rng.random() < 0.95)), 4000)
    never = module.measure(module.Cell("accuracy", "never", lambda rng: False), 4000)
    alarm = module.measure(module.Cell("test", "alarm", lambda rng: bool(rng.random() < 0.2), "alarms", "why"), 4000)

    assert (often.share.n, often.is_met) == (4000, True)
    assert (never.share.value, never.is_met) == (0.0, False)
    assert not alarm.is_met
    assert "| alarm | alarms | 0.2" in module.table([alarm])
    assert "**outside**: why" in module.table([alarm])


def test_drawn_groups_have_the_correlation_and_the_mean_that_is_asked_for() -> None:
    module, rng = benchmark(), np.random.default_rng(0)
    group = np.repeat(np.arange(4000), 2)
    for draw in (
        module.beta_groups(rng, 0.8, group, 0.4),
        module.correlated(rng, np.full(8000, 0.8), group, 0.4),
    ):
        pairs = draw.reshape(-1, 2)
        assert draw.mean() == pytest.approx(0.8, abs=0.015)
        assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(0.4, abs=0.05)


def test_finished_cells_are_kept_and_not_measured_again(tmp_path: Path) -> None:
    module, calls = benchmark(), []

    def trial(rng: np.random.Generator) -> bool:
        calls.append(1)
        return bool(rng.random() < 0.9)

    cell, file = module.Cell("accuracy", "kept", trial), tmp_path / "cells.jsonl"
    first = module.Kept(file, 60).measure(cell)
    again = module.Kept(file, 60).measure(cell)

    assert (first.share, len(calls)) == (again.share, 60)
    assert module.Kept(file, 70).measure(cell).share.n == 70  # other repeats are another measurement
