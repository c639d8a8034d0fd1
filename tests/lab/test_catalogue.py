"""The lab as a whole: every experiment by name, repeatable, without side effects, with a figure and a header."""

from __future__ import annotations

import ast
import importlib
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import headstart
from headstart.errors import RecipeError
from headstart.figures.svg import inline_svg
from headstart.lab.catalogue import CLAIMS, names, run_experiment

LAB = Path(headstart.__file__).parent / "lab"
SMALL: dict[str, dict[str, object]] = {
    "identity": {"plain_epochs": 2, "residual_epochs": 2},
    "shortcuts": {"seeds": 2, "size": 32},
    "gradient_reach": {"seeds": 1, "depth": 8},
    "gradient_autocorrelation": {"seeds": 1, "width": 50, "plain_depth": 4, "residual_depth": 4},
    "branch_share": {"seeds": 1, "depth": 8},
    "batch_norm_and_dropout": {"batches": 12, "draws": 200},
    "batch_noise": {"seeds": 2, "steps": 3, "points": 128},
    "dropout_with_batch_norm": {"seeds": 2, "steps": 3, "points": 64},
    "smoother_loss": {"seeds": 2, "depth": 2, "steps": 7},
    "batch_norm_placement": {"seeds": 2, "steps": 3, "depths": (1, 2, 3)},
    "vanishing_gradients": {"seeds": 2, "steps": 3, "layers": 8, "width": 32, "depth": 2},
    "frozen_is_not_frozen": {"epochs": 1, "images": 16},
    "inception_module": {"side": 7},
    "auxiliary_heads": {"backbone": "resnet18", "size": 64},
}


def randomness() -> tuple[object, ...]:
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]


def test_every_file_of_the_lab_is_in_the_catalogue() -> None:
    files = {path.stem for path in LAB.glob("*.py")} - {"__init__", "catalogue", "experiment", "stacked_networks"}

    assert set(names()) == files == set(CLAIMS)


@pytest.mark.parametrize("name", names())
def test_the_header_states_claim_source_settings_and_expected_numbers(name: str) -> None:
    header = ast.get_docstring(ast.parse((LAB / f"{name}.py").read_text(encoding="utf-8"))) or ""

    positions = [header.index(f"\n{word}") for word in ("Claim: ", "Source: ", "Settings: ", "Expected")]
    assert positions == sorted(positions)
    assert any(letter.isdigit() for letter in header[positions[-1] :])


@pytest.mark.parametrize("name", names())
@pytest.mark.slow
def test_it_has_no_side_effects_and_repeats_itself_in_every_form(name: str) -> None:
    torch.manual_seed(99)
    before, threads = randomness(), torch.get_num_threads()

    first = run_experiment(name, **SMALL.get(name, {}))
    assert randomness() == before
    torch.rand(3)
    second = run_experiment(name, **SMALL.get(name, {}))

    assert torch.get_num_threads() == threads
    assert first.to_dict() == second.to_dict()
    plain = json.loads(json.dumps(first.to_dict(), allow_nan=False))
    assert plain["verdict"] == first.verdict
    assert plain["claim"] == CLAIMS[name]
    assert first.verdict in str(first)
    assert all(number.name in str(first) for number in first.numbers)
    assert all(len(row) == len(table.columns) for table in first.tables for row in table.rows)
    assert first.interpretation


@pytest.mark.parametrize("name", names())
@pytest.mark.slow
def test_its_figure_is_complete(name: str) -> None:
    outcome = run_experiment(name, **SMALL.get(name, {}))

    figure = outcome.figure()

    assert [axes.get_title(loc="left") for axes in figure.axes] == [panel.title for panel in outcome.panels]
    assert "<svg" in inline_svg(figure, name)
    assert figure.patch.get_visible()  # white, also on a dark page


@pytest.mark.slow
def test_figures_need_neither_a_display_nor_pyplot() -> None:
    code = (
        "import os, sys\n"
        "os.environ.pop('DISPLAY', None)\n"
        "from headstart.lab.catalogue import run_experiment\n"
        "run_experiment('identity', plain_epochs=1, residual_epochs=1).figure()\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_a_mistyped_name_or_setting_is_answered_with_the_near_ones() -> None:
    with pytest.raises(RecipeError, match="Did you mean identity"):
        run_experiment("identty")
    with pytest.raises(RecipeError, match="Did you mean eps"):
        run_experiment("batch-norm-1d", epss=0.1)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("identity", {"points": 4}),
        ("inception_module", {"reduced": (None, 2)}),
        ("identity", {"lr": "high"}),
        ("identity", {"lr": -1.0}),
        ("batch_norm_1d", {"points": 100}),
        ("batch_norm_2d", {"batch_size": 1}),
        ("batch_norm_and_dropout", {"keep": 0.0}),
        ("batch_noise", {"groups": (3, 16)}),
        ("batch_norm_placement", {"depths": (0, 3, 12)}),
        ("dropout_with_batch_norm", {"dropout": 1.0}),
        ("smoother_loss", {"init": "xavier"}),
        ("vanishing_gradients", {"layers": 7}),
        ("bias_before_batch_norm", {"images": 0}),
        ("branch_share", {"depth": 7}),
        ("frozen_is_not_frozen", {"images": 1}),
        ("gradient_autocorrelation", {"inputs": 20}),
        ("gradient_reach", {"init": "xavier"}),
        ("inception_module", {"widths": (1, 2)}),
        ("inception_module", {"inner": 0}),
        ("shortcuts", {"seeds": 0}),
        ("one_by_one", {"weights": (1.0, 1.0)}),
    ],
)
def test_an_impossible_setting_is_refused(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        run_experiment(name, **settings)


def test_the_lab_is_reached_from_the_front_door() -> None:
    assert headstart.lab.names() == names()
    assert headstart.lab.one_by_one is importlib.import_module("headstart.lab.one_by_one")
    assert headstart.lab.run_experiment("one-by-one").holds
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = headstart.lab.nothing
    assert "lab" in dir(headstart)
    assert set(names()) < set(dir(headstart.lab))
