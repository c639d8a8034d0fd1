"""check of an ONNX file alone: counts, what has no answer, and what is no such file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from headstart.errors import ClassifierError
from headstart.workbench.check_onnx import CheckResult, check_onnx

pytest.importorskip("onnxruntime")


@pytest.mark.slow
def test_images_are_counted_and_those_without_an_answer_are_named(exported: Path, photos: Path) -> None:
    result = check_onnx(exported / "classifier.onnx", photos / "disc", reason="Not compared.", on_event=None)

    assert result.passed
    assert result.counts == {"disc": 16}
    assert result.parity is None
    assert str(result).endswith("is whole: 16 disc.\nNot compared.")


def test_names_from_outside_stay_on_their_line() -> None:
    result = CheckResult(Path("c.onnx"), {"a\nb": 2}, {"c\rd.png": "cut"}, None, None, "Not compared.")

    assert "is whole: it has answered no image." in str(replace(result, counts={}))
    assert str(result).splitlines() == ["c.onnx is whole: 2 a\\nb.", "c\\rd.png has no answer: cut", "Not compared."]


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ClassifierError, match="not an ONNX file of headstart"):
        check_onnx(tmp_path / "x.onnx", tmp_path / "a.png", on_event=None)
