"""OnnxFile: what headstart wrote opens, everything else is refused with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import ClassifierError

onnx = pytest.importorskip("onnx")

from headstart.onnx_export.classifier_onnx import fingerprint_of  # noqa: E402  # needs onnx
from headstart.onnx_export.onnx_file import read_onnx  # noqa: E402


@pytest.mark.slow
def test_a_file_has_the_card_and_the_fingerprint_of_its_classifier(run: hs.Run, exported: Path) -> None:
    file = read_onnx(exported / "classifier.onnx")

    assert file.card == run.classifier.card
    assert file.fingerprint == fingerprint_of(run.classifier)


@pytest.mark.slow
def test_other_files_are_refused(exported: Path, tmp_path: Path) -> None:
    content = (exported / "classifier.onnx").read_bytes()
    plain = onnx.load_from_string(content)
    del plain.metadata_props[:]
    files = {"cut": content[:-100_000], "none": b"text", "plain": plain.SerializeToString()}
    for name, data in files.items():
        (tmp_path / f"{name}.onnx").write_bytes(data)

    for name in (*files, "missing"):
        with pytest.raises(ClassifierError, match="an ONNX file of headstart"):
            read_onnx(tmp_path / f"{name}.onnx")
