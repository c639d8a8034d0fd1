"""EngineBenchmark: what counts as equal features, and how speed is compared."""

from __future__ import annotations

import pytest
from torch import Tensor

from engines.engine_checks import made, noise
from headstart.engines.benchmark import EngineBenchmark
from headstart.engines.forward import Forward


@pytest.mark.parametrize(
    "spoil", [lambda found: found[:1], lambda found: found * float("nan"), lambda found: found[:, :-1]]
)
def test_features_of_another_shape_or_not_finite_are_infinitely_far(spoil: Forward) -> None:
    backbone = made("cifar_resnet20")
    benchmark = EngineBenchmark(backbone, backbone.features)
    assert benchmark.difference(backbone.features) == 0
    assert benchmark.difference(lambda pixels: spoil(backbone.features(pixels))) == float("inf")


def test_a_small_stage_is_not_hidden_by_a_large_one() -> None:
    backbone = made("cifar_resnet20")
    stage = min(
        backbone.slices.values(), key=lambda some: float(backbone.features(noise(backbone, 2))[:, some].abs().max())
    )

    def off(pixels: Tensor) -> Tensor:
        features = backbone.features(pixels).clone()
        features[:, stage] *= 1 + 1e-4
        return features

    assert EngineBenchmark(backbone, backbone.features).difference(off) == pytest.approx(1e-4, rel=0.1)


def test_candidates_are_run_in_turns_on_the_same_pixels() -> None:
    backbone = made("cifar_resnet20")
    ran: list[tuple[str, int]] = []

    def noted(name: str) -> Forward:
        def forward(pixels: Tensor) -> Tensor:
            ran.append((name, len(pixels)))
            return pixels

        return forward

    benchmark = EngineBenchmark(backbone, backbone.features)
    seconds = benchmark.compare({"a": noted("a"), "b": noted("b")}, 4)

    assert ran == [("a", 4), ("b", 4)] * EngineBenchmark.ROUNDS
    assert min(seconds.values()) > 0
    assert benchmark.eager_seconds > 0
