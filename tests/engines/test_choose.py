"""Engines: equal features whatever runs them, refusals in words, an export made once and never trusted blindly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor

from backbones.networks import randomise_batch_norms
from headstart.backbones.backbone import Backbone, build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.engines import choose as engine_module
from headstart.engines import onnxruntime_engine as onnx_engine
from headstart.engines import packed
from headstart.engines.benchmark import TOLERANCE, EngineBenchmark
from headstart.engines.choose import NAMES, choose_engine
from headstart.engines.fold import fold
from headstart.engines.forward import Forward, device_forward, folded_forward
from headstart.errors import BackboneError
from headstart.recipe import Recipe

_SMALL = ("cifar_resnet20", "random", "mobilenet_v2_035")
_LARGE = tuple(name for name in SPECS if name not in _SMALL)
_CHEAP = ("cifar_resnet20",)  # exported, compiled


def made(name: str) -> Backbone:
    backbone = build_backbone(SPECS[name])
    randomise_batch_norms(backbone.network)
    return backbone


def noise(backbone: Backbone, images: int) -> Tensor:
    side = backbone.preprocess.crop
    return torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(1))


def furthest(backbone: Backbone, found: Tensor, pixels: Tensor) -> float:
    """Largest difference from the network itself, as a share of the largest feature of the stage."""
    with torch.no_grad():
        expected = backbone.features(pixels)
    parts = backbone.slices.values()
    return max(float((expected[:, p] - found[:, p]).abs().max() / expected[:, p].abs().max()) for p in parts)


@pytest.mark.parametrize("name", [*_SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in _LARGE)])
def test_the_folded_engine_gives_every_rows_features(name: str, tmp_path: Path) -> None:
    backbone = made(name)
    engine = choose_engine(backbone, name="folded", cache_folder=tmp_path)
    assert engine.name == "folded"
    pixels = noise(backbone, 3)
    assert furthest(backbone, engine.forward(pixels), pixels) <= TOLERANCE


@pytest.mark.parametrize("images", [1, 2, 7, 33])
def test_a_batch_of_any_size_gives_the_same_rows(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = made("cifar_resnet20")
    monkeypatch.setattr("headstart.engines.forward._PART_BYTES", 4 * 16 * 32 * 32 * 4)  # four images a part
    pixels = noise(backbone, images)
    found = folded_forward(backbone)(pixels)
    assert found.shape == (images, sum(backbone.widths))
    assert furthest(backbone, found, pixels) <= TOLERANCE


def test_no_images_give_no_rows_of_the_right_width() -> None:
    backbone = made("cifar_resnet20")
    assert folded_forward(backbone)(torch.empty(0, 3, 32, 32)).shape == (0, sum(backbone.widths))


def test_without_onednn_the_folded_engine_gives_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.engines.forward.can_pack", lambda: False)
    backbone = made("random")
    pixels = noise(backbone, 2)
    assert furthest(backbone, folded_forward(backbone)(pixels), pixels) <= TOLERANCE


@pytest.mark.skipif(not packed.can_pack(), reason="torch was built without oneDNN here")
@pytest.mark.parametrize("name", ["cifar_resnet20", "mobilenet_v2_035", "resnet18"])
def test_every_convolution_activation_and_sum_with_a_shortcut_is_packed(name: str) -> None:
    body = packed_body(name)
    left = [type(module).__name__ for module in body.modules()]
    assert not {"Conv2d", "ReLU", "ReLU6"} & set(left)
    assert "PackedConv" in left
    assert not [node for node in body.graph.nodes if "add" in node.name and node.op == "call_function"]


def packed_body(name: str) -> torch.fx.GraphModule:
    backbone = build_backbone(SPECS[name])
    body = fold(backbone.feature_extractor())
    packed.measure_shapes(body, backbone.preprocess.crop)
    packed.pack(body, 2)
    return body


@pytest.mark.slow
@pytest.mark.parametrize("name", _CHEAP)
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
    assert [path.suffix for path in (tmp_path / "onnx").iterdir()] == [".onnx"]  # nothing half-written


def test_a_damaged_or_shortened_export_is_taken_for_none(tmp_path: Path) -> None:
    file = tmp_path / "onnx" / "some.onnx"
    assert onnx_engine.read_export(file) is None
    onnx_engine.write_export(file, b"a model")
    assert onnx_engine.read_export(file) == b"a model"
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:20], b"", whole[:-1] + b"!", b"!" + whole[1:]):
        file.write_bytes(damaged)
        assert onnx_engine.read_export(file) is None


def test_other_weights_have_an_export_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    one, other = made("cifar_resnet20"), made("cifar_resnet20")
    assert onnx_engine.export_path(one, tmp_path) == onnx_engine.export_path(other, tmp_path)
    with torch.no_grad():
        next(other.network.parameters()).flatten()[0] += 1e-6
    assert onnx_engine.export_path(one, tmp_path) != onnx_engine.export_path(other, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_compiled_engine_gives_the_same_features(tmp_path: Path) -> None:
    backbone = made("cifar_resnet20")
    try:
        engine = choose_engine(backbone, name="compiled", cache_folder=tmp_path)
    except BackboneError as error:
        pytest.skip(f"torch.compile does not work here: {error.found}")
    pixels = noise(backbone, 3)
    assert furthest(backbone, engine.forward(pixels), pixels) <= TOLERANCE


def test_a_missing_package_is_an_error_for_the_name_and_none_for_auto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (onnx_engine, engine_module):
        monkeypatch.setattr(module, "missing_packages", lambda: ("onnxscript",))
    backbone = made("cifar_resnet20")
    with pytest.raises(BackboneError) as caught:
        choose_engine(backbone, name="onnxruntime", cache_folder=tmp_path)
    assert "onnxscript" in caught.value.found
    assert "pip install" in caught.value.hint
    assert choose_engine(backbone, waiting=10**7, cache_folder=tmp_path).name in ("eager", "folded")


def test_an_engine_whose_features_differ_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = made("cifar_resnet20")

    def crooked(given: Backbone) -> Forward:
        right = folded_forward(given)
        return lambda pixels: right(pixels) * (1 + 10 * TOLERANCE)

    monkeypatch.setattr(engine_module, "folded_forward", crooked)
    monkeypatch.setattr(engine_module, "missing_packages", lambda: ("onnx",))
    for name, waiting in (("folded", 0), ("auto", 100), ("auto", 10**5)):
        engine = choose_engine(backbone, name=name, waiting=waiting, cache_folder=tmp_path)
        assert engine.name != "folded"
        assert "folded was refused, for its features are 2e-04 off" in engine.reason


@pytest.mark.parametrize("spoil", [lambda rows: rows[:1], lambda rows: rows * float("nan"), lambda rows: rows[:, :-1]])
def test_rows_of_another_shape_or_no_numbers_are_infinitely_far(spoil: Forward) -> None:
    backbone = made("cifar_resnet20")
    probe = EngineBenchmark(backbone, backbone.features)
    assert probe.difference(backbone.features) == 0
    assert probe.difference(lambda pixels: spoil(backbone.features(pixels))) == float("inf")


def test_a_small_stage_is_not_hidden_by_a_large_one() -> None:
    backbone = made("cifar_resnet20")
    part = min(
        backbone.slices.values(), key=lambda some: float(backbone.features(noise(backbone, 2))[:, some].abs().max())
    )

    def off(pixels: Tensor) -> Tensor:
        rows = backbone.features(pixels).clone()
        rows[:, part] *= 1 + 1e-4
        return rows

    assert EngineBenchmark(backbone, backbone.features).difference(off) == pytest.approx(1e-4, rel=0.1)


def test_auto_takes_the_network_as_it_is_when_hardly_an_image_waits(tmp_path: Path) -> None:
    backbone = made("cifar_resnet20")
    assert choose_engine(backbone, waiting=0, cache_folder=tmp_path).reason.endswith("no image waits")
    few = choose_engine(backbone, waiting=3, cache_folder=tmp_path)
    assert (few.name, few.seconds_per_image) == ("eager", None)
    assert "only 3 images wait" in few.reason


def test_auto_measures_when_many_images_wait_and_goes_by_the_table_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "missing_packages", lambda: ("onnx",))
    backbone = made("resnet18")
    some = choose_engine(backbone, waiting=100, cache_folder=tmp_path)
    assert some.name == "folded"
    assert "when it was measured for this network" in some.reason
    assert some.seconds_per_image is not None
    assert some.seconds_per_image > 0
    many = choose_engine(made("cifar_resnet20"), waiting=10**6, cache_folder=tmp_path)
    assert "measured on 8 images" in many.reason


def test_an_export_is_worth_its_seconds_only_when_many_images_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "missing_packages", tuple)
    tried: list[str] = []

    def no_export(backbone: Backbone, folder: Path) -> Forward:
        tried.append(backbone.spec.name)
        raise BackboneError(expected="an export", found="a test that allows none")

    monkeypatch.setattr(engine_module, "onnx_forward", no_export)
    backbone = made("cifar_resnet20")
    choose_engine(backbone, waiting=200, cache_folder=tmp_path)
    assert not tried
    engine = choose_engine(backbone, waiting=10**8, cache_folder=tmp_path)
    assert tried == ["cifar_resnet20"]
    assert "onnxruntime is not to be had: a test that allows none" in engine.reason


def test_an_unknown_engine_is_an_error_that_names_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(BackboneError) as caught:
        choose_engine(made("cifar_resnet20"), name="onnx-runtime", cache_folder=tmp_path)
    assert "onnxruntime" in caught.value.hint


def test_on_another_device_only_eager_can_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="the CPU"):
        choose_engine(made("cifar_resnet20"), name="folded", device="cuda", cache_folder=tmp_path)


def test_the_copy_for_a_device_gives_the_same_features_and_leaves_torchs_settings_alone() -> None:
    backbone = made("random")
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    pixels = noise(backbone, 2)
    assert furthest(backbone, device_forward(backbone, "cpu")(pixels), pixels) <= TOLERANCE
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_an_engine_may_be_called_by_many_threads_at_once(tmp_path: Path) -> None:
    backbone = made("cifar_resnet20")
    engine = choose_engine(backbone, name="folded", callers=4, cache_folder=tmp_path)
    batches = [noise(backbone, images) for images in range(1, 17)]
    expected = [engine.forward(pixels) for pixels in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(engine.forward, batches))
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_choosing_leaves_torchs_threads_and_gradients_and_random_numbers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "missing_packages", lambda: ("onnx",))
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    backbone = made("cifar_resnet20")
    torch.random.set_rng_state(state)
    fingerprint = backbone.fingerprint
    for callers in (1, 3):
        choose_engine(backbone, waiting=10**6, callers=callers, cache_folder=tmp_path)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert backbone.fingerprint == fingerprint


def test_every_name_of_the_recipe_is_an_engine() -> None:
    (choices,) = (spec.metadata["choices"] for spec in fields(Recipe) if spec.name == "engine")
    assert set(choices) == set(NAMES)
