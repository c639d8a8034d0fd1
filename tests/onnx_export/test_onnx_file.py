"""OnnxFile: what headstart wrote opens, everything else is refused with its reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import ClassifierError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from headstart.onnx_export.classifier_onnx import fingerprint_of  # noqa: E402  # needs onnx
from headstart.onnx_export.onnx_file import read_onnx, sealed  # noqa: E402
from headstart.runtime_onnx import SEAL, checksum  # noqa: E402


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


@pytest.mark.slow
def test_the_checksum_is_that_of_the_file_with_zeros_in_its_place(exported: Path) -> None:
    content = (exported / "classifier.onnx").read_bytes()
    seal = {one.key: one.value for one in onnx.load_from_string(content).metadata_props}[SEAL]
    before, _, after = content.partition(seal.encode())

    assert hashlib.sha256(before + b"0" * 64 + after).hexdigest() == seal == checksum(content, seal)


@pytest.mark.slow
def test_an_altered_file_is_refused_and_sealing_changes_no_model(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported / "classifier.onnx")
    model.producer_name = "somebody else"
    (tmp_path / "classifier.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ClassifierError, match="it is damaged, or was altered since it was written"):
        read_onnx(tmp_path / "classifier.onnx")

    model.metadata_props.remove(next(one for one in model.metadata_props if one.key == SEAL))
    before = model.SerializeToString()
    (tmp_path / "classifier.onnx").write_bytes(sealed(model))
    assert model.SerializeToString() == before
    assert read_onnx(tmp_path / "classifier.onnx").proto.producer_name == "somebody else"
