"""--flip-tta: compared after fine-tuning; once used, every verb averages an image and its horizontal flip."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from headstart.classifier.classifier import Classifier
from headstart.data.images import open_image
from headstart.finetune import auto as plan_fine_tuning
from headstart.finetune import fine_tuner as tuner
from headstart.finetune.averaging import compare_flips
from headstart.finetune.cross_fit import cross_fit
from headstart.finetune.result import HeldOut, Variant
from headstart.progress import Event, Notice, Progress
from headstart.workbench.continue_run import continue_run
from headstart.workbench.evaluate import evaluate
from headstart.workbench.events import Results
from headstart.workbench.explain import explain
from headstart.workbench.predict import predict
from headstart.workbench.recalibrate import recalibrate
from headstart.workbench.resume import resume
from headstart.workbench.run import Run
from headstart.workbench.train import train
from trained_runs import SAME_BITS

KNOBS = {"backbone": "embedded", "strategy": "last-stage", "epochs": 1, "flip_tta": True, "force": True, **SAME_BITS}

pytestmark = pytest.mark.slow  # every one trains more than once


def quiet(event: Event) -> None:
    """Nobody listens."""


def in_favour(plain: HeldOut, flipped: HeldOut) -> tuple[tuple[Variant, Variant], HeldOut, str]:
    """As it is, but that plain answers are badly calibrated."""
    return compare_flips(replace(plain, log_losses=plain.log_losses + 100), flipped)


@pytest.fixture
def _in_favour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "compare_flips", in_favour)


@pytest.fixture(scope="module")
def told() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory, told: list[Event]) -> Run:
    """Its held-out images were made to favour flips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(tuner, "compare_flips", in_favour)
        return train(photos, out=tmp_path_factory.mktemp("run") / "run", on_event=told.append, **KNOBS)


def by_hand(model: Classifier, paths: list[Path]) -> np.ndarray:
    """Probabilities N×C from the network's own graph, flips made by numpy, and the head's numbers."""
    look, head = model.backbone.preprocess, model.head
    network, scores = model.backbone.feature_extractor(head.stages), []
    squares = np.stack([look.prepare(open_image(path).rgb).numpy() for path in paths])
    for view in (squares, squares[..., ::-1].copy()):
        with torch.no_grad():
            parts = network(look.normalise(torch.from_numpy(view))).double().split(list(network.widths), 1)
        unit = torch.cat([part / part.norm(dim=1, keepdim=True) for part in parts], 1).numpy()
        scores.append(unit @ head.weight + head.bias)
    return np.asarray(softmax((scores[0] + scores[1]) / 2 / head.temperature, axis=1))


def test_what_is_measured_saved_and_predicted_is_the_mean_of_both(run: Run, photos: Path, told: list[Event]) -> None:
    model, rows = run.classifier, run.predictions()
    assert model.card.flip_tta
    expected = by_hand(model, [photos / row["path"] for row in rows])
    written = np.array([[float(row[f"p({name})"]) for name in model.classes] for row in rows])
    np.testing.assert_allclose(written, expected, atol=2e-5)
    test = [i for i, row in enumerate(rows) if row["split"] == "test"]
    right = [model.classes[expected[i].argmax()] == rows[i]["label"] for i in test]
    assert np.mean(right) == run.evaluation.accuracy.value
    plain, both = run.record["fine_tuning"]["flip_tta"]
    assert (plain["taken"], both["taken"]) == (False, True)
    assert any(isinstance(event, Notice) and event.text.startswith("Flip TTA is used") for event in told)
    verdict = next(event for event in told if isinstance(event, Results))
    assert verdict.chosen.startswith("Flip TTA was judged")
    report = " ".join((run.folder / "report.html").read_text(encoding="utf-8").split())
    report = re.sub("</?abbr[^>]*>", "", report)
    assert "the mean score of an image and its horizontal flip" in report
    assert f"log loss {plain['log_loss']:.3f}, with flip TTA {both['log_loss']:.3f}" in report


@pytest.mark.parametrize("engine", ["eager", "folded"])
def test_every_verb_averages_both(run: Run, photos: Path, engine: str) -> None:
    rows = [row for row in run.predictions() if row["split"] == "test"]
    paths = [photos / row["path"] for row in rows]
    expected = by_hand(run.classifier, paths)
    found = predict(run.folder, paths, engine=engine, on_event=quiet)
    for one, row in zip(found, expected, strict=True):
        assert [one.probabilities[name] for name in run.classifier.classes] == pytest.approx(row, abs=2e-5)
    again = evaluate(run.folder, photos, engine=engine, on_event=quiet)
    assert again.evaluation.accuracy.n == len(rows)  # those that were not trained on
    labels = [row["label"] for row in rows]
    right = [run.classifier.classes[k] == label for k, label in zip(expected.argmax(1), labels, strict=True)]
    assert again.evaluation.accuracy.value == np.mean(right)
    for one, row in zip(explain(run.folder, paths[:2], on_event=quiet), expected, strict=False):
        assert one.probability == pytest.approx(row.max(), abs=1e-4)


def test_where_held_out_images_speak_against_flips_nothing_changes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tuner, "compare_flips", lambda plain, other: compare_flips(plain, replace(other, scores=-plain.scores))
    )
    judged = train(photos, out=tmp_path / "judged", on_event=quiet, inside=False, **KNOBS)
    never = train(photos, out=tmp_path / "never", on_event=quiet, inside=False, **{**KNOBS, "flip_tta": False})
    assert [one["taken"] for one in judged.record["fine_tuning"]["flip_tta"]] == [True, False]
    assert never.record["fine_tuning"]["flip_tta"] == []
    assert not judged.classifier.card.flip_tta
    assert judged.predictions() == never.predictions()
    assert judged.evaluation == never.evaluation


def test_a_continuation_starts_without_flips_and_compares_them_again(run: Run, tmp_path: Path) -> None:
    further = continue_run(
        run, out=tmp_path / "more", strategy="probe-then-full", lr=1e-6, force=True, on_event=quiet, inside=False
    )
    then, now = run.record["fine_tuning"], further.record["fine_tuning"]
    assert now["held_out"]["before"] == then["flip_tta"][0]["accuracy"]
    # so small a learning rate leaves the weights as they were, and now nothing favours flips
    assert now["flip_tta"][1]["accuracy"] == then["flip_tta"][1]["accuracy"]
    # the log loss differs: on so few images the temperature is shrunk, here towards that of the run before
    assert further.classifier.card.flip_tta == now["flip_tta"][1]["taken"]


@pytest.mark.usefixtures("_in_favour")
def test_an_interrupted_training_is_resumed_to_the_same_answers(run: Run, photos: Path, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.step == "fine-tune":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(photos, out=tmp_path / "cut", on_event=stop, checkpoint_every=0.0, **KNOBS)
    finished = resume(tmp_path / "cut", on_event=quiet)
    assert finished.record["fine_tuning"]["flip_tta"] == run.record["fine_tuning"]["flip_tta"]
    assert finished.predictions() == run.predictions()


@pytest.mark.usefixtures("_in_favour")
def test_where_auto_keeps_the_probe_no_flips_are_used(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_fine_tuning, "_LEAST_GROUPS", 2)
    monkeypatch.setattr(plan_fine_tuning, "cross_fit", lambda *given: replace(cross_fit(*given), accepted=False))
    words: list[str] = []
    kept = train(
        photos,
        out=tmp_path / "auto",
        on_event=lambda event: words.append(event.text) if isinstance(event, Notice) else None,
        inside=False,
        **{**KNOBS, "strategy": "auto"},
    )
    assert not any(text.startswith("Flip TTA is") for text in words)  # folds do not compare them
    probe = train(photos, out=tmp_path / "probe", on_event=quiet, backbone="embedded", inside=False)
    assert not kept.classifier.card.flip_tta
    assert kept.predictions() == probe.predictions()


def test_a_recalibrated_classifier_still_averages_both(run: Run, photos: Path, tmp_path: Path) -> None:
    found = recalibrate(run.folder, photos, out=tmp_path / "new.safetensors", on_event=quiet)
    model, paths = Classifier.load(found.path), sorted(photos.rglob("*.png"))[:5]
    assert model.card.flip_tta
    assert model.backbone.fingerprint != run.classifier.backbone.fingerprint
    rows = [[one.probabilities[name] for name in model.classes] for one in model.predict(paths)]
    np.testing.assert_allclose(rows, by_hand(model, paths), atol=2e-5)
