"""The live head: its accuracy is leave-one-group-out, equal to refits, and its classifier answers like any other."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import headstart as hs
from drawn_photos import draw_folder
from headstart.data.image_set import Sample, scan
from headstart.workbench.live_head import LiveHead, LiveResult
from headstart.workbench.session import Session

CLASSES = ("disc", "square", "stripes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("live") / "set", per_class=6)


@pytest.fixture
def live() -> LiveHead:
    return LiveHead(Session(None, {"backbone": "embedded", "offline": True}))


def samples_of(folder: Path) -> tuple[Sample, ...]:
    return scan(folder).samples


@pytest.mark.slow
def test_each_image_is_scored_by_a_head_that_has_not_seen_its_group(live: LiveHead, folder: Path) -> None:
    samples = samples_of(folder)
    joined = [[samples[0].name, samples[1].name, samples[7].name]]

    result = live.solve(samples, CLASSES, joined=joined)

    assert result.probe is not None
    assert result.group_count == len(samples) - 2
    x, lambda_ = result.view().array(), result.probe.path.lambda_
    targets = np.where(result.labels[:, None] == np.arange(3), 1.0, -1.0)
    rounding = max(1e-8, 100 * np.finfo(np.float64).eps / lambda_)  # 18 rows, 1,408 columns, a lambda of 1e-6 and below
    for group in np.unique(result.groups):
        held = result.groups == group
        refit = Ridge(alpha=lambda_).fit(x[~held], targets[~held])
        np.testing.assert_allclose(result.probe.path.held_scores[held], refit.predict(x[held]), atol=rounding)
    correct = result.predicted == result.labels
    assert result.accuracy is not None
    assert result.accuracy.value == pytest.approx(correct.mean())
    assert result.accuracy.low < correct.mean() < result.accuracy.high or correct.all()
    assert result.majority == pytest.approx(1 / 3)
    recalls = [score.recall.value for score in result.class_scores() if score.recall]
    assert recalls == pytest.approx([correct[result.labels == c].mean() for c in range(3)])


@pytest.mark.slow
def test_neighbours_of_ones_own_group_do_not_vote(live: LiveHead, tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "set")
    ordinary = live.solve(samples_of(tmp_path / "set"), CLASSES)
    for image in sorted((tmp_path / "set" / "disc").glob("*.png")):  # of each disc a copy that is called a square
        shutil.copy(image, tmp_path / "set" / "square" / f"copy-{image.name}")
    copied = live.solve(samples_of(tmp_path / "set"), CLASSES)

    # the copies say nothing about their originals: equal pixels are one group
    assert copied.group_count == ordinary.group_count
    assert copied.neighbour_accuracy is not None
    assert len(copied.neighbours) == len(copied.samples) == 24


@pytest.mark.slow
def test_only_new_images_are_computed(live: LiveHead, folder: Path) -> None:
    samples = samples_of(folder)
    assert live.solve(samples[:-4], CLASSES).computed == len(samples) - 4
    assert live.solve(samples, CLASSES).computed == 4
    assert live.solve(samples, CLASSES).computed == 0


@pytest.mark.slow
def test_images_that_were_decoded_when_they_came_are_not_decoded_again(
    live: LiveHead, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = samples_of(folder)
    live.absorb()  # the backbone is there when images come
    for sample in samples:
        assert live.open(sample.path.read_bytes()).format == "PNG"
    for module in ("image_index", "batches"):
        monkeypatch.setattr(f"headstart.data.{module}.open_image", lambda *_: pytest.fail("decoded again"))
    live.absorb_all()

    result = live.solve(samples, CLASSES)

    assert (len(result.samples), result.computed, live.absorb()) == (18, 0, 0)


@pytest.mark.slow
def test_the_classifier_answers_as_the_head_does(live: LiveHead, folder: Path, tmp_path: Path) -> None:
    samples = samples_of(folder)
    result = live.solve(samples, CLASSES)
    classifier = live.classifier(result)
    classifier.save(tmp_path / "live.safetensors")

    (answer,) = hs.predict(tmp_path / "live.safetensors", samples[0].path, on_event=None)
    assert result.probe is not None
    expected = result.probe.head.probabilities(result.view().array()[:1])[0]
    assert [answer.probabilities[name] for name in CLASSES] == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.slow
def test_it_doubts_as_a_trained_classifier_does(live: LiveHead, folder: Path) -> None:
    result = live.solve(samples_of(folder), CLASSES)  # 18 images: one too few for sets at 95 %
    few = live.classifier(result)
    assert few.conformal is None
    assert few.familiarity is not None
    assert few.familiarity.threshold is None
    assert few.familiarity.reason

    drawn = np.repeat(result.features.matrix, 20, axis=0)
    drawn += np.random.default_rng(0).normal(0, 0.1 * drawn.std(), drawn.shape).astype(np.float32)
    more = replace(
        result,
        held_out=np.repeat(result.held_out, 20, axis=0),
        labels=np.repeat(result.labels, 20),
        groups=np.arange(20 * len(result.labels)),
        samples=result.samples * 20,
        features=replace(
            result.features,
            matrix=drawn,
            names=result.features.names * 20,
            contents=result.features.contents * 20,
        ),
    )
    sure = live.classifier(more)
    assert sure.conformal is not None
    sets = sure.conformal.sets(more.held_out).contains
    covered = sets[np.arange(len(more.labels)), more.labels].mean()
    assert covered >= 0.95
    assert sure.familiarity is not None
    assert sure.familiarity.threshold is not None


@pytest.mark.slow
def test_too_little_is_said_and_is_no_error(live: LiveHead, folder: Path) -> None:
    samples = samples_of(folder)
    one = [sample for sample in samples if sample.label == "disc"]

    def missing(result: LiveResult) -> str:
        assert result.probe is None
        assert result.accuracy is None
        return result.missing

    assert missing(live.solve([], ())) == "Make at least two classes."
    assert missing(live.solve(one, ("disc",))) == "Make at least two classes."
    assert missing(live.solve(one, ("disc", "square"))) == "Add images to square."
    assert missing(live.solve(one, ("disc", "square", "stripes"))) == "Add images to square, stripes."
    pair = [one[0], next(sample for sample in samples if sample.label == "square")]
    assert "cannot be held out" in missing(live.solve(pair, ("disc", "square")))
    least = live.solve([*one[:2], pair[1]], ("disc", "square"))
    assert least.probe is not None
    assert live.classifier(least).conformal is None


@pytest.mark.slow
def test_a_class_without_images_is_named_and_the_others_are_learned_as_if_it_were_not_there(
    live: LiveHead, folder: Path
) -> None:
    samples = samples_of(folder)
    alone = live.solve(samples, CLASSES)

    beside = live.solve(samples, ("a new one", "disc", "only broken files", "square", "stripes"))

    assert beside.empty == ("a new one", "only broken files")
    assert (alone.empty, beside.classes, beside.missing) == ((), CLASSES, "")
    assert beside.accuracy == alone.accuracy
    np.testing.assert_array_equal(beside.held_out, alone.held_out)
    assert [score.name for score in beside.class_scores()] == list(CLASSES)
    (answer,) = live.classifier(beside).predict([samples[0].path])
    assert list(answer.probabilities) == list(CLASSES)


@pytest.mark.slow
def test_an_image_that_cannot_be_read_is_named(live: LiveHead, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "set")
    (tmp_path / "set" / "disc" / "broken.png").write_bytes(b"text")

    result = live.solve(samples_of(tmp_path / "set"), CLASSES)

    assert list(result.unreadable) == ["disc/broken.png"]
    assert len(result.samples) == 18


@pytest.mark.slow
def test_the_engine_is_made_once_ahead_and_again_only_for_far_more_images(
    live: LiveHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, bool]] = []
    original = live.session.engine
    monkeypatch.setattr(
        type(live.session),
        "engine",
        lambda _, backbone, waiting, may_export: made.append((waiting, may_export)) or original(backbone, waiting),
    )

    assert live.absorb() == 0
    for waiting in (1, 200, 480, 481, 4000):
        live._engine_for(waiting)

    assert made == [(48, False), (481, True)]
