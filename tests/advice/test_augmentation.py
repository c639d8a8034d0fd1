"""A transform that turns one class into another is unsafe; one that keeps classes and moves far is useful."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.advice.augmentation import LabelledImages, TransformCheck, check_transforms
from headstart.evaluation.intervals import wilson
from headstart.features.matrix import Features, FeatureView

N, WIDTH = 120, 30
LABELS = np.arange(N) % 3
CLASSES = ("left", "right", "up")


def view(rows: np.ndarray) -> FeatureView:
    names = tuple(map(str, range(len(rows))))
    features = Features(rows.astype(np.float32), {"a": (0, rows.shape[1])}, names, names)
    return features.view(np.arange(len(rows)), ("a",), unit=False)


def images(groups: np.ndarray | None = None) -> LabelledImages:
    names = [f"{i}.png" for i in range(N)]
    return LabelledImages(
        labels=LABELS, groups=np.arange(N) if groups is None else groups, names=names, classes=CLASSES
    )


def rows_of(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    return 3 * np.eye(3, WIDTH)[labels] + 0.5 * np.random.default_rng(seed).normal(size=(len(labels), WIDTH))


@pytest.fixture(scope="module")
def checks() -> dict[str, TransformCheck]:
    rng, rows = np.random.default_rng(9), rows_of(LABELS)
    rows[:, 20:] = 0.0  # no class, and so no head, depends on these
    swapped = rows[:, [1, 0, *range(2, WIDTH)]]  # left looks as right does, and right as left; up stays
    far = rows.copy()
    far[:, 20:] += 4 * rng.normal(size=(N, 10))
    noise = 2.5 * rng.normal(size=(N, WIDTH))
    found = check_transforms(
        view(rows),
        {
            "swap": view(swapped),
            "same": view(rows),
            "slight": view(rows * (1 + 0.01 * rng.normal(size=rows.shape))),
            "far": view(far),
            "noise": view(rows + noise),
        },
        images(),
    )
    return {check.name: check for check in found}


def test_classes_that_become_one_another_are_named_with_the_worst_images(checks: dict[str, TransformCheck]) -> None:
    swap = checks["swap"]
    assert swap.verdict == "unsafe"
    assert {(flow.true, flow.predicted) for flow in swap.flows} == {("left", "right"), ("right", "left")}
    assert len(swap.worst) == 10
    assert all(one.true != "up" and one.drop > 0 and one.name == f"{one.index}.png" for one in swap.worst)
    flow = swap.flows[0]
    assert str(flow) == f"{flow.true} → {flow.predicted}: {flow.images} of 40, untransformed {flow.untransformed}"
    assert flow.limit == wilson(flow.untransformed, 40, 1 - 0.05 / (5 * 6)).high


def test_no_movement_is_harmless_and_far_movement_without_harm_is_useful(checks: dict[str, TransformCheck]) -> None:
    assert checks["same"].movement == pytest.approx(0, abs=1e-6)
    assert checks["same"].change.value == 0
    assert [checks[name].verdict for name in ("same", "slight", "far")] == ["harmless", "harmless", "useful"]
    assert checks["far"].movement > 1
    assert checks["same"].worst == ()


def test_errors_in_all_directions_are_harmful(checks: dict[str, TransformCheck]) -> None:
    noise = checks["noise"]
    assert noise.verdict in ("harmful", "unsafe")
    assert noise.change.high < 0
    assert noise.accuracy < checks["same"].accuracy


def test_movement_is_measured_against_images_of_other_groups() -> None:
    rows = rows_of(LABELS)
    rows[1::6] = rows[::6]  # copies, if not known as such, make every movement look far
    moved = rows + 0.3 * np.random.default_rng(1).normal(size=rows.shape)
    pairs = np.arange(N)
    pairs[1::6] = pairs[::6]
    (apart,) = check_transforms(view(rows), {"t": view(moved)}, images())
    (together,) = check_transforms(view(rows), {"t": view(moved)}, images(pairs))
    assert together.movement <= apart.movement
