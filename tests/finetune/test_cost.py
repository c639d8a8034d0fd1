"""The predicted cost: sizes counted by hand, the network left as it was; its time is measured in benchmarks."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch

from fine_tune_set import STILL, backbone, make_head, make_images, task
from headstart.features.cache import FeatureCache
from headstart.finetune.augmentation import Augmentation
from headstart.finetune.cost import Cost, predict_cost
from headstart.finetune.network_with_head import HeadedNetwork
from headstart.finetune.settings import FineTuneImages, FineTuneSettings
from headstart.finetune.strategies import last_stage
from headstart.heads.head import Head


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> FineTuneImages:
    return make_images(tmp_path_factory.mktemp("fine-tune"))


@pytest.fixture(scope="module")
def head(images: FineTuneImages) -> Head:
    return make_head(images)


@pytest.mark.slow
def test_the_disk_is_every_view_of_every_image_at_the_boundary(images: FineTuneImages, head: Head) -> None:
    settings = dataclasses.replace(STILL, augmentation=Augmentation(), cached_views=3, dtype="float16")
    cost = predict_cost("last-stage", task(backbone(), head, images, settings, until="stage3"))
    # 32 maps of 16×16 before the third stage of a CIFAR ResNet, the shortcut without weights around its first block,
    # and the first and second stage pooled for the head
    assert head.stages == ("stage1", "stage2", "stage3")
    assert cost.disk == 2 * (3 * 36 + 12) * (32 * 16 * 16 + 64 * 8 * 8 + 16 + 32)
    assert cost.once > 0
    assert cost.seconds == pytest.approx(cost.once + 2 * cost.epoch + cost.after)
    whole = predict_cost("full", task(backbone(), head, images, settings))
    assert whole.disk == 0
    assert whole.once == 0.0


@pytest.mark.slow
def test_what_is_cached_already_costs_no_time(images: FineTuneImages, head: Head, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, 1e9)
    before = predict_cost("last-stage", task(backbone(), head, images, STILL, until="stage3", cache=cache))
    assert before.once > 0
    last_stage(task(backbone(), head, images, STILL, until="stage3", cache=cache))
    after = predict_cost("last-stage", task(backbone(), head, images, STILL, until="stage3", cache=cache))
    assert after.once == 0.0
    assert after.disk == before.disk


@pytest.mark.slow
def test_the_memory_of_a_step_is_what_the_backward_pass_waits_for(images: FineTuneImages, head: Head) -> None:
    """Against tensors counted one by one, without regard to which are the same: an upper bound, and not far."""
    made = backbone()
    cost = predict_cost("full", task(made, head, images, STILL))
    network, kept = HeadedNetwork(made, head.stages, 3), {}
    made.network.requires_grad_(True)
    pixels = torch.randn(8, 3, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t):
        network(pixels)
    own = {t.data_ptr() for t in network.state_dict().values()}
    saved = sum(t.numel() * t.element_size() for place, t in kept.items() if place not in own)
    weights = sum(p.numel() * 4 for p in network.parameters())
    assert 0.8 * saved + 3 * weights <= cost.memory <= 1.5 * saved + 3 * weights
    behind = predict_cost("last-stage", task(backbone(), head, images, STILL, until="stage3"))
    assert behind.memory < cost.memory


@pytest.mark.parametrize("mode", ["frozen", "recalibrated", "live"])
@pytest.mark.slow
def test_a_prediction_leaves_no_trace(images: FineTuneImages, head: Head, mode: str) -> None:
    made = backbone()
    before, modes = made.fingerprint, [module.training for module in made.network.modules()]
    torch.manual_seed(4)
    expected = torch.rand(2)
    torch.manual_seed(4)
    for strategy in ("probe-then-full", "last-stage"):
        settings = dataclasses.replace(STILL, batch_norm=mode)
        predict_cost(strategy, task(made, head, images, settings, until="stage3"))
    assert torch.equal(torch.rand(2), expected)
    assert made.fingerprint == before
    assert [module.training for module in made.network.modules()] == modes
    assert not any(p.requires_grad or p.grad is not None for p in made.network.parameters())


def test_how_many_epochs_a_time_allows() -> None:
    cost = Cost(once=10.0, epoch=4.0, after=2.0, epochs=5, disk=0, memory=0)
    assert cost.seconds == 32.0
    assert [cost.epochs_within(seconds) for seconds in (5.0, 15.9, 16.0, 33.0)] == [0, 0, 1, 5]


@pytest.mark.slow
def test_flips_of_held_out_images_pass_the_whole_network(images: FineTuneImages, head: Head) -> None:
    flips = dataclasses.replace(STILL, flip_tta=True)

    def after(strategy: str, settings: FineTuneSettings) -> float:
        ticks = itertools.count()  # every piece of work takes one second
        made = task(backbone(), head, images, settings, until="stage3")
        return predict_cost(strategy, made, clock=lambda: float(next(ticks))).after

    # 12 images, 8 in a step; a forward pass is a third of it
    assert [after("full", settings) for settings in (STILL, flips)] == [1.0, 1.5]
    # the frozen part and reading the pixels take 1 s each for 8 images
    assert [after("last-stage", settings) for settings in (STILL, flips)] == [1.0, 1.5 + 12 * 2.0 / 8]
