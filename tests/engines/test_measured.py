"""What was measured on this machine decides for later runs, and only for the same network, processor and versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from engines.engine_checks import made, noise
from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.engines import choose
from headstart.engines.choose import choose_engine, measured_forward
from headstart.engines.forward import folded_forward
from headstart.engines.measured import all_measurements, keep_measurement, read_measurement
from headstart.engines.onnxruntime_engine import onnx_forward

SECONDS = {"eager": 0.02, "folded": 0.01}


def test_it_is_for_these_weights_threads_and_processor_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, threads = made("cifar_resnet20"), torch.get_num_threads()
    assert read_measurement(backbone, tmp_path) is None
    keep_measurement(backbone, SECONDS, tmp_path)
    found = read_measurement(made("cifar_resnet20"), tmp_path)  # the same weights, another object
    assert found is not None
    assert (found.seconds, found.fastest, found.threads) == (SECONDS, "folded", threads)
    assert [one.backbone for one in all_measurements(tmp_path)] == ["cifar_resnet20"]
    try:
        torch.set_num_threads(threads + 1)
        assert read_measurement(backbone, tmp_path) is None
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(runtime, "cpu_flags", lambda: frozenset({"another"}))
    assert read_measurement(backbone, tmp_path) is None
    monkeypatch.undo()
    with torch.no_grad():
        next(backbone.network.parameters()).flatten()[0] += 1e-6
    assert read_measurement(backbone, tmp_path) is None


@pytest.mark.parametrize(
    "seconds", [{}, {"eager": "0.1"}, {"eager": 0.0}, {"eager": -1.0}, ["eager"], {"eager": 1e400}]
)
def test_a_damaged_one_is_as_if_there_were_none(tmp_path: Path, seconds: object) -> None:
    backbone = made("cifar_resnet20")
    keep_measurement(backbone, SECONDS, tmp_path)
    (file,) = (tmp_path / "engines").iterdir()
    file.write_text(json.dumps({**json.loads(file.read_text()), "seconds": seconds}), "utf-8")
    assert read_measurement(backbone, tmp_path) is None
    file.write_bytes(file.read_bytes()[:-9])
    assert read_measurement(backbone, tmp_path) is None
    assert list(all_measurements(tmp_path)) == []


def test_a_folder_that_cannot_be_written_costs_the_measurement_only(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("in the way")
    keep_measurement(made("cifar_resnet20"), SECONDS, tmp_path)
    assert read_measurement(made("cifar_resnet20"), tmp_path) is None


@pytest.mark.slow
def test_auto_takes_what_was_fastest_before_and_measures_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = made("cifar_resnet20")
    keep_measurement(backbone, SECONDS, tmp_path)
    monkeypatch.setattr(choose.EngineSearch, "best", None)
    engine = choose_engine(backbone, waiting=100, cache_folder=tmp_path)
    assert (engine.name, engine.seconds_per_image) == ("folded", 0.01)
    assert "2.0 times as fast as eager, as measured on this machine before" in engine.reason
    keep_measurement(backbone, {"eager": 0.01, "folded": 0.02}, tmp_path)
    plain = choose_engine(backbone, waiting=100, cache_folder=tmp_path)
    assert (plain.name, plain.reason) == (
        "eager",
        "the network itself, the fastest, as measured on this machine before",
    )


@pytest.mark.slow
@pytest.mark.parametrize(("missing", "kept"), [((), False), (("onnxruntime",), True)])
def test_a_measurement_without_onnxruntime_decides_only_where_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], kept: bool
) -> None:
    backbone = made("cifar_resnet20")
    monkeypatch.setattr(choose, "_EXPORT", 1e9)  # never worth it
    monkeypatch.setattr(choose, "missing_packages", lambda: missing)
    assert "measured on 8 images" in choose_engine(backbone, waiting=10**5, cache_folder=tmp_path).reason
    found = read_measurement(backbone, tmp_path)
    assert (found is not None) == kept
    assert found is None or set(found.seconds) == {"eager", "folded"}


@pytest.mark.slow
def test_one_prediction_runs_what_was_fastest_and_exports_nothing(tmp_path: Path) -> None:
    backbone = made("cifar_resnet20")
    assert measured_forward(backbone, tmp_path) is None
    keep_measurement(backbone, {"eager": 0.02, "onnxruntime": 0.01}, tmp_path)
    assert measured_forward(backbone, tmp_path) is None  # its export is not there
    keep_measurement(backbone, {"eager": 0.01, "folded": 0.02}, tmp_path)
    assert measured_forward(backbone, tmp_path) is None
    keep_measurement(backbone, SECONDS, tmp_path)
    forward, pixels = measured_forward(backbone, tmp_path), noise(backbone, 1)
    assert forward is not None
    assert torch.equal(forward(pixels), folded_forward(backbone)(pixels))
    try:  # with another number of threads it is still the fastest that is known
        torch.set_num_threads(torch.get_num_threads() % runtime.cores() + 1)
        assert measured_forward(backbone, tmp_path) is not None
    finally:
        torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "exported"), [(0.0109, True), (0.0111, False)])
def test_an_export_that_is_hardly_slower_answers_as_it_needs_no_network(
    tmp_path: Path, seconds: float, exported: bool
) -> None:
    other = made("cifar_resnet20")
    expected = onnx_forward(other, tmp_path)(noise(other, 1))
    backbone = Backbone.stored(other.spec, other.state(), other.weights, file=tmp_path)
    keep_measurement(backbone, {"eager": 0.02, "folded": 0.01, "onnxruntime": seconds}, tmp_path)
    forward = measured_forward(backbone, tmp_path)
    assert forward is not None
    assert torch.allclose(forward(noise(other, 1)), expected, atol=1e-5)
    assert bool(backbone.unbuilt) == exported
