"""Fine-tuning on small drawn sets: the probe's head is the start, what is frozen stays, the cache changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fine_tune_set import STILL, backbone, make_head, make_images, scores_of, task
from headstart.errors import BackboneError
from headstart.features.cache import FeatureCache
from headstart.finetune.augmentation import Augmentation, centre
from headstart.finetune.network_with_head import HeadedNetwork
from headstart.finetune.settings import FineTuneImages
from headstart.finetune.strategies import full, last_stage, probe_then_full
from headstart.heads.head import Head
from headstart.training.records import EpochRecord, StepRecord


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> FineTuneImages:
    return make_images(tmp_path_factory.mktemp("fine-tune"))


@pytest.fixture(scope="module")
def head(images: FineTuneImages) -> Head:
    return make_head(images)


@pytest.mark.slow
def test_probe_then_full_begins_at_the_probes_accuracy_exactly(images: FineTuneImages, head: Head) -> None:
    made = backbone()
    expected = (scores_of(made, head, images).argmax(1) == images.validation_labels).mean()
    tuned = probe_then_full(task(made, head, images, STILL))
    assert tuned.at_start.accuracy == expected
    assert tuned.held_out.n == len(images.validation_rows)
    assert [record.epoch for record in tuned.records] == [1, 2]


@pytest.mark.slow
def test_full_begins_at_chance_and_learns(images: FineTuneImages, head: Head) -> None:
    made = backbone()
    before = made.fingerprint
    tuned = full(task(made, head, images, dataclasses.replace(STILL, epochs=6, lr=3e-3)))
    assert tuned.records[0].loss > 0.8  # ln 3 is 1.1 for a head that knows nothing
    assert tuned.records[-1].loss < tuned.records[0].loss
    assert made.fingerprint != before


@pytest.mark.slow
def test_the_head_that_comes_back_is_that_of_the_network_as_it_is_now(images: FineTuneImages, head: Head) -> None:
    made = backbone()
    tuned = probe_then_full(task(made, head, images, STILL))
    answers = scores_of(made, tuned.head, images).argmax(1)
    assert (answers == images.validation_labels).mean() == tuned.held_out.accuracy
    assert tuned.head.kind == "trained"
    assert not any(p.requires_grad for p in made.network.parameters())
    assert not any(module.training for module in made.network.modules())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["frozen", "live", "recalibrated"])
def test_batch_norm_has_the_mode_that_was_asked_for(images: FineTuneImages, head: Head, mode: str) -> None:
    made = backbone()
    norm = made.network.get_submodule("bn1")
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    tuned = full(task(made, head, images, dataclasses.replace(STILL, batch_norm=mode)))
    same = {name: torch.equal(before[name], tensor) for name, tensor in norm.state_dict().items()}
    if mode == "frozen":
        assert all(same.values())
        assert tuned.proof == f"frozen weights: 0 of {5 * 19} tensors changed"
    elif mode == "live":
        assert not any(same.values())
        assert tuned.frozen.tensors == ()
    else:
        assert same == {
            "weight": True, "bias": True, "running_mean": False, "running_var": False, "num_batches_tracked": True,
        }  # fmt: skip
        stored = torch.from_numpy(images.pixels.read(images.rows)[0])
        with torch.inference_mode():
            # the statistics are those before the first step, which has moved the first convolution since
            x = backbone().network.get_submodule("conv1")(made.preprocess.normalise(stored))
        assert torch.allclose(norm.running_mean, x.mean((0, 2, 3)), atol=1e-5)
        assert torch.allclose(norm.running_var, x.transpose(0, 1).flatten(1).var(1), rtol=1e-4)
        assert tuned.changed == ()


@pytest.mark.slow
def test_before_the_boundary_nothing_moves_and_behind_it_all_does(
    images: FineTuneImages, head: Head, tmp_path: Path
) -> None:
    made = backbone()
    before = {name: tensor.clone() for name, tensor in made.network.state_dict().items()}
    settings = dataclasses.replace(STILL, batch_norm="live")
    cache = FeatureCache(tmp_path, 1e9)
    tuned = last_stage(task(made, head, images, settings, until="stage3", cache=cache))
    moved = {name for name, tensor in made.network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith("layer3.") for name in moved)
    assert tuned.changed == ()
    assert tuned.proof.startswith("frozen weights: 0 of ")


@pytest.mark.slow
def test_the_cached_trajectory_is_the_uncached_one(images: FineTuneImages, head: Head, tmp_path: Path) -> None:
    """Against a loop written out here that runs the frozen part in every step."""
    settings = dataclasses.replace(STILL, stage_decay=1.0, weight_decay=0.0)
    cached, plain = backbone(), backbone()
    steps: list[float] = []

    def told(record: StepRecord | EpochRecord) -> None:
        if isinstance(record, StepRecord):
            steps.append(record.loss)

    last_stage(task(cached, head, images, settings, report=told, until="stage3", cache=FeatureCache(tmp_path, 1e9)))

    network = HeadedNetwork(plain, head.stages, 3)
    network.take(dataclasses.replace(head, weight=head.weight / head.temperature, bias=head.bias / head.temperature))
    trained = [p for name, p in plain.network.named_parameters() if name.startswith("layer3.") and "bn" not in name]
    trained = [p for p in trained if p.ndim > 1]
    for parameter in trained:
        parameter.requires_grad_(True)
    parts = [trained, [network.head.weight], [network.head.bias]]
    network.eval()  # batch norm frozen, no dropout in this network
    with torch.no_grad():  # the head takes features minus their mean; a step moves a score by the rate times its spread
        raw = network.features(
            plain.preprocess.normalise(centre(torch.from_numpy(images.pixels.read(images.rows)[0]), 32))
        )
        x = torch.cat([torch.nn.functional.normalize(one, dim=1) for one in raw.split(list(network.widths), 1)], 1)
        network.mean.copy_(x.mean(dim=0))
        network.head.bias.add_(network.head.weight @ network.mean)
        spread = float(((x - network.mean) @ network.head.weight.T).square().mean().sqrt())
        distance = float((x - network.mean).abs().sum(dim=1).mean())
    size = torch.cat([p.detach().flatten() for p in trained]).square().mean().sqrt().item()
    rates = [settings.lr * scale for scale in (size, spread / distance, spread)]
    groups = [{"params": part, "lr": rate} for part, rate in zip(parts, rates, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    length = -(-len(images.rows) // 8)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=2 * length)
    torch.manual_seed(settings.seed)
    expected = []
    for _ in range(2):
        order = np.random.default_rng(int(torch.randint(2**62, ()))).permutation(len(images.rows))
        for begin in range(0, len(order), 8):
            chosen = order[begin : begin + 8]
            stored = torch.from_numpy(images.pixels.read(images.rows[chosen])[0])
            loss = F.cross_entropy(network(plain.preprocess.normalise(stored)), torch.from_numpy(images.labels[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            expected.append(loss.item())

    assert steps == pytest.approx(expected, rel=1e-4)
    assert len(steps) == 2 * length


def test_a_boundary_that_is_not_there_is_an_error_that_lists_the_stages(
    images: FineTuneImages, head: Head, tmp_path: Path
) -> None:
    with pytest.raises(BackboneError, match="stage3"):
        last_stage(task(backbone(), head, images, STILL, until="stage9", cache=FeatureCache(tmp_path, 1e9)))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_chance_alone(
    images: FineTuneImages, head: Head
) -> None:
    settings = dataclasses.replace(STILL, augmentation=Augmentation())
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one, other, third = backbone(), backbone(), backbone()
    probe_then_full(task(one, head, images, settings))
    assert torch.equal(torch.rand(3), expected)
    probe_then_full(task(other, head, images, settings))
    probe_then_full(task(third, head, images, dataclasses.replace(settings, seed=1)))
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != third.fingerprint
