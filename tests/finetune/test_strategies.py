"""Fine-tuning on small drawn sets: the probe's head is the start, what is frozen stays, the cache changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from headstart.backbones.backbone import Backbone
from headstart.errors import BackboneError, TrainingError
from headstart.features.cache import FeatureCache
from headstart.finetune.augmentation import Augmentation
from headstart.finetune.network_with_head import HeadedNetwork
from headstart.finetune.parameter_groups import parameter_groups
from headstart.finetune.settings import FineTuneImages, FineTuneSettings
from headstart.finetune.strategies import full, last_stage, probe_then_full
from headstart.heads.head import Head
from headstart.training.records import EpochRecord, StepRecord
from tuning_set import STILL, backbone, features_of, make_head, make_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> FineTuneImages:
    return make_images(tmp_path_factory.mktemp("tuning"))


@pytest.fixture(scope="module")
def head(images: FineTuneImages) -> Head:
    return make_head(images)


def quiet(record: StepRecord | EpochRecord) -> None:
    """Nobody listens."""


def scores(made: Backbone, head: Head, images: FineTuneImages) -> np.ndarray:
    view = features_of(made, images, images.validation_rows)
    rows = np.arange(len(images.validation_rows))
    return head.scores(np.concatenate([x for _, x in view.view(rows, head.stages, unit=head.unit).blocks()]))


def test_a_headed_network_with_a_solved_head_answers_as_the_head_does(images: FineTuneImages, head: Head) -> None:
    made = backbone()
    expected = scores(made, head, images)
    network = HeadedNetwork(made, head.stages, 3)
    network.take(head)
    stored = torch.from_numpy(images.pixels.read(images.validation_rows)[0])
    with torch.inference_mode():
        answers = network.eval()(made.preprocess.normalise(stored)).numpy()
    assert np.allclose(answers, expected, atol=1e-4 * np.abs(expected).max())
    assert (answers.argmax(1) == expected.argmax(1)).all()
    again = network.to_head(1.0)
    assert np.allclose(again.weight, head.weight, rtol=1e-6)
    assert again.stages == head.stages


def test_probe_then_full_begins_at_the_probes_accuracy_exactly(images: FineTuneImages, head: Head) -> None:
    made = backbone()
    expected = (scores(made, head, images).argmax(1) == images.validation_labels).mean()
    tuned = probe_then_full(made, head, images, STILL, quiet)
    assert tuned.at_start.accuracy == expected
    assert tuned.held_out.n == len(images.validation_rows)
    assert [record.epoch for record in tuned.records] == [1, 2]


def test_full_begins_at_chance_and_learns(images: FineTuneImages, head: Head) -> None:
    made = backbone()
    before = made.fingerprint
    tuned = full(made, head, images, dataclasses.replace(STILL, epochs=6, lr=3e-3), quiet)
    assert tuned.records[0].loss > 0.8  # ln 3 is 1.1 for a head that knows nothing
    assert tuned.records[-1].loss < tuned.records[0].loss
    assert made.fingerprint != before


def test_the_head_that_comes_back_is_that_of_the_network_as_it_is_now(images: FineTuneImages, head: Head) -> None:
    made = backbone()
    tuned = probe_then_full(made, head, images, STILL, quiet)
    answers = scores(made, tuned.head, images).argmax(1)
    assert (answers == images.validation_labels).mean() == tuned.held_out.accuracy
    assert tuned.head.kind == "trained"
    assert not any(p.requires_grad for p in made.network.parameters())
    assert not any(module.training for module in made.network.modules())


@pytest.mark.parametrize("mode", ["frozen", "live", "recalibrated"])
def test_batch_norm_has_the_mode_that_was_asked_for(images: FineTuneImages, head: Head, mode: str) -> None:
    made = backbone()
    norm = made.network.get_submodule("bn1")
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    tuned = full(made, head, images, dataclasses.replace(STILL, batch_norm=mode), quiet)
    same = {name: torch.equal(before[name], tensor) for name, tensor in norm.state_dict().items()}
    if mode == "frozen":
        assert all(same.values())
        assert tuned.proof == f"frozen part: 0 of {5 * 19} tensors changed"
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


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(TrainingError, match="frozen, recalibrated, live"):
        FineTuneSettings(batch_norm="thawed")


def test_before_the_boundary_nothing_moves_and_behind_it_all_does(
    images: FineTuneImages, head: Head, tmp_path: Path
) -> None:
    made = backbone()
    before = {name: tensor.clone() for name, tensor in made.network.state_dict().items()}
    settings = dataclasses.replace(STILL, batch_norm="live")
    cache = FeatureCache(tmp_path, 1e9)
    tuned = last_stage(made, head, images, settings, quiet, until="stage3", cache=cache)
    moved = {name for name, tensor in made.network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith("layer3.") for name in moved)
    assert tuned.changed == ()
    assert tuned.proof.startswith("frozen part: 0 of ")


def test_the_cached_trajectory_is_the_uncached_one(images: FineTuneImages, head: Head, tmp_path: Path) -> None:
    """Against a loop written out here that runs the frozen part anew in every step."""
    settings = dataclasses.replace(STILL, stage_decay=1.0, weight_decay=0.0)
    cached, plain = backbone(), backbone()
    steps: list[float] = []

    def told(record: StepRecord | EpochRecord) -> None:
        if isinstance(record, StepRecord):
            steps.append(record.loss)

    last_stage(cached, head, images, settings, told, until="stage3", cache=FeatureCache(tmp_path, 1e9))

    network = HeadedNetwork(plain, head.stages, 3)
    network.take(dataclasses.replace(head, weight=head.weight / head.temperature, bias=head.bias / head.temperature))
    trained = [p for name, p in plain.network.named_parameters() if name.startswith("layer3.") and "bn" not in name]
    trained = [p for p in trained if p.ndim > 1]
    for parameter in trained:
        parameter.requires_grad_(True)
    parts = [trained, [network.head.weight], [network.head.bias]]
    rates = [
        settings.lr * max(torch.cat([p.detach().flatten() for p in part]).square().mean().sqrt().item(), 1e-3)
        for part in parts
    ]
    groups = [{"params": part, "lr": rate} for part, rate in zip(parts, rates, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    length = -(-len(images.rows) // 8)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=2 * length)
    torch.manual_seed(settings.seed)
    expected = []
    network.eval()  # batch norm frozen, no dropout in this network
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


def test_a_second_time_nothing_before_the_boundary_is_run(images: FineTuneImages, head: Head, tmp_path: Path) -> None:
    cache, told = FeatureCache(tmp_path, 1e9), []
    settings = dataclasses.replace(STILL, augmentation=Augmentation(), cached_views=3)
    for _ in range(2):
        last_stage(
            backbone(), head, images, settings, quiet,
            until="stage3", cache=cache, progress=lambda done, total: told.append((done, total)),
        )  # fmt: skip
    wanted = 3 * len(images.rows) + len(images.validation_rows)
    assert told[-1] == (wanted, wanted)
    assert len(told) == -(-wanted // 32)


def test_the_same_images_on_another_background_are_run_anew(images: FineTuneImages, head: Head, tmp_path: Path) -> None:
    cache, told = FeatureCache(tmp_path, 1e9), []
    for background in ((255, 255, 255), (0, 0, 0)):
        on = dataclasses.replace(images, background=background)
        last_stage(
            backbone(), head, on, STILL, quiet,
            until="stage3", cache=cache, progress=lambda done, total: told.append((done, total)),
        )  # fmt: skip
    wanted = len(images.rows) + len(images.validation_rows)
    assert told.count((wanted, wanted)) == 2


def test_half_precision_activations_give_nearly_the_same_answers(
    images: FineTuneImages, head: Head, tmp_path: Path
) -> None:
    answers = []
    for dtype in ("float32", "float16"):
        made = backbone()
        settings = dataclasses.replace(STILL, dtype=dtype)
        tuned = last_stage(made, head, images, settings, quiet, until="stage3", cache=FeatureCache(tmp_path, 1e9))
        answers.append(scores(made, tuned.head, images))
    assert (answers[0].argmax(1) == answers[1].argmax(1)).all()


def test_a_boundary_that_is_not_there_is_an_error_that_lists_the_stages(
    images: FineTuneImages, head: Head, tmp_path: Path
) -> None:
    with pytest.raises(BackboneError, match="stage3"):
        last_stage(backbone(), head, images, STILL, quiet, until="stage9", cache=FeatureCache(tmp_path, 1e9))


def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_chance_alone(
    images: FineTuneImages, head: Head
) -> None:
    settings = dataclasses.replace(STILL, augmentation=Augmentation())
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one, other, third = backbone(), backbone(), backbone()
    probe_then_full(one, head, images, settings, quiet)
    assert torch.equal(torch.rand(3), expected)
    probe_then_full(other, head, images, settings, quiet)
    probe_then_full(third, head, images, dataclasses.replace(settings, seed=1), quiet)
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != third.fingerprint


def test_parameters_are_in_one_group_each_and_earlier_stages_are_slower() -> None:
    made = backbone()
    made.network.requires_grad_(True)
    network = HeadedNetwork(made, ("stage2", "stage3"), 3)
    groups = parameter_groups(network, made, 0.1, stage_decay=0.5, weight_decay=0.01)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    trained = [id(parameter) for parameter in network.parameters() if parameter.requires_grad]
    assert sorted(listed) == sorted(trained)
    sizes = [
        max(torch.cat([p.detach().flatten() for p in g["params"]]).square().mean().sqrt().item(), 1e-3) for g in groups
    ]
    rates = {g["name"].split(",")[0]: g["lr"] / size for g, size in zip(groups, sizes, strict=True)}
    assert rates == pytest.approx({"stem": 0.00625, "stage1": 0.0125, "stage2": 0.025, "stage3": 0.05, "head": 0.1})
    for group in groups:
        dims = {parameter.ndim > 1 for parameter in group["params"]}
        assert dims == {group["weight_decay"] > 0}
    before = {id(p): p.detach().clone() for p in network.parameters()}
    optimizer = torch.optim.SGD([{**group, "weight_decay": 0.0} for group in groups])
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for group in groups:
        for parameter in group["params"]:
            assert torch.allclose(before[id(parameter)] - parameter, torch.full_like(parameter, group["lr"]), atol=1e-6)
