"""auto: by the number of images, by time, by folds; it keeps the probe unless the interval says otherwise."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from drawn_photos import draw_folder
from headstart import progress
from headstart.errors import RecipeError, TrainingError
from headstart.finetune.auto import _Planner, check_strategy, idle_options, settings_of
from headstart.finetune.cost import Cost
from headstart.finetune.plan import Trial
from headstart.recipe import Recipe
from headstart.workbench.run import Run
from headstart.workbench.train import train


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """180 drawn images: enough to judge by."""
    return draw_folder(tmp_path_factory.mktemp("many") / "photos", per_class=60)


def auto(photos: Path, out: Path, **knobs: object) -> tuple[Run, str]:
    told: list[str] = []

    def on_event(event: progress.Event) -> None:
        if isinstance(event, progress.Notice):
            told.append(event.text)

    run = train(photos, out=out, on_event=on_event, backbone="embedded", inside=False, strategy="auto", **knobs)
    return run, "\n".join(told)


@pytest.mark.slow
def test_too_few_images_keep_the_probe(tmp_path: Path) -> None:
    photos = draw_folder(tmp_path / "photos", per_class=7)  # 21 images, of which fewer than 20 are trained on
    run, told = auto(photos, tmp_path / "run")
    assert "too few to see whether fine-tuning helps" in told
    assert run.record["fine_tuning"]["plan"]["strategy"] == "probe"
    probe = train(photos, out=tmp_path / "probe", on_event=lambda event: None, backbone="embedded", inside=False)
    assert run.classifier.backbone.fingerprint == probe.classifier.backbone.fingerprint
    assert np.array_equal(run.classifier.head.weight, probe.classifier.head.weight)


@pytest.mark.slow
def test_a_time_in_which_nothing_fits_keeps_the_probe_and_says_what_was_needed(many: Path, tmp_path: Path) -> None:
    _, told = auto(many, tmp_path / "run", time="0.01s")
    assert "keeping the probe: last-stage at 0.03 is not tried: with 2 epochs it needs" in told
    assert "probe-then-full at 0.03 is not tried" in told
    assert "more than --time 0.01s" in told


@pytest.mark.slow
def test_folds_choose_and_judge_and_only_what_is_better_is_trained(many: Path, tmp_path: Path) -> None:
    run, told = auto(many, tmp_path / "run", epochs=3)
    record = run.record["fine_tuning"]
    judged, train_images = record["plan"]["judgement"], 144
    strategies = ("last-stage", "probe-then-full")
    assert set(judged["losses"]) == {f"{strategy} at {lr}" for strategy in strategies for lr in ("0.03", "0.003")}
    assert (judged["folds"], judged["images"]) == (5, train_images)
    assert judged["chosen"] == min(judged["losses"], key=judged["losses"].__getitem__)
    assert "auto: 20 trainings on folds of 144 images to judge" in told
    accepted = judged["gain"]["low"] > 0 and judged["accuracy"] >= judged["probe_accuracy"]
    assert judged["accepted"] == accepted
    kept = "fine-tuned here" in run.classifier.card.weights["source"]
    assert kept == accepted
    assert ("auto: keeping the probe" in told) == (not accepted)
    assert (record["plan"]["strategy"] == "probe") == (not accepted)
    if accepted:
        assert record["epochs"][0]["samples"] == train_images  # no image is spared
        assert record["plan"]["cost"]["once"] == 0  # what is cached was cached by the folds
        assert run.classifier.head.temperature == judged["temperature"]["value"]
        assert "Predicted:" in told


def test_time_for_one_candidate_is_time_for_the_cheapest() -> None:
    costs = {"last-stage": Cost(epoch=1.0, epochs=3), "probe-then-full": Cost(epoch=10.0, epochs=3)}
    images = SimpleNamespace(rows=np.arange(100), groups=None)
    settings = SimpleNamespace(epochs=3, batch_norm="frozen", batch_size=32)
    task = SimpleNamespace(images=images, settings=settings)
    # five trainings on four fifths and one on all, with their held-out images: 3·4 + 0.7 + 3 s
    planner = _Planner(task, Recipe(time="20s"))
    epochs, reasons = planner._fitting(costs)
    assert epochs == {Trial("last-stage", 0.03): 3}
    assert planner._seconds(epochs, costs) == pytest.approx(3 * 4 + 0.7 + 3)
    assert any(reason.startswith("probe-then-full at 0.003 is not tried") for reason in reasons)
    fewer, _ = _Planner(task, Recipe(time="12s"))._fitting(costs)
    assert fewer == {Trial("last-stage", 0.03): 2}
    assert _Planner(task, Recipe(time="5s"))._fitting(costs)[0] == {}


def test_the_device_of_the_recipe_is_that_of_the_fine_tuning() -> None:
    assert settings_of(Recipe(device="cuda:1"), 100).device == "cuda:1"


@pytest.mark.parametrize("head", ["kernel", "auto"])
def test_a_head_that_is_not_linear_is_not_trained_with_the_network(head: str) -> None:
    check_strategy(Recipe(head=head))
    with pytest.raises(TrainingError, match="linear in the features") as raised:
        check_strategy(Recipe(head=head, strategy="last-stage"))
    assert raised.value.where == "--head"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10min", 600), ("2h", 7200), (" 1.5 m ", 90)])
def test_times_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert Recipe(time=text).seconds == seconds


@pytest.mark.parametrize("text", ["10", "min", "-5s", "0s", "ten minutes"])
def test_a_time_without_a_number_or_a_unit_is_an_error(text: str) -> None:
    with pytest.raises(RecipeError, match="90s, 10min or 2h"):
        Recipe(time=text)


@pytest.mark.slow
def test_a_rate_of_zero_asks_for_a_range_test(photos: Path, tmp_path: Path) -> None:
    told: list[str] = []
    run = train(
        photos,
        out=tmp_path / "run",
        on_event=lambda event: told.append(event.text) if isinstance(event, progress.Notice) else None,
        backbone="embedded",
        inside=False,
        strategy="full",
        epochs=1,
        lr=0,
        force=True,
    )
    said = next(text for text in told if text.startswith("Learning-rate range test"))
    assert f"{run.record['fine_tuning']['plan']['lr']:.2g}" in said


@pytest.mark.slow
def test_options_of_fine_tuning_beside_the_probe_are_named(photos: Path, tmp_path: Path) -> None:
    told: list[str] = []
    train(
        photos,
        out=tmp_path / "run",
        on_event=lambda event: told.append(event.text) if isinstance(event, progress.Notice) else None,
        backbone="embedded",
        epochs=3,
        flips=False,
        inside=False,
    )
    assert any("--epochs, --no-flips have no effect" in text for text in told)
    assert idle_options(Recipe(flip_tta=True)) == ("--flip-tta",)
    assert idle_options(Recipe()) == ()
    assert idle_options(Recipe(strategy="full", epochs=3)) == ()
