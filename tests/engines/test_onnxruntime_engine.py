"""The engine of onnxruntime: an export made once and never trusted blindly."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from engines.engine_checks import furthest, made, noise
from headstart.engines.benchmark import TOLERANCE
from headstart.engines.choose import choose_engine
from headstart.engines.onnxruntime_engine import export_path, is_exported, missing_packages, read_export, write_export


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar_resnet20"])
def test_onnxruntime_gives_the_same_features_and_exports_once(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    backbone, pixels = made(name), noise(made(name), 5)
    engine = choose_engine(backbone, name="onnxruntime", cache_folder=tmp_path)
    assert engine.name == "onnxruntime"
    assert furthest(backbone, engine.forward(pixels), pixels) <= TOLERANCE
    (file,) = (tmp_path / "onnx").iterdir()
    written = file.stat().st_mtime_ns

    again = choose_engine(made(name), name="onnxruntime", cache_folder=tmp_path)  # the same weights, another object
    assert torch.equal(again.forward(pixels), engine.forward(pixels))
    assert file.stat().st_mtime_ns == written
    assert torch.equal(pickle.loads(pickle.dumps(again.forward))(pixels), engine.forward(pixels))  # to another process
    assert [path.suffix for path in (tmp_path / "onnx").iterdir()] == [".onnx"]  # nothing half-written


def test_a_damaged_or_shortened_export_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "onnx" / "some.onnx"
    assert read_export(file) is None
    write_export(file, b"a model")
    assert read_export(file) == b"a model"
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:20], b"", whole[:-1] + b"!", b"!" + whole[1:]):
        file.write_bytes(damaged)
        assert read_export(file) is None


def test_a_folder_that_cannot_be_written_costs_the_file_only(tmp_path: Path) -> None:
    (tmp_path / "onnx").write_text("in the way")
    write_export(tmp_path / "onnx" / "some.onnx", b"a model")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["onnx"]


def test_other_weights_have_an_export_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    one, other = made("cifar_resnet20"), made("cifar_resnet20")
    assert export_path(one, tmp_path) == export_path(other, tmp_path)
    assert not is_exported(one, tmp_path)
    with torch.no_grad():
        next(other.network.parameters()).flatten()[0] += 1e-6
    assert export_path(one, tmp_path) != export_path(other, tmp_path)


def test_missing_packages_are_named() -> None:
    assert set(missing_packages()) <= {"onnxruntime", "onnx", "onnxscript"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
def test_the_export_of_another_network_and_what_is_no_file_are_not_used(tmp_path: Path) -> None:
    one, other = tmp_path / "onnx" / "one.onnx", tmp_path / "onnx" / "other.onnx"
    write_export(one, b"a model")
    other.write_bytes(one.read_bytes())
    assert read_export(other) is None
    other.unlink()
    other.symlink_to("/dev/zero")  # has no end
    assert read_export(other) is None
    other.unlink()
    os.mkfifo(other)  # waits for a writer
    assert read_export(other) is None
    write_export(other, b"another")  # in the place of the pipe
    assert read_export(other) == b"another"
