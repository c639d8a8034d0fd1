"""Learning curves on drawn features: errors are those of refitted heads, and the right class is named."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import norm

from headstart.advice.curve_fit import Forecast
from headstart.advice.learning_curve import Heads, gain_of_second_half, measure_errors, measure_learning_curve
from headstart.features.matrix import Features, FeatureView
from headstart.plain import to_plain


def drawn(counts: list[int], *, width: int = 40, signal: float = 1.0, seed: int = 0) -> tuple[FeatureView, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    rows = (rng.normal(size=(len(labels), width)) + signal * np.eye(len(counts), width)[labels] * 2).astype(np.float32)
    names = tuple(map(str, range(len(labels))))
    return Features(rows, {"a": (0, width)}, names, names).view(np.arange(len(labels)), ("a",), unit=False), labels


def test_the_curve_falls_towards_the_best_possible_error_and_more_images_are_advised() -> None:
    view, labels = drawn([120, 120], width=60)
    curve = measure_learning_curve(view, labels, np.arange(240), names=["a", "b"])
    assert [point.images for point in curve.points] == sorted({point.images for point in curve.points})
    assert curve.points[-1].images == 240
    assert curve.points[0].error > curve.points[-1].error + 0.03
    best = float(norm.cdf(-np.sqrt(2)))  # of two unit Gaussians whose means are 2 √2 apart
    assert curve.points[-1].error > best - 0.03
    assert curve.forecasts[-1].images == 960
    assert best - 0.03 < curve.forecasts[-1].error < curve.points[-1].error
    assert curve.verdict in ("more-images", "maybe")
    assert "960" in curve.summary
    assert json.loads(json.dumps(to_plain(curve)))["verdict"] == curve.verdict


def test_the_class_with_few_images_is_the_one_to_photograph() -> None:
    view, labels = drawn([80, 80, 16], width=30, signal=1.3)
    curve = measure_learning_curve(view, labels, np.arange(176), names=["a", "b", "rare"])
    assert curve.gains[0].name == "rare"
    assert curve.gains[0].images == 16
    assert curve.gains[0].is_certain
    assert not any(gain.is_certain for gain in curve.gains[1:])


def test_permuted_labels_teach_nothing() -> None:
    view, _ = drawn([100, 100])
    labels = np.random.default_rng(1).integers(2, size=200)
    curve = measure_learning_curve(view, labels, np.arange(200), names=["a", "b"])
    assert curve.verdict == "nothing-learnt"
    assert "check the labels" in curve.summary


def test_classes_far_apart_are_not_limited_by_images() -> None:
    view, labels = drawn([60, 60], signal=4.0, width=10)
    labels[:3] = 1 - labels[:3]  # no image more would mend these
    curve = measure_learning_curve(view, labels, np.arange(120), names=["a", "b"])
    assert curve.verdict == "not-the-limit"
    assert "another backbone" in curve.summary


def test_no_mistake_is_no_proof_that_there_are_none() -> None:
    view, labels = drawn([60, 60], signal=6.0, width=10)
    curve = measure_learning_curve(view, labels, np.arange(120), names=["a", "b"])
    z2 = norm.ppf(0.975) ** 2
    assert curve.points[-1].error == 0
    assert curve.verdict == "no-mistakes"
    for one in curve.forecasts:  # the end of Wilson's interval of 0 in 120
        assert (one.error, one.low, one.high) == (0, 0, pytest.approx(z2 / (120 + z2)))
    assert "0.0\u00a0% [0.0, 3.1]" in curve.summary
    assert "another backbone" not in curve.summary
    wide = norm.ppf(1 - 0.025 / 2) / norm.ppf(0.975)  # of two classes
    for gain in curve.gains:  # Tango's interval of 120 pairs that are alike
        assert gain.gain.value == 0
        assert (gain.gain.low, gain.gain.high) == pytest.approx((-wide * z2 / (120 + z2), wide * z2 / (120 + z2)))


def test_each_measured_error_has_wilsons_interval() -> None:
    view, labels = drawn([60, 60], width=40)
    curve = measure_learning_curve(view, labels, np.arange(120), names=["a", "b"])
    z, n = norm.ppf(0.975), 120  # whatever the size, all images are predicted
    for point in curve.points:
        centre = (point.error + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(point.error * (1 - point.error) / n + z**2 / (4 * n**2))
        assert (point.low, point.high) == pytest.approx((centre - half, centre + half))
    last = curve.points[-1]
    assert last.error > 0
    assert (1 - last.high, 1 - last.low) == pytest.approx((curve.accuracy.low, curve.accuracy.high))
    assert f"the error is {last.error * 100:.1f}\u00a0% [{last.low * 100:.1f}, {last.high * 100:.1f}]" in curve.summary


@pytest.mark.slow
def test_duplicates_in_one_group_do_not_make_the_curve_better() -> None:
    view, labels = drawn([40, 40], width=60)
    twice = np.concatenate([np.arange(80)] * 3)
    copies = dataclasses.replace(view, indices=twice)
    known = measure_learning_curve(copies, labels[twice], twice, names=["a", "b"])
    unknown = measure_learning_curve(copies, labels[twice], np.arange(240), names=["a", "b"])
    assert unknown.points[-1].error < 0.05  # each image is predicted by its own copy
    assert known.points[-1].error > 0.1


def test_only_a_forecast_below_the_error_beyond_doubt_is_a_promise() -> None:
    view, labels = drawn([60, 60], width=40)
    curve = measure_learning_curve(view, labels, np.arange(120), names=["a", "b"])
    error = curve.points[-1].error

    def ahead(high: float) -> tuple[Forecast, ...]:
        return tuple(Forecast(images=n, error=error - 0.05, low=0.0, high=high) for n in (180, 240, 480))

    assert dataclasses.replace(curve, forecasts=ahead(error - 0.01)).verdict == "more-images"
    assert dataclasses.replace(curve, forecasts=ahead(error + 0.01)).verdict == "maybe"


def test_the_second_half_gains_what_the_curve_says() -> None:
    view, labels = drawn([120, 120], width=60)
    heads = Heads(view, labels, np.arange(240), 2)
    sizes, samples = measure_errors(heads)
    gain = gain_of_second_half(heads, heads.wrong(np.arange(240)))
    assert gain is not None
    half = float(np.interp(120, sizes, samples[0]))
    assert gain.value == pytest.approx(half - samples[0, -1], abs=0.03)
    assert gain.low < gain.value < gain.high
    few = Heads(view.take(np.arange(15)), labels[:15], np.arange(15), 2)
    assert gain_of_second_half(few, np.zeros(15, dtype=np.bool_)) is None
    one = Heads(view, labels, (np.arange(240) > 200).astype(np.int64), 2)
    assert gain_of_second_half(one, np.zeros(240, dtype=np.bool_)) is None


def test_progress_reaches_its_end() -> None:
    view, labels = drawn([30, 30])
    seen: list[tuple[int, int]] = []
    measure_learning_curve(view, labels, np.arange(60), names=["a", "b"], progress=lambda *at: seen.append(at))
    assert seen[-1][0] == seen[-1][1]
    assert pytest.approx([done for done, _ in seen]) == list(range(1, len(seen) + 1))
