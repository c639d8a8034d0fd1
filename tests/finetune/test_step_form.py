"""The form of a step: chosen by measured times, kept, and training the same network in each form."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fine_tune_set import STILL, backbone, make_head, make_images, task
from headstart.features.cache import FeatureCache
from headstart.finetune import auto, step_form
from headstart.finetune.cost import Cost
from headstart.finetune.settings import BFLOAT16, CHANNELS_LAST, FORMS, PLAIN, FineTuneImages, FineTuneTask
from headstart.finetune.step_form import choose_form
from headstart.finetune.strategies import full, probe_then_full
from headstart.heads.head import Head
from headstart.recipe import Recipe
from headstart.training.checkpoint_folder import CheckpointFolder
from headstart.training.records import StepRecord

MINUTE = Cost(epoch=10.0, epochs=6)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> FineTuneImages:
    return make_images(tmp_path_factory.mktemp("fine-tune"))


@pytest.fixture(scope="module")
def head(images: FineTuneImages) -> Head:
    return make_head(images)


def times(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[str]:
    """Let a pass take so many seconds in the other forms; the list gets each that is timed."""
    timed: list[str] = []
    by_form = {CHANNELS_LAST: seconds["channels_last"], BFLOAT16: seconds["bfloat16"]}

    def measured(strategy: str, tried: FineTuneTask) -> Cost:
        timed.append(tried.settings.form)
        return Cost(epoch=by_form[tried.settings.form], epochs=6)

    monkeypatch.setattr(step_form, "predict_cost", measured)
    monkeypatch.setattr(step_form, "has_bfloat16", lambda device: True)
    return timed


@pytest.mark.parametrize(
    ("channels_last", "bfloat16", "chosen"),
    [
        (8.0, 4.0, BFLOAT16),
        (6.0, 7.0, CHANNELS_LAST),
        (9.5, 12.0, PLAIN),  # 5 %: what a busy machine feigns
        (9.5, 8.5, PLAIN),
        (7.9, 8.1, CHANNELS_LAST),  # bfloat16 would have to be better than 1.25 times
    ],
)
def test_the_fastest_form_is_taken_where_it_gains_enough(
    channels_last: float,
    bfloat16: float,
    chosen: str,
    images: FineTuneImages,
    head: Head,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed = times(monkeypatch, channels_last=channels_last, bfloat16=bfloat16)
    told: list[object] = []
    found = choose_form("full", task(backbone(), head, images, report=told.append), cost=MINUTE)
    assert found == chosen
    assert timed == [CHANNELS_LAST, BFLOAT16]
    assert f"{10 / channels_last:.2f}" in str(told[0])


def test_a_short_training_is_not_timed(images: FineTuneImages, head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = times(monkeypatch, channels_last=1.0, bfloat16=1.0)
    assert choose_form("full", task(backbone(), head, images), cost=Cost(epoch=4.9, epochs=6)) == PLAIN
    assert timed == []


def test_what_was_measured_is_kept_for_this_network_and_strategy(
    images: FineTuneImages, head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    timed = times(monkeypatch, channels_last=8.0, bfloat16=4.0)
    with_cache = task(backbone(), head, images, cache=FeatureCache(tmp_path / "features", 1e9), until="stage3")
    assert choose_form("full", with_cache, cost=MINUTE) == BFLOAT16
    assert choose_form("full", with_cache, cost=MINUTE) == BFLOAT16
    assert timed == [CHANNELS_LAST, BFLOAT16]  # once
    choose_form("last-stage", with_cache, cost=MINUTE)
    assert len(timed) == 4
    # another processor: what was kept does not serve
    monkeypatch.setattr(step_form, "has_bfloat16", lambda device: False)
    assert choose_form("full", with_cache, cost=MINUTE) == CHANNELS_LAST


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "form"), [("float32", PLAIN), ("bfloat16", BFLOAT16), ("auto", PLAIN)])
def test_the_plan_says_which_form(asked: str, form: str, images: FineTuneImages, head: Head) -> None:
    recipe = Recipe(strategy="full", step_precision=asked, lr=0.01)
    plan = auto.plan_fine_tuning(task(backbone(), head, images), recipe)
    assert plan.form == form
    assert type(plan).from_dict(plan.to_dict()) == plan
    older = {name: value for name, value in plan.to_dict().items() if name != "form"}
    assert type(plan).from_dict(older).form == PLAIN


@pytest.mark.slow
@pytest.mark.parametrize(("form", "tolerance"), [(CHANNELS_LAST, 1e-4), (BFLOAT16, 3e-2)])
def test_each_form_trains_the_same_network(form: str, tolerance: float, images: FineTuneImages, head: Head) -> None:
    """Against plain float32: losses of each epoch and the scores in the end; the weights come back contiguous."""
    made = {name: backbone() for name in (PLAIN, form)}
    tuned = {
        name: full(task(made[name], head, images, dataclasses.replace(STILL, form=name, lr=0.01))) for name in made
    }
    losses = {name: [record.loss for record in result.records] for name, result in tuned.items()}
    assert losses[form] == pytest.approx(losses[PLAIN], rel=tolerance)
    assert losses[form] != losses[PLAIN]  # else it was not trained in that form
    plain = tuned[PLAIN].held_out.scores
    assert np.abs(tuned[form].held_out.scores - plain).max() < 3 * tolerance * np.abs(plain).max()
    assert all(tensor.is_contiguous() and tensor.dtype != torch.bfloat16 for tensor in made[form].state().values())


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS[1:])
def test_a_training_that_was_stopped_goes_on_bit_for_bit(
    form: str, images: FineTuneImages, head: Head, tmp_path: Path
) -> None:
    settings = dataclasses.replace(STILL, form=form)
    whole, cut = backbone(), backbone()
    probe_then_full(task(whole, head, images, settings, checkpoints=CheckpointFolder(tmp_path / "whole", 0.0)))

    def stop(record: object) -> None:
        if isinstance(record, StepRecord) and record.epoch == 2 and record.step >= 3:
            raise KeyboardInterrupt

    kept = CheckpointFolder(tmp_path / "cut", 0.0)
    with pytest.raises(KeyboardInterrupt):
        probe_then_full(task(cut, head, images, settings, checkpoints=kept, report=stop))
    again = backbone()
    probe_then_full(task(again, head, images, settings, checkpoints=kept))
    assert all(torch.equal(tensor, again.state()[name]) for name, tensor in whole.state().items())
