"""The doctor against networks with a known mistake, and against healthy networks of torchvision and timm."""

from __future__ import annotations

import pytest
import torch
import torchvision

from headstart.best_practices.doctor import doctor
from planted_mistakes import HEALTHY, MISTAKES, Small, healthy

FAST = ("tv:mobilenet_v3_small", "tv:squeezenet1_1", "timm:test_vit", "timm:test_convnext")


def test_there_are_46_mistakes() -> None:
    assert len(MISTAKES) == 46


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_found(name: str) -> None:
    mistake = MISTAKES[name]
    network, options = mistake.given()
    diagnosis = doctor(network, **options)  # type: ignore[arg-type]
    assert any(mistake.word in finding.name or mistake.word in finding.found for finding in diagnosis.findings)


@pytest.mark.slow
def test_the_network_that_the_mistakes_are_planted_in_is_healthy() -> None:
    torch.manual_seed(0)
    assert doctor(Small()).worst in ("", "advice")
    assert doctor(Small(norm=False)).worst == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in HEALTHY if name not in FAST)]
)
def test_a_healthy_network_has_no_error(name: str) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    diagnosis = doctor(healthy(name))
    assert diagnosis.count("error") == 0, diagnosis


def test_there_are_80_healthy_networks() -> None:
    assert len(set(HEALTHY)) >= 80
    assert all(name[3:] in torchvision.models.list_models() for name in HEALTHY if name.startswith("tv:"))
