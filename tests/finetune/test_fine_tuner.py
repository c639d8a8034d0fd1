"""What a fine-tuning does besides training: it fits into memory, tries averages and flips, follows a schedule."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fine_tune_set import STILL, backbone, make_head, make_images, task
from headstart.backbones.backbone import Backbone
from headstart.errors import RecipeError
from headstart.features.cache import FeatureCache
from headstart.finetune.activations import Activations, Tail
from headstart.finetune.averaging import ALPHAS
from headstart.finetune.fine_tuner import FineTuner
from headstart.finetune.result import FineTuneResult, HeldOut
from headstart.finetune.settings import FineTuneImages, FineTuneSettings, Report, no_report
from headstart.finetune.strategies import STRATEGIES, find_rate, full, probe_then_full
from headstart.heads.head import Head
from headstart.hooks import watch_inputs
from headstart.training.checkpoint_folder import CheckpointFolder
from headstart.training.records import EpochRecord, StepRecord


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> FineTuneImages:
    return make_images(tmp_path_factory.mktemp("fine-tune"))


@pytest.fixture(scope="module")
def head(images: FineTuneImages) -> Head:
    return make_head(images)


def with_memory_for(
    most: int,
    images: FineTuneImages,
    head: Head,
    settings: FineTuneSettings,
    report: Report = no_report,
    checkpoints: CheckpointFolder | None = None,
) -> tuple[FineTuneResult, Tensor]:
    """probe-then-full where a training pass of more than so many images runs out of memory; and the stem's weights."""
    made = backbone()

    def look(name: str, pixels: Tensor) -> None:
        if torch.is_grad_enabled() and len(pixels) > most:
            raise torch.OutOfMemoryError(f"{len(pixels)} images are too many")

    with watch_inputs({"conv1": made.network.get_submodule("conv1")}, look):
        tuned = probe_then_full(task(made, head, images, settings, report=report, checkpoints=checkpoints))
    return tuned, made.network.get_submodule("conv1").weight.detach()


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_sums_the_gradients(images: FineTuneImages, head: Head) -> None:
    words: list[str] = []
    enough, expected = with_memory_for(8, images, head, STILL)
    tuned, weight = with_memory_for(
        2, images, head, STILL, lambda record: words.append(record) if isinstance(record, str) else None
    )
    assert (enough.batch_size, tuned.batch_size) == (8, 2)
    assert len(words) == 2
    assert "4 images in a forward pass" in words[0]
    assert [record.samples for record in tuned.records] == [36, 36]
    # the same steps, in another order of additions; Adam's first steps magnify rounding where gradients are near zero
    assert torch.allclose(weight, expected, atol=2e-4)
    assert [r.loss for r in tuned.records] == pytest.approx([r.loss for r in enough.records], rel=1e-3)
    planned, same = with_memory_for(2, images, head, dataclasses.replace(STILL, halvings=2))
    assert planned.batch_size == 2
    assert torch.equal(same, weight)


def test_one_image_that_does_not_fit_is_an_error(images: FineTuneImages, head: Head) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        with_memory_for(0, images, head, STILL)


@pytest.mark.slow
def test_a_run_that_was_halved_is_resumed_with_its_small_batches(
    images: FineTuneImages, head: Head, tmp_path: Path
) -> None:
    _, expected = with_memory_for(4, images, head, STILL, checkpoints=CheckpointFolder(tmp_path / "whole", 0.0))

    def stop(record: object) -> None:
        if isinstance(record, StepRecord) and record.epoch == 2 and record.step >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_memory_for(4, images, head, STILL, stop, CheckpointFolder(tmp_path / "cut", 0.0))
    kept = CheckpointFolder(tmp_path / "cut", 0.0)
    assert kept.halvings == 1
    # memory suffices again, but a run that started with four images in a pass goes on with them
    tuned, weight = with_memory_for(99, images, head, STILL, checkpoints=kept)
    assert tuned.batch_size == 4
    assert torch.equal(weight, expected)


def test_it_trains_on_the_device_of_its_settings(images: FineTuneImages, head: Head) -> None:
    with pytest.raises(RecipeError, match="cuda:99"):
        probe_then_full(task(backbone(), head, images, dataclasses.replace(STILL, device="cuda:99")))


def test_statistics_of_averages_are_measured_where_the_network_is(images: FineTuneImages, head: Head) -> None:
    tuner = FineTuner(task(backbone(), head, images))
    loop = tuner.loop(tuner.network, tuner.random_views)

    loop.to("meta")  # a device that every machine has: of its tensors only the shapes exist

    assert [pixels.device.type for pixels in tuner.calibration_batches()] == ["meta"]


@pytest.mark.slow
def test_averages_change_no_statistics_before_the_boundary(images: FineTuneImages, head: Head, tmp_path: Path) -> None:
    made = backbone()
    before = {name: tensor.clone() for name, tensor in made.network.state_dict().items()}
    settings = dataclasses.replace(STILL, average="wise", batch_norm="live", lr=0.05)
    job = task(made, head, images, settings, until="stage3", cache=FeatureCache(tmp_path, 1e9))
    tuner = FineTuner(job)
    tuner.freeze("stage3")
    cut = tuner.cut()
    tail = Tail(cut, tuner.network).train()
    start = {name: tensor.clone() for name, tensor in tail.state_dict().items()}
    loop = tuner.loop(tail, Activations(job, cut).random_view)
    loop.train(1)

    tried = list(tuner.candidates(loop, start))

    assert len(tried) == 5
    norms = [name for name in before if name.endswith("running_mean")]
    frozen = [name for name in norms if name in tuner.policy.tensors]
    assert len(norms) > len(frozen) > 0
    for candidate in tried:
        state = {name: candidate.state[f"network.body.{name}"] for name in norms}
        assert [name for name in norms if torch.equal(state[name], before[name])] == frozen


@pytest.mark.slow
@pytest.mark.parametrize("average", ["ema", "wise"])
@pytest.mark.parametrize("mode", ["frozen", pytest.param("live", marks=pytest.mark.slow)])
def test_averages_are_measured_and_the_best_is_what_comes_back(
    images: FineTuneImages, head: Head, average: str, mode: str
) -> None:
    made = backbone()
    settings = dataclasses.replace(STILL, average=average, batch_norm=mode, lr=0.05)
    tuned = probe_then_full(task(made, head, images, settings))
    names = [one.name for one in tuned.averages]
    assert names == ["last", *(["ema"] if average == "ema" else [f"wise α={a:g}" for a in ALPHAS])]
    taken = [one for one in tuned.averages if one.taken]
    assert len(taken) == 1
    assert taken[0].log_loss == min(one.log_loss for one in tuned.averages) == tuned.held_out.log_loss
    stored = torch.from_numpy(images.pixels.read(images.validation_rows)[0])
    features = made.features(made.preprocess.normalise(stored)).double().numpy()
    stages = [features[:, made.slices[stage]] for stage in tuned.head.stages]
    unit = np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True) for x in stages], 1)
    assert (tuned.head.scores(unit).argmax(1) == images.validation_labels).mean() == taken[0].accuracy


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
@pytest.mark.slow
def test_mixed_images_train_the_same_twice(images: FineTuneImages, head: Head, mix: str) -> None:
    settings = dataclasses.replace(STILL, mix=mix, epochs=1)
    prints = []
    for how in (settings, settings, STILL):
        made = backbone()
        probe_then_full(task(made, head, images, dataclasses.replace(how, epochs=1)))
        prints.append(made.fingerprint)
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.slow
def test_the_cosine_climbs_over_ten_steps_or_a_third_and_falls_to_nothing(images: FineTuneImages, head: Head) -> None:
    rates: list[float] = []

    def told(record: StepRecord | EpochRecord | str) -> None:
        if isinstance(record, StepRecord):
            rates.append(record.rates[-1])

    probe_then_full(
        task(backbone(), head, images, dataclasses.replace(STILL, schedule="cosine", epochs=4), report=told)
    )
    shape = np.array(rates) / max(rates)
    assert len(shape) == 20
    # 6 of 20 steps to climb; the cosine begins at its top
    assert shape[:7] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0, 1.0])
    expected = [0.5 * (1 + math.cos(math.pi * (step - 6) / 14)) for step in range(6, 20)]
    assert shape[6:] == pytest.approx(expected)


@pytest.mark.slow
def test_a_range_test_leaves_no_trace_and_runs_on_cached_activations(
    images: FineTuneImages, head: Head, tmp_path: Path
) -> None:
    made, cache = backbone(), FeatureCache(tmp_path, 1e9)
    before = made.fingerprint
    empty = dataclasses.replace(head, weight=0 * head.weight, bias=0 * head.bias, temperature=1.0)
    found = find_rate("last-stage", task(made, empty, images, STILL, until="stage3", cache=cache))
    assert made.fingerprint == before
    assert len(found.raw) >= 10
    progress: list[tuple[int, int]] = []
    again = find_rate(
        "last-stage",
        task(
            made,
            empty,
            images,
            STILL,
            until="stage3",
            cache=cache,
            progress=lambda done, total: progress.append((done, total)),
        ),
    )
    assert progress == []
    assert again.raw == found.raw
    assert found.suggestion is None or 1e-4 < found.suggestion < 1
    trained, control = backbone(), backbone()
    find_rate("full", task(trained, empty, images, STILL, cache=cache))
    for one in (trained, control):
        full(task(one, head, images, STILL))
    assert trained.fingerprint == control.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["last-stage", "full", "probe-then-full"])
def test_flips_are_compared_by_the_mean_of_both_scores(
    images: FineTuneImages, head: Head, tmp_path: Path, strategy: str
) -> None:
    settings, words = dataclasses.replace(STILL, flip_tta=True, epochs=1), list[str]()
    made = backbone()

    def told(record: StepRecord | EpochRecord | str) -> None:
        words.extend([record] if isinstance(record, str) else [])

    cache = FeatureCache(tmp_path, 1e9)
    tuned = STRATEGIES[strategy](task(made, head, images, settings, report=told, until="stage3", cache=cache))
    squares = images.pixels.read(images.validation_rows)[0]
    plain, flipped = (_scores(made, tuned.head, view) for view in (squares, squares[..., ::-1].copy()))
    for one, scores in zip(tuned.flip_tta, (plain, (plain + flipped) / 2), strict=True):
        expected = HeldOut.of(scores, images.validation_labels)
        assert one.log_loss == pytest.approx(expected.log_loss, rel=1e-4)
        assert one.accuracy == expected.accuracy
    chosen = next(one for one in tuned.flip_tta if one.taken)
    assert tuned.held_out.log_loss == chosen.log_loss
    assert tuned.head.temperature == tuned.held_out.temperature
    taken = tuned.flip_tta[1].log_loss < tuned.flip_tta[0].log_loss
    assert [one.taken for one in tuned.flip_tta] == [not taken, taken]
    assert tuned.head.flip_tta == (made.flip_tta is not None) == taken
    assert tuned.to_dict()["flip_tta"] == [one.to_dict() for one in tuned.flip_tta]
    assert len(words) == 1


def _scores(made: Backbone, head: Head, squares: np.ndarray) -> np.ndarray:
    """Of images as they are, through the backbone's own graph."""
    with torch.no_grad():
        rows = (
            made.feature_extractor(head.stages)(made.preprocess.normalise(torch.from_numpy(squares))).double().numpy()
        )
    widths = [made.spec.stage(stage).width for stage in head.stages]
    stages = np.split(rows, np.cumsum(widths)[:-1], axis=1)
    unit = np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True) for x in stages], 1)
    return unit @ head.weight + head.bias


@pytest.mark.slow
def test_without_held_out_images_flips_are_never_used(images: FineTuneImages, head: Head) -> None:
    none, words = np.empty(0, dtype=np.int64), list[str]()
    few = dataclasses.replace(images, validation_rows=none, validation_labels=none)
    made = backbone()
    tuned = probe_then_full(
        task(
            made,
            head,
            few,
            dataclasses.replace(STILL, flip_tta=True, epochs=1),
            report=lambda record: words.append(record) if isinstance(record, str) else None,
        )
    )
    assert tuned.flip_tta == ()
    assert not tuned.head.flip_tta
    assert made.flip_tta is None
    assert "no image is held out" in words[0]
