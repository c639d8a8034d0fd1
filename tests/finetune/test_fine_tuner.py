"""What a tuner does besides training: it shrinks into memory, tries averages, follows a schedule, looks for a rate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.backbones.recalibrate import Batches
from headstart.errors import TrainingError
from headstart.features.cache import FeatureCache
from headstart.finetune.averaging import Candidate, best_of
from headstart.finetune.fine_tuner import FineTuner, Told
from headstart.finetune.parameter_groups import batch_norms
from headstart.finetune.settings import FineTuneImages, FineTuneResult, FineTuneSettings, HeldOut
from headstart.finetune.strategies import find_rate, full, last_stage, probe_then_full
from headstart.heads.head import Head
from headstart.hooks import watch_inputs
from headstart.training.checkpoints import Checkpoints
from headstart.training.records import EpochRecord, StepRecord
from tuning_set import STILL, backbone, make_head, make_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> FineTuneImages:
    return make_images(tmp_path_factory.mktemp("tuning"))


@pytest.fixture(scope="module")
def head(images: FineTuneImages) -> Head:
    return make_head(images)


def quiet(record: StepRecord | EpochRecord | str) -> None:
    """Nobody listens."""


def with_room_for(
    most: int,
    images: FineTuneImages,
    head: Head,
    settings: FineTuneSettings,
    told: Told = quiet,
    checkpoints: Checkpoints | None = None,
) -> tuple[FineTuneResult, Tensor]:
    """probe-then-full where a training pass of more than so many images runs out of memory; and the stem's weights."""
    made = backbone()

    def look(name: str, pixels: Tensor) -> None:
        if torch.is_grad_enabled() and len(pixels) > most:
            raise torch.OutOfMemoryError(f"{len(pixels)} images are too many")

    with watch_inputs({"conv1": made.network.get_submodule("conv1")}, look):
        tuned = probe_then_full(made, head, images, settings, told, checkpoints=checkpoints)
    return tuned, made.network.get_submodule("conv1").weight.detach()


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_sums_the_gradients(images: FineTuneImages, head: Head) -> None:
    words: list[str] = []
    enough, expected = with_room_for(8, images, head, STILL)
    tuned, weight = with_room_for(
        2, images, head, STILL, lambda record: words.append(record) if isinstance(record, str) else None
    )
    assert (enough.batch_size, tuned.batch_size) == (8, 2)
    assert len(words) == 2
    assert "4 images at once" in words[0]
    assert [record.samples for record in tuned.records] == [36, 36]
    # the same steps, in another order of additions; Adam's first steps magnify rounding where gradients are near zero
    assert torch.allclose(weight, expected, atol=2e-4)
    assert [r.loss for r in tuned.records] == pytest.approx([r.loss for r in enough.records], rel=1e-3)
    planned, same = with_room_for(2, images, head, dataclasses.replace(STILL, halvings=2))
    assert planned.batch_size == 2
    assert torch.equal(same, weight)


def test_one_image_that_does_not_fit_is_an_error(images: FineTuneImages, head: Head) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        with_room_for(0, images, head, STILL)


def test_a_run_that_was_halved_is_resumed_with_its_small_batches(
    images: FineTuneImages, head: Head, tmp_path: Path
) -> None:
    _, expected = with_room_for(4, images, head, STILL, checkpoints=Checkpoints(tmp_path / "whole", 0.0))

    def stop(record: object) -> None:
        if isinstance(record, StepRecord) and record.epoch == 2 and record.step >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_room_for(4, images, head, STILL, stop, Checkpoints(tmp_path / "cut", 0.0))
    kept = Checkpoints(tmp_path / "cut", 0.0)
    assert kept.halvings == 1
    # there is room again, but what was begun with four images at once ends so
    tuned, weight = with_room_for(99, images, head, STILL, checkpoints=kept)
    assert tuned.batch_size == 4
    assert torch.equal(weight, expected)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> FineTuneSettings:
    """Settings of a training beside the CPU, on a device that every machine has: of its tensors only the shapes are."""
    monkeypatch.setattr(runtime, "choose_device", lambda name="auto": "cpu" if name == "auto" else name)
    return dataclasses.replace(STILL, device="meta")


def test_it_trains_on_the_device_it_was_told(images: FineTuneImages, head: Head, elsewhere: FineTuneSettings) -> None:
    tuner = FineTuner(backbone(), head, images, elsewhere, quiet)
    loop = tuner.loop(tuner.network, tuner.random_views)
    assert loop.device == "meta"
    assert {weight.device.type for weight in tuner.network.parameters()} == {"meta"}


def test_statistics_of_averages_are_measured_where_the_network_is(
    images: FineTuneImages, head: Head, elsewhere: FineTuneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[list[str]] = []

    def walk(network: torch.nn.Module, batches: Batches, *, names: list[str]) -> None:
        assert names == list(batch_norms(network))
        walks.append([network(pixels).device.type for pixels in batches()])

    monkeypatch.setattr("headstart.finetune.fine_tuner.recalibrate", walk)
    settings = dataclasses.replace(elsewhere, average="wise", batch_norm="live")
    tuner = FineTuner(backbone(), head, images, settings, quiet)
    start = {name: tensor.detach().clone() for name, tensor in tuner.network.state_dict().items()}
    loop = tuner.loop(tuner.network, tuner.random_views)
    assert len(list(tuner._candidates(loop, start))) == 5
    assert walks == [["meta"]] * 4


def test_averages_settle_no_statistics_before_the_boundary(
    images: FineTuneImages, head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Candidate] = []

    def best(model: torch.nn.Module, candidates: Iterable[Candidate], measure: Callable[[], HeldOut]) -> object:
        tried.extend(candidates)
        return best_of(model, tried, measure)

    monkeypatch.setattr("headstart.finetune.fine_tuner.best_of", best)
    made = backbone()
    before = {name: tensor.clone() for name, tensor in made.network.state_dict().items()}
    settings = dataclasses.replace(STILL, average="wise", batch_norm="live", lr=0.05)

    tuned = last_stage(made, head, images, settings, quiet, until="stage3", cache=FeatureCache(tmp_path, 1e9))

    assert len(tried) == 5
    assert not tuned.changed
    norms = [name for name in before if name.endswith("running_mean")]
    frozen = [name for name in norms if name in tuned.frozen.tensors]
    assert len(norms) > len(frozen) > 0
    for candidate in tried:
        state = {name: candidate.state[f"network.body.{name}"] for name in norms}
        assert [name for name in norms if torch.equal(state[name], before[name])] == frozen


@pytest.mark.parametrize("average", ["ema", "wise"])
@pytest.mark.parametrize("mode", ["frozen", "live"])
def test_averages_are_measured_and_the_best_is_what_comes_back(
    images: FineTuneImages, head: Head, average: str, mode: str
) -> None:
    made = backbone()
    settings = dataclasses.replace(STILL, average=average, batch_norm=mode, lr=0.05)
    tuned = probe_then_full(made, head, images, settings, quiet)
    names = [one.name for one in tuned.averages]
    assert names == ["last", "ema"] if average == "ema" else len(names) == 5
    taken = [one for one in tuned.averages if one.taken]
    assert len(taken) == 1
    assert taken[0].log_loss == min(one.log_loss for one in tuned.averages) == tuned.held_out.log_loss
    stored = torch.from_numpy(images.pixels.read(images.validation_rows)[0])
    features = made.features(made.preprocess.normalise(stored)).double().numpy()
    parts = [features[:, made.slices[stage]] for stage in tuned.head.stages]
    unit = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], 1)
    assert (tuned.head.scores(unit).argmax(1) == images.validation_labels).mean() == taken[0].accuracy


def test_what_a_strategy_cannot_do_is_refused_with_words(images: FineTuneImages, head: Head, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="head begins at zero"):
        full(backbone(), head, images, dataclasses.replace(STILL, average="wise"), quiet)
    mixed = dataclasses.replace(STILL, mix="mixup")
    with pytest.raises(TrainingError, match="cached activations"):
        last_stage(backbone(), head, images, mixed, quiet, until="stage3", cache=FeatureCache(tmp_path, 1e9))
    with pytest.raises(TrainingError, match="one-cycle, cosine"):
        FineTuneSettings(schedule="linear")


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixed_images_train_the_same_twice(images: FineTuneImages, head: Head, mix: str) -> None:
    settings = dataclasses.replace(STILL, mix=mix, epochs=1)
    prints = []
    for how in (settings, settings, STILL):
        made = backbone()
        probe_then_full(made, head, images, dataclasses.replace(how, epochs=1), quiet)
        prints.append(made.fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_the_cosine_climbs_over_a_tenth_of_the_steps_and_falls_to_nothing(images: FineTuneImages, head: Head) -> None:
    rates: list[float] = []

    def told(record: StepRecord | EpochRecord | str) -> None:
        if isinstance(record, StepRecord):
            rates.append(record.rates[-1])

    probe_then_full(backbone(), head, images, dataclasses.replace(STILL, schedule="cosine", epochs=4), told)
    shape = np.array(rates) / max(rates)
    assert len(shape) == 20
    assert shape[:3] == pytest.approx([0.5, 1.0, 1.0])  # 2 of 20 steps to climb; the cosine begins at its top
    expected = [0.5 * (1 + math.cos(math.pi * (step - 2) / 18)) for step in range(2, 20)]
    assert shape[2:] == pytest.approx(expected)


@pytest.mark.slow
def test_a_range_test_leaves_no_trace_and_runs_on_cached_activations(
    images: FineTuneImages, head: Head, tmp_path: Path
) -> None:
    made, cache = backbone(), FeatureCache(tmp_path, 1e9)
    before = made.fingerprint
    empty = dataclasses.replace(head, weight=0 * head.weight, bias=0 * head.bias, temperature=1.0)
    found = find_rate("last-stage", made, empty, images, STILL, until="stage3", cache=cache)
    assert made.fingerprint == before
    assert len(found.raw) >= 10
    told: list[tuple[int, int]] = []
    again = find_rate(
        "last-stage",
        made,
        empty,
        images,
        STILL,
        until="stage3",
        cache=cache,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == []
    assert again.raw == found.raw
    if found.suggestion is not None:
        assert 1e-4 < found.suggestion < 1
    trained, control = backbone(), backbone()
    find_rate("full", trained, empty, images, STILL, cache=cache)
    for one in (trained, control):
        full(one, head, images, STILL, quiet)
    assert trained.fingerprint == control.fingerprint


@pytest.mark.parametrize("strategy", ["last-stage", "full", "probe-then-full"])
def test_mirror_images_are_judged_by_the_mean_of_both_scores(
    images: FineTuneImages, head: Head, tmp_path: Path, strategy: str
) -> None:
    settings, words = dataclasses.replace(STILL, flip_tta=True, epochs=1), list[str]()
    made = backbone()

    def told(record: StepRecord | EpochRecord | str) -> None:
        words.extend([record] if isinstance(record, str) else [])

    if strategy == "last-stage":
        cache = FeatureCache(tmp_path, 1e9)
        tuned = last_stage(made, head, images, settings, told, until="stage3", cache=cache)
    else:
        tuned = {"full": full, "probe-then-full": probe_then_full}[strategy](made, head, images, settings, told)
    squares = images.pixels.read(images.validation_rows)[0]
    plain, mirrored = (_scores(made, tuned.head, view) for view in (squares, squares[..., ::-1].copy()))
    for one, scores in zip(tuned.flip_tta, (plain, (plain + mirrored) / 2), strict=True):
        expected = HeldOut.of(scores, images.validation_labels)
        assert one.log_loss == pytest.approx(expected.log_loss, rel=1e-4)
        assert one.accuracy == expected.accuracy
        if one.taken:
            assert tuned.head.temperature == pytest.approx(expected.temperature, rel=1e-3)
            assert tuned.held_out.log_loss == one.log_loss
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
    parts = np.split(rows, np.cumsum(widths)[:-1], axis=1)
    unit = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], 1)
    return unit @ head.weight + head.bias


def test_without_held_out_images_mirror_images_are_never_taken(images: FineTuneImages, head: Head) -> None:
    none, words = np.empty(0, dtype=np.int64), list[str]()
    few = dataclasses.replace(images, validation_rows=none, validation_labels=none)
    made = backbone()
    tuned = probe_then_full(
        made,
        head,
        few,
        dataclasses.replace(STILL, flip_tta=True, epochs=1),
        lambda record: words.append(record) if isinstance(record, str) else None,
    )
    assert tuned.flip_tta == ()
    assert not tuned.head.flip_tta
    assert made.flip_tta is None
    assert "no image is held out" in words[0]
