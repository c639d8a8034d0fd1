"""The result of the gate: honest differences, and each condition alone decides."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import find_spec
from headstart.pretraining.gate_result import GateResult, run_gate
from pretraining.made_sets import draw_set


@pytest.mark.slow
def test_all_baselines_are_judged_on_the_same_draws(tmp_path: Path) -> None:
    draw_set(tmp_path / "hymenoptera")
    scored: list[tuple[str, str]] = []

    result = run_gate(
        tmp_path,
        build_backbone(find_spec("embedded"), seed=1),
        build_backbone(find_spec("random"), seed=2),  # a teacher that is quick
        sets=("hymenoptera",),
        draws=2,
        on_score=lambda name, baseline, accuracy: scored.append((name, baseline)),
    )

    assert [baseline for _, baseline in scored] == ["embedded", "random", "pixels", "patches", "teacher"]
    assert all(len(draws) == 2 for draws in result.scores["hymenoptera"].values())
    assert result.scores["hymenoptera"]["pixels"].mean() == 1.0


def test_the_verdict_is_what_a_hand_computes() -> None:
    scores = {
        name: {"embedded": np.array([0.9, 0.8, 0.7]), "random": np.array([0.5, 0.5, 0.3])}
        for name in ("hymenoptera", "b", "c")
    }
    scores["hymenoptera"]["teacher"] = np.array([1.0, 0.9, 0.95])
    scores["d"] = {"embedded": np.array([0.5, 0.9]), "random": np.array([0.5, 0.4])}

    result = GateResult(scores)

    # differences 0.4, 0.3, 0.4: mean 11/30, deviation 0.057735, error 0.033333
    found = result.difference("b", "random")
    assert found.mean == pytest.approx(11 / 30)
    assert found.error == pytest.approx(1 / 30)
    assert found.errors == pytest.approx(11)
    assert result.difference("d", "random").errors == pytest.approx(1)
    assert result.beaten == ("hymenoptera", "b", "c")
    assert result.gap_closed == pytest.approx((0.8 - 13 / 30) / (0.95 - 13 / 30))
    assert result.passed
    assert result.to_dict()["table"]["b"] == {  # type: ignore[index]
        "embedded": 0.8,
        "random": 0.4333,
        "minus_random": [0.3667, 0.0333],
    }
    del scores["c"]
    assert not GateResult(scores).passed
    assert math.isnan(GateResult({"b": scores["b"]}).gap_closed)
    assert not GateResult({"b": scores["b"]}).passed


def _passing() -> dict[str, dict[str, np.ndarray]]:
    scores = {
        name: {"embedded": np.array([0.80, 0.82, 0.81]), "random": np.array([0.60, 0.61, 0.62])}
        for name in ("hymenoptera", "b", "c", "d")
    }
    scores["hymenoptera"]["teacher"] = np.array([0.90, 0.91, 0.92])
    return scores


@pytest.mark.parametrize(
    ("name", "baseline", "draws", "beaten"),
    [
        ("hymenoptera", "embedded", [0.74, 0.75, 0.76], 4),  # beats random everywhere, but goes 0.47 of the way
        ("hymenoptera", "teacher", [1.0, 1.1, 1.2], 4),  # the teacher is further away: 0.41 of the way
        ("b", "embedded", [0.61, 0.60, 0.62], 3),  # as good as random on one set: still enough sets
        ("b", "embedded", [0.40, 0.42, 0.41], 3),  # worse than random, and surely so, is not beaten
    ],
)
def test_each_condition_alone_decides(name: str, baseline: str, draws: list[float], beaten: int) -> None:
    scores = _passing()
    assert GateResult(scores).passed

    scores[name][baseline] = np.array(draws)

    result = GateResult(scores)
    assert len(result.beaten) == beaten
    assert result.passed == (name == "b")
    scores["c"]["embedded"] = scores["c"]["random"] + np.array([0.3, -0.1, 0.0])  # better on average, not surely
    scores["d"]["embedded"] = scores["c"]["embedded"]
    assert not GateResult(scores).passed


@pytest.mark.slow
def test_an_untrained_candidate_does_not_pass(tmp_path: Path) -> None:
    draw_set(tmp_path / "hymenoptera")
    candidate = build_backbone(find_spec("embedded"), seed=1)

    result = run_gate(tmp_path, candidate, None, sets=("hymenoptera",), draws=3)

    assert not result.passed
    assert math.isnan(result.gap_closed)
    assert result.to_dict()["gap_to_teacher_closed"] is None
