"""A training gives its classifier familiarity and prediction sets, and says what they are worth; predict acts on it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

import headstart as hs
from headstart.classifier.familiarity import unit_rows
from headstart.data.finding import Finding
from headstart.errors import ClassifierError, RecipeError
from headstart.evaluation.conformal import conformal_quantile
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.ridge import solve_ridge
from headstart.workbench.fit_trust import TrustInput, familiar_images, fit_trust
from headstart.workbench.run_rows import RunRows
from headstart.workbench.session import Session
from headstart.workbench.solve_again import solve_again, write_again


@pytest.fixture(scope="module")
def trusted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    """A run with a threshold: at 30 % false rejects 33 images are enough."""
    folder = tmp_path_factory.mktemp("trusted")
    return hs.train(
        photos, out=folder / "run", backbone="embedded", false_rejects=0.3, group_by="none", inside=False, on_event=None
    )


def training_rows(run: hs.Run) -> list[dict[str, str]]:
    return [row for row in run.predictions() if row["split"] == "train"]


@pytest.mark.slow
def test_the_bank_is_the_training_images_and_each_is_most_similar_to_itself(trusted: hs.Run, photos: Path) -> None:
    familiarity, rows = trusted.classifier.familiarity, training_rows(trusted)
    assert familiarity is not None
    assert sorted(familiarity.names) == sorted(row["path"] for row in rows)
    assert familiarity.threshold is not None

    for row in rows[:5]:
        (found,) = hs.predict(trusted, photos / row["path"], on_event=None)
        assert found.nearest_image == row["path"]
        assert found.familiar


@pytest.mark.slow
def test_the_threshold_and_the_sets_are_those_of_left_out_training_images(trusted: hs.Run) -> None:
    """Against scores that are solved here again, and distances by their definition."""
    rows, model = training_rows(trusted), trusted.classifier
    places = [trusted.features.names.index(row["path"]) for row in rows]
    labels = np.array([model.classes.index(row["label"]) for row in rows])
    groups = np.unique([row["group"] for row in rows], return_inverse=True)[1]
    view = trusted.features.view(np.array(places), model.head.stages)
    path = solve_ridge(LabelledFeatures.of(view, labels, 3, groups=groups))
    p = softmax(path.held_scores / model.head.temperature, axis=1)

    assert model.conformal is not None
    expected = conformal_quantile(1 - p[np.arange(len(labels)), path.held_labels], 0.05)
    assert model.conformal.thresholds == pytest.approx([min(expected, 1.3)] * 3, abs=1e-6)
    assert model.familiarity is not None
    unit = unit_rows(trusted.features[model.familiarity.stage][places])
    cosines = unit @ unit.T
    distances = [1 - np.sort(cosines[i][groups != groups[i]])[-5] for i in range(len(unit))]
    assert model.familiarity.threshold == pytest.approx(conformal_quantile(np.array(distances), 0.3), abs=1e-3)


@pytest.mark.slow
def test_the_record_and_the_report_say_what_it_is_worth(trusted: hs.Run) -> None:
    found = trusted.record["trust"]
    rows = [row for row in trusted.predictions() if row["split"] == "test"]
    page = (trusted.folder / "report.html").read_text("utf-8")

    assert found["false_rejects"]["n"] == len(rows)
    assert found["sets"]["coverage"]["n"] == len(rows)
    assert [one["name"] for one in found["foreign"]][:2] == ["noise", "flat colours"]
    assert "Unfamiliar images and prediction sets" in page
    assert "are called unfamiliar (stated: 30" in page


@pytest.mark.slow
def test_evaluate_says_how_many_other_images_are_unfamiliar_and_how_often_sets_hold(
    trusted: hs.Run, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for i in range(12):
        folder = tmp_path / "noise" / trusted.classifier.classes[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(folder / f"{i}.png")

    notes = " ".join(hs.evaluate(trusted, tmp_path / "noise", on_event=None).notes)

    assert "Of the test images 100.0\u00a0% [" in notes
    assert "are called unfamiliar (stated: 30\u00a0%). More than stated" in notes
    assert "Prediction sets hold the true class for" in notes


@pytest.mark.slow
def test_a_run_that_is_solved_again_measures_the_same(trusted: hs.Run, tmp_path: Path) -> None:
    solved, done = solve_again(trusted, RunRows.of(trusted)), Finding("forgotten", "note", "Nothing was removed.")

    write_again(tmp_path, trusted, solved, target=tmp_path, done=done, more={})

    found, before = hs.Run.load(tmp_path).record["trust"], trusted.record["trust"]
    assert before["false_rejects"]["n"] > 0
    assert before["sets"]["coverage"]["n"] > 0
    assert found == {**before, "foreign": []}  # drawn pictures need the network


@pytest.mark.slow
def test_rejected_images_keep_their_row_without_a_class(trusted: hs.Run, photos: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    known = photos / training_rows(trusted)[0]["path"]
    images = [tmp_path / "noise.png", known]

    kept = hs.predict(trusted, images, on_event=None)
    found = hs.predict(trusted, images, threshold_policy="reject", csv=tmp_path / "p.csv", on_event=None)

    assert kept[0].familiar is False
    assert kept[0].label is not None
    assert [bool(one.rejected) for one in found] == [True, False]
    assert [one.label is None for one in found] == [True, False]
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text("utf-8-sig").splitlines()))
    assert [row["predicted"] for row in rows] == ["", str(found[1].label)]
    assert rows[0]["rejected"].startswith("unlike the training images")
    with pytest.raises(RecipeError, match="unfamiliar"):
        hs.predict(trusted, images, reject="strange", on_event=None)


def test_a_classifier_without_a_threshold_says_why_it_cannot_reject(run: hs.Run, photos: Path) -> None:
    (found,) = hs.predict(run, next(photos.rglob("*.png")), on_event=None)

    assert found.familiar is None
    assert found.familiarity_percentile is not None
    assert run.classifier.familiarity is not None
    assert "needs 199 independent images" in run.classifier.familiarity.reason
    with pytest.raises(ClassifierError, match="needs 199 independent images"):
        hs.predict(run, next(photos.rglob("*.png")), threshold_policy="reject", on_event=None)


def given_of(run: hs.Run, photos: Path) -> tuple[TrustInput, Session]:
    """The run's images and features, as `train` has them."""
    session = Session(hs.Recipe.from_dict(run.record["recipe"]))
    dataset = session.dataset(photos).with_split(session.recipe.test_share, session.recipe.seed)
    assert list(run.features.names) == [sample.name for sample in dataset.samples]
    stage = run.classifier.backbone.stages[-1]
    probe = None  # what a fine-tuned network has no use for
    return TrustInput(dataset=dataset, features=run.features, stage=stage, probe=probe), session  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_fine_tuned_network_is_judged_by_images_it_was_not_trained_on(trusted: hs.Run, photos: Path) -> None:
    given, session = given_of(trusted, photos)
    train = given.dataset.indices("train")
    tuned = replace(given, head=trusted.classifier.head, trained=train[:-20], held_out=train[-20:])

    trust = fit_trust(tuned, session.recipe.with_options({"false_rejects": 0.5}))

    assert trust.familiarity is not None
    assert len(trust.familiarity.rows) == len(train) - 20
    held = familiar_images(given, train[-20:])
    distances = np.sort(trust.familiarity.measure(held.values()).distances)
    assert trust.familiarity.threshold == pytest.approx(distances[int(np.ceil(21 * 0.5)) - 1])
    assert trust.conformal is not None
    assert trust.conformal.images == 20
    alone = fit_trust(replace(tuned, held_out=train[:0]), session.recipe)
    assert alone.conformal is None
    assert "19 independent held-out images, and the fine-tuned network was trained on all" in alone.no_sets
    folds = fit_trust(replace(tuned, held_out=train[:0], from_folds=trust.conformal), session.recipe)
    assert (folds.conformal, folds.no_sets) == (trust.conformal, "")
    assert alone.familiarity is not None
    assert alone.familiarity.percentile(0.1) is None


@pytest.mark.slow
def test_without_a_bank_no_training_image_travels(trusted: hs.Run, photos: Path) -> None:
    given, session = given_of(trusted, photos)
    tuned = replace(given, head=trusted.classifier.head, held_out=given.dataset.indices("train"))

    trust = fit_trust(tuned, session.recipe.with_options({"bank": False}))

    assert trust.familiarity is not None
    assert trust.familiarity.kind == "residual"
    assert trust.familiarity.names == ()
