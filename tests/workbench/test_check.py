"""check: an exported file beside its classifier, beside another one, and alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import ClassifierError


@pytest.mark.slow
def test_a_file_is_compared_with_the_run_that_is_named(run: hs.Run, exported: Path, photos: Path) -> None:
    result = hs.check(exported / "classifier.onnx", photos / "disc", against=run, on_event=None)

    assert result.passed
    assert result.same_classifier is True
    assert result.counts == {"disc": 16}
    assert len(result.parity.rows) == 16 + 13


@pytest.mark.slow
def test_the_classifier_beside_the_file_is_found(run: hs.Run, exported: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "export")
    one = sorted((photos / "disc").iterdir())[0]

    alone = hs.check(tmp_path / "export" / "classifier.onnx", one, on_event=None)
    shutil.copy(run.folder / "classifier.safetensors", tmp_path)
    beside = hs.check(tmp_path / "export" / "classifier.onnx", one, on_event=None)

    assert alone.parity is None
    assert alone.passed
    assert "--against" in str(alone)
    assert beside.same_classifier is True


@pytest.mark.slow
def test_a_classifier_that_answers_otherwise_does_not_pass(
    run: hs.Run, fine_tuned: hs.Run, exported: Path, photos: Path
) -> None:
    result = hs.check(exported / "classifier.onnx", photos / "disc", against=fine_tuned, on_event=None)

    assert result.same_classifier is False
    assert not result.passed
    assert "another classifier" in str(result)


@pytest.mark.slow
def test_an_image_without_an_answer_is_named(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")

    result = hs.check(exported / "classifier.onnx", tmp_path / "bad.png", on_event=None)

    assert not result.passed
    assert list(result.left_out) == [str(tmp_path / "bad.png")]


@pytest.mark.slow
def test_another_set_of_classes_is_refused(
    exported: Path, photos: Path, small_classifier: object, tmp_path: Path
) -> None:
    with pytest.raises(ClassifierError, match="ants, bees, wasps"):
        hs.check(exported / "classifier.onnx", photos / "disc", against=small_classifier(True), on_event=None)  # type: ignore[operator]
