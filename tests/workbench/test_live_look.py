"""What a live head gets wrong: the matrix counts every image, planted wrong labels come first, the map is PCA."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix

from drawn_photos import CLASSES, draw_folder
from headstart.data.image_set import scan
from headstart.errors import DataError
from headstart.workbench.live_head import LiveHead, LiveResult
from headstart.workbench.live_look import confusion, learning_curve, mistakes, positions, suspects
from headstart.workbench.session import Session


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> LiveResult:
    """16 drawings of each class, two of which are called something else."""
    folder = draw_folder(tmp_path_factory.mktemp("look") / "set")
    for kind, other in (("stripes", "disc"), ("disc", "stripes")):
        first = min((folder / kind).iterdir())
        shutil.move(first, folder / other / f"planted-{kind}.png")
    live = LiveHead(Session(None, {"backbone": "embedded", "offline": True}))
    return live.solve(scan(folder).samples, CLASSES)


@pytest.mark.slow
def test_the_matrix_counts_every_image_and_mistakes_are_what_lies_beside_its_diagonal(result: LiveResult) -> None:
    counts = confusion(result)

    assert counts.tolist() == confusion_matrix(result.labels, result.predicted).tolist()
    wrong = mistakes(result)
    assert len(wrong) == counts.sum() - counts.trace()
    confidence = [float(result.held_out[i].max()) for i in wrong]
    assert confidence == sorted(confidence, reverse=True)


def test_planted_labels_are_the_first_suspects_with_images_like_them(result: LiveResult) -> None:
    found = suspects(result)

    names = [result.samples[one.image].name for one in found]
    assert {name.rpartition("/")[2] for name in names[:2]} == {"planted-stripes.png", "planted-disc.png"}
    for one, name in zip(found[:2], names[:2], strict=True):
        assert result.classes[one.suggested] in name
        assert {int(result.labels[i]) for i in one.like_label} == {int(result.labels[one.image])}
        assert {int(result.labels[i]) for i in one.like_suggested} == {one.suggested}
        assert one.image not in one.like_label
    assert [one.margin for one in found] == sorted((one.margin for one in found), reverse=True)
    assert len(suspects(result, 1)) == 1


def test_the_map_is_that_of_scikit_learn(result: LiveResult) -> None:
    expected = PCA(2, svd_solver="full").fit_transform(result.view().array())

    found = positions(result)

    for axis in range(2):
        assert abs(np.corrcoef(found[:, axis], expected[:, axis])[0, 1]) == pytest.approx(1, abs=1e-6)
        assert found[:, axis].std() == pytest.approx(expected[:, axis].std(), rel=1e-6)
        assert found[np.abs(found[:, axis]).argmax(), axis] > 0


@pytest.mark.slow
def test_the_learning_curve_ends_at_the_live_error(result: LiveResult) -> None:
    calls = list[tuple[int, int]]()
    curve = learning_curve(result, progress=lambda done, total: calls.append((done, total)))

    assert curve.points[-1].images == len(result.samples)
    assert curve.points[-1].error == pytest.approx(1 - (result.predicted == result.labels).mean())
    assert calls[-1][0] == len(calls)


@pytest.mark.slow
def test_without_a_head_there_is_nothing_to_look_at() -> None:
    live = LiveHead(Session(None, {"backbone": "embedded", "offline": True}))
    nothing = live.solve([], ())
    for ask in (confusion, mistakes, suspects, positions, learning_curve):
        with pytest.raises(DataError, match="at least two classes"):
            ask(nothing)
