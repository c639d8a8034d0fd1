"""Backbones are ranked by left-out squared error, in pairs; of those that are tied the cheapest is advised."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from headstart.advice.backbones import (
    BackboneAdvice,
    LayerFit,
    Measured,
    NetworkCost,
    advised,
    choose_layers,
    fit_layers,
    rank_networks,
    survivors,
)
from headstart.evaluation.intervals import wilson
from headstart.features.matrix import Features
from headstart.plain import to_plain

N = 60
GROUPS = np.arange(N)


def fit(losses: np.ndarray, layers: str = "auto", logme: float = 0.0) -> LayerFit:
    return LayerFit(
        layers=layers,
        stages=("stage4",),
        width=8,
        squared_error=float(losses.mean()),
        accuracy=wilson(50, 60),
        logme=logme,
        h_score=0.5,
        losses=losses,
    )


def cost(name: str, milliseconds: float) -> NetworkCost:
    return NetworkCost(backbone=name, side=224, milliseconds=milliseconds, megabytes=10, licence="MIT")


def network(name: str, milliseconds: float, *rounds: LayerFit) -> Measured:
    return Measured(cost=cost(name, milliseconds), rounds=tuple((one,) for one in rounds))


def losses(mean: float, seed: int = 0) -> np.ndarray:
    return mean + 0.3 * np.random.default_rng(seed).random(N)


@pytest.mark.slow
def test_the_error_is_that_of_heads_refitted_without_each_group() -> None:
    rng = np.random.default_rng(1)
    labels, groups = np.arange(30) % 3, np.arange(30) // 2
    rows = rng.normal(size=(30, 5)).astype(np.float32) + np.eye(3, 5)[labels].astype(np.float32) * 2
    features = Features(rows, {"a": (0, 2), "b": (2, 5)}, tuple(map(str, range(30))), tuple(map(str, range(30))))

    both, one = fit_layers(features, labels, groups, classes=3, layers={"all": ("a", "b"), "pooled": ("b",)})

    unit = np.hstack([part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows[:, :2], rows[:, 2:])])
    targets, best = np.where(np.eye(3)[labels] > 0, 1.0, -1.0), np.inf
    top = np.linalg.eigvalsh((unit - unit.mean(0)).T @ (unit - unit.mean(0)))[-1]
    for strength in np.logspace(1, -7, 25) * top:
        held = np.empty((30, 3))
        for group in range(15):
            out = groups == group
            held[out] = Ridge(alpha=strength).fit(unit[~out], targets[~out]).predict(unit[out])
        best = min(best, np.square(held - targets).mean())
    assert both.squared_error == pytest.approx(best, rel=1e-6)
    assert both.losses.mean() == pytest.approx(both.squared_error, rel=1e-6)
    assert (both.width, one.width) == (5, 3)


def test_a_better_network_is_first_and_one_that_cannot_be_told_apart_but_is_cheaper_is_advised() -> None:
    best, cheap, worse = losses(0.2), losses(0.2)[::-1], losses(0.6, seed=2)
    found = [network("worse", 1, fit(worse)), network("cheap", 5, fit(cheap)), network("best", 50, fit(best - 0.01))]

    ranked = rank_networks(found, [GROUPS], is_few=False)

    assert [one.network.backbone for one in ranked] == ["best", "cheap", "worse"]
    assert [one.is_tied for one in ranked] == [False, True, False]
    assert ranked[2].behind is not None
    assert ranked[2].behind.low > 0.3
    assert advised(ranked).network.backbone == "cheap"


def test_a_tied_network_more_than_one_standard_error_behind_is_marked_and_not_advised() -> None:
    noise = np.random.default_rng(0).normal(size=N)
    noise = (noise - noise.mean()) / noise.std(ddof=1) * np.sqrt(N) * 0.01  # one standard error is 0.01
    best = losses(0.2)
    found = [network("best", 50, fit(best)), network("far", 5, fit(best + noise + 0.015))]
    ranked = rank_networks(found, [GROUPS], is_few=False)
    assert ranked[1].is_tied
    assert advised(ranked).network.backbone == "best"
    near = rank_networks([found[0], network("near", 5, fit(best + noise + 0.008))], [GROUPS], is_few=False)
    assert advised(near).network.backbone == "near"


def test_images_of_one_group_are_one_piece_of_evidence() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(N) // 15  # four bursts
    gap = np.repeat(rng.normal(0.05, 0.1, size=4), 15)
    found = [network("a", 1, fit(losses(0.2))), network("b", 2, fit(losses(0.2) + gap))]
    alone = rank_networks(found, [GROUPS], is_few=False)[1].behind
    together = rank_networks(found, [groups], is_few=False)[1].behind
    assert alone is not None
    assert together is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_few_images_are_ranked_by_logme() -> None:
    found = [network("a", 1, fit(losses(0.20), logme=-0.5)), network("b", 2, fit(losses(0.21), logme=-0.1))]
    assert rank_networks(found, [GROUPS], is_few=True)[0].network.backbone == "b"
    assert rank_networks(found, [GROUPS], is_few=False)[0].network.backbone == "a"


def test_the_next_round_has_the_better_half_and_cheap_networks_that_may_be_as_good() -> None:
    noise = np.random.default_rng(5).normal(size=(6, N)) * 0.3
    noise -= noise.mean(axis=1, keepdims=True)
    means = {"best": 0.2, "second": 0.21, "cheap": 0.26, "dear": 0.27, "bad": 0.9, "dreadful": 1.5}
    times = {"best": 10, "second": 90, "cheap": 1, "dear": 80, "bad": 1, "dreadful": 1}
    found = [
        network(name, times[name], fit(mean + one)) for (name, mean), one in zip(means.items(), noise, strict=True)
    ]
    kept = {one.cost.backbone for one in survivors(found, GROUPS)}
    assert {"best", "second"} <= kept
    assert "cheap" in kept
    assert not kept & {"bad", "dreadful"}


def test_the_default_layers_stay_unless_others_are_better_beyond_doubt() -> None:
    default = losses(0.3)
    assert choose_layers([fit(default), fit(losses(0.29, seed=1), "all")]).layers == "auto"
    assert choose_layers([fit(default), fit(default - 0.05, "all")]).layers == "all"


def test_a_network_that_left_early_is_compared_on_the_images_it_saw() -> None:
    early, late = losses(0.4)[:20], losses(0.2)
    found = [network("left", 1, fit(early)), network("best", 9, fit(late[:20]), fit(late))]
    ranked = rank_networks(found, [GROUPS[:20], GROUPS], is_few=False)
    assert [one.images for one in ranked] == [60, 20]
    assert ranked[1].behind is not None
    assert ranked[1].behind.n == 20
    tied = rank_networks(
        [replace(found[0], rounds=((fit(late[:20]),),)), found[1]], [GROUPS[:20], GROUPS], is_few=False
    )
    assert advised(tied).network.backbone == "best"  # a tie on 20 images is no reason to take it


def test_advice_is_plain_and_says_why() -> None:
    ranked = rank_networks(
        [network("a", 9, fit(losses(0.2))), network("b", 5, fit(losses(0.2)[::-1] + 0.01))], [GROUPS], is_few=False
    )
    advice = BackboneAdvice(
        source="photos",
        images=N,
        classes=2,
        ranked=tuple(ranked),
        advised=advised(ranked),
        is_few=False,
        left_out={},
        command="headstart train photos",
        seconds=1.0,
    )
    assert advice.summary.startswith("Take b 224 px: it is within one standard error of the best, a 224 px")
    plain = json.loads(json.dumps(to_plain(advice), allow_nan=False))
    assert plain["ranked"][0]["fit"]["squared_error"] == pytest.approx(ranked[0].fit.squared_error)
    assert plain["summary"] == advice.summary
