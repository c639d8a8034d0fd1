"""Heads from outside: registered by name, held out by headstart, checked before they are used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from headstart.classifier.classifier import Classifier
from headstart.errors import RecipeError
from headstart.heads.linear_probe import TrainingRows, fit_linear_probe
from headstart.heads.regularization_path import PathSolver
from headstart.registry import HEADS, register_head
from made_features import make_view

LAYERS = {"auto": ("early", "late")}
NONE = np.array([], dtype=np.int64)


def training(labels: np.ndarray, classes: int) -> TrainingRows:
    rows = np.arange(len(labels))
    return TrainingRows(
        rows=rows, labels=labels, groups=rows // 2, classes=classes, validation_rows=NONE, validation_labels=NONE
    )


@pytest.fixture
def lda() -> Iterator[str]:
    @register_head("test-lda")
    def solve(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> tuple[Any, Any]:
        fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features, labels)
        return fitted.coef_.T, fitted.intercept_

    yield "test-lda"
    HEADS.remove("test-lda")


def test_headstarts_own_heads_are_registered_in_the_same_place() -> None:
    assert {"ridge", "logistic"} <= set(HEADS)
    assert isinstance(HEADS["ridge"], PathSolver)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_registered_solver_becomes_a_calibrated_head(lda: str, classes: int) -> None:
    view, labels = make_view(90, 8, classes)

    probe = fit_linear_probe(view.features, training(labels, classes), layers=LAYERS, kind=lda)

    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(view.array(), labels)
    np.testing.assert_array_equal(probe.head.scores(view.array()).argmax(1), fitted.predict(view.array()))
    assert probe.head.kind == "test-lda"
    assert probe.path.held_out == "in 5 folds of whole groups"
    assert 0.5 < probe.path.accuracy < 1
    assert probe.to_dict()["lambda"] is None


def test_a_solver_may_return_an_object_with_weight_and_bias() -> None:
    def solve(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> SimpleNamespace:
        means = np.stack([features[labels == c].mean(0) for c in range(3)])
        return SimpleNamespace(weight=2 * means.T, bias=-(means**2).sum(1))

    view, labels = make_view(60, 8)
    HEADS.add("test-object", solve)
    try:
        probe = fit_linear_probe(view.features, training(labels, 3), layers=LAYERS, kind="test-object")
    finally:
        HEADS.remove("test-object")

    assert probe.head.weight.shape == (8, 3)


def test_equal_balance_needs_a_head_that_weighs_classes(lda: str) -> None:
    view, labels = make_view(60, 8)

    with pytest.raises(RecipeError, match=r"takes no weights of classes"):
        fit_linear_probe(view.features, training(labels, 3), layers=LAYERS, kind=lda, balance="equal")


def test_an_unknown_head_names_the_near_one() -> None:
    view, labels = make_view(60, 8)

    with pytest.raises(RecipeError, match="Did you mean ridge"):
        fit_linear_probe(view.features, training(labels, 3), layers=LAYERS, kind="rigde")


@pytest.mark.slow
def test_the_example_in_the_docs_runs_and_its_classifier_loads_without_the_solver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "extending" / "head.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)

    exec(compile(code, "head.md", "exec"), {"__name__": "example"})
    HEADS.remove("nearest-mean")

    assert len(code.strip().splitlines()) <= 25
    assert capsys.readouterr().out.startswith("nearest-mean 100.0")
    classifier = Classifier.load(tmp_path / "runs" / "colours" / "classifier.safetensors")
    assert classifier.card.head == "nearest-mean"
    assert classifier.predict(tmp_path / "colours" / "red" / "0.png").label == "red"
    record = json.loads((tmp_path / "runs" / "colours" / "run.json").read_text(encoding="utf-8"))
    assert record["recipe"]["head"] == record["head"]["kind"] == "nearest-mean"
    assert "--head" in (tmp_path / "runs" / "colours" / "report.html").read_text(encoding="utf-8")
