"""int8: the quantised network is the classifier's, the same on every kernel, and nothing else comes in by its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engines.engine_checks import made, noise
from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.engines.choose import choose_engine
from headstart.engines.int8 import (
    CalibrationImages,
    attach,
    check_model,
    integer_weights,
    quantize,
    similarity_of,
)
from headstart.engines.onnxruntime_engine import SessionForward, exported
from headstart.errors import BackboneError

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Backbone, Backbone, Path]:
    """CIFAR's ResNet-20 with drawn weights, the same in int8, and the cache where that lies."""
    cache, backbone = tmp_path_factory.mktemp("int8"), made("cifar_resnet20")
    return backbone, quantize(backbone, images(backbone), cache_folder=cache), cache


def images(backbone: Backbone, read: bool = True) -> CalibrationImages:
    """32 images of noise; False: reading them is a mistake."""

    def never() -> torch.Tensor:
        raise AssertionError("the network was in the cache")

    return CalibrationImages(("0f" * 32, "1f" * 32), (lambda: noise(backbone, 32)) if read else never)


def model_of(backbone: Backbone) -> bytes:
    """The quantised network."""
    assert backbone.low_precision is not None
    return backbone.low_precision.model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar_resnet20", "mobilenet_v2_035"])
def test_ranges_and_weights_are_those_of_the_quantiser_that_looks_at_everything(name: str, tmp_path: Path) -> None:
    """`quantize_static` runs the network without optimisation and keeps the range of every tensor."""
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    backbone = made(name)
    pixels = noise(backbone, 6)
    found = model_of(quantize(backbone, CalibrationImages(("2f" * 32,), lambda: pixels), cache_folder=tmp_path))
    graph = onnx.load_from_string(exported(backbone, tmp_path))
    batches = iter([{graph.graph.input[0].name: pixels.numpy()}])

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[type-arg]
            return next(batches, None)

    (features,) = [node.name for node in graph.graph.node if node.output[0] == graph.graph.output[0].name]
    onnx.save(graph, tmp_path / "float32.onnx")
    quantize_static(
        tmp_path / "float32.onnx",
        tmp_path / "int8.onnx",
        Reader(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[features],
        extra_options={"WeightSymmetric": True},
    )
    numbers, expected = numbers_of(found), numbers_of((tmp_path / "int8.onnx").read_bytes())
    assert numbers.keys() == expected.keys()
    scales = [key for key in expected if key.endswith("_scale")]
    assert len(scales) > 40
    for key in scales:
        np.testing.assert_allclose(numbers[key], expected[key], rtol=1e-4, err_msg=key)
    for key in expected.keys() - {*scales}:  # zero points may round the other way, and biases are in steps of scales
        apart = np.abs(numbers[key].astype(float) - expected[key].astype(float)).max()
        assert apart <= (1 if expected[key].dtype != np.int32 else 1e-4 * np.abs(expected[key]).max() + 1), key


def numbers_of(model: bytes) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Name → stored numbers of an ONNX model."""
    return {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load_from_string(model).graph.initializer}


@pytest.mark.slow
def test_features_are_those_of_float32_up_to_the_rounding(pair: tuple[Backbone, Backbone, Path]) -> None:
    plain, int8, _ = pair
    pixels = noise(plain, 16)
    found, expected = int8.features(pixels), plain.features(pixels)
    cosines = [float(F.cosine_similarity(found[:, s], expected[:, s]).mean()) for s in plain.slices.values()]
    assert min(cosines) > 0.97
    assert similarity_of(model_of(int8)) == pytest.approx(min(cosines), abs=0.02)
    assert not torch.equal(found, expected)


@pytest.mark.slow
def test_the_stages_of_small_features_keep_their_digits(pair: tuple[Backbone, Backbone, Path]) -> None:
    """The means over positions are not rounded to one scale for all stages: more values than 8 bits could tell."""
    features = pair[1].features(noise(pair[1], 64))
    assert all(len(features[:, part].unique()) > 2 * 256 for part in pair[1].slices.values())


@pytest.mark.slow
def test_the_weights_are_integers_of_8_bits_symmetric_for_each_channel(pair: tuple[Backbone, Backbone, Path]) -> None:
    model = onnx.load_from_string(model_of(pair[1]))
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = integer_weights(model_of(pair[1]))
    convolutions = [name for name, tensor in pair[0].state().items() if tensor.ndim == 4]
    assert set(found) == set(convolutions)
    for name, integers in found.items():
        assert np.abs(integers.astype(int)).reshape(len(integers), -1).max(1).min() >= 126  # each channel uses them all
        assert not stored[f"{name}_zero_point"].any()
        assert stored[f"{name}_scale"].shape == (len(integers),)


@pytest.mark.slow
def test_its_own_network_has_the_quantised_weights(pair: tuple[Backbone, Backbone, Path]) -> None:
    """What gradients are of: no further from the weights than half a step, and with the batch norms as they were."""
    plain, int8, _ = pair
    assert int8.low_precision is not None
    for name, tensor in plain.state().items():
        other = int8.state()[name]
        if name in int8.low_precision.scales:
            step = int8.low_precision.scales[name].abs().view(-1, 1, 1, 1)
            assert bool(((tensor - other).abs() <= 0.5001 * step).all()), name
        else:
            assert torch.equal(tensor, other), name
    pixels = noise(plain, 8)
    apart = F.cosine_similarity(int8.plain_features(pixels), plain.plain_features(pixels)).min()
    assert 0.999 < float(apart) < 1


@pytest.mark.slow
def test_channels_that_batch_norm_multiplies_by_nothing_stay_finite(tmp_path: Path) -> None:
    backbone = made("cifar_resnet20")
    with torch.no_grad():
        backbone.network.get_parameter("bn1.weight")[:3] = 0
    int8 = quantize(backbone, images(backbone), cache_folder=tmp_path)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in int8.state().values())
    assert bool((int8.state()["conv1.weight"][:3] == 0).all())


@pytest.mark.slow
def test_it_is_made_once_and_again_for_other_images_or_weights(pair: tuple[Backbone, Backbone, Path]) -> None:
    plain, int8, cache = pair
    again = quantize(plain.copy(), images(plain, read=False), cache_folder=cache)
    assert model_of(again) == model_of(int8)
    assert again.fingerprint == int8.fingerprint != plain.fingerprint
    with pytest.raises(AssertionError, match="in the cache"):
        quantize(plain, replace(images(plain, read=False), contents=("2f" * 32,)), cache_folder=cache)


@pytest.mark.slow
def test_any_engine_but_its_own_is_refused(pair: tuple[Backbone, Backbone, Path]) -> None:
    _, int8, cache = pair
    engine = choose_engine(int8, cache_folder=cache)
    assert (engine.name, "int8" in engine.reason) == ("onnxruntime", True)
    assert torch.equal(engine.forward(noise(int8, 3)), int8.features(noise(int8, 3)))
    for name, device in (("folded", "cpu"), ("eager", "cpu"), ("auto", "cuda")):
        with pytest.raises(BackboneError, match="engine of int8"):
            choose_engine(int8, name=name, device=device, cache_folder=cache)


@pytest.mark.slow
def test_another_size_and_other_weights_are_not_the_quantised_network(pair: tuple[Backbone, Backbone, Path]) -> None:
    int8 = pair[1].copy()
    with pytest.raises(BackboneError, match="64 px"):
        int8.set_image_size(64)
    int8.load_state(pair[0].state())
    assert int8.low_precision is None
    assert torch.equal(int8.features(noise(int8, 2)), pair[0].features(noise(int8, 2)))


def unsigned_weights(model: bytes) -> bytes:
    """The same integers as unsigned bytes around 128, as onnxruntime takes them on a processor without VNNI."""
    graph = onnx.load_from_string(model)
    names = {f"{name}{end}" for name in integer_weights(model) for end in ("_quantized", "_zero_point")}
    for tensor in graph.graph.initializer:
        if tensor.name in names:
            shifted = (onnx.numpy_helper.to_array(tensor).astype(np.int16) + 128).astype(np.uint8)
            tensor.CopyFrom(onnx.numpy_helper.from_array(shifted, tensor.name))
    changed: bytes = graph.SerializeToString()
    return changed


def emulated(model: bytes, pixels: torch.Tensor) -> torch.Tensor:
    """The network as its file says it, without integer kernels: rounded to 8 bits, multiplied in float32."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: pixels.numpy()})[0])


@pytest.mark.slow
def test_kernels_without_vnni_give_the_same_features(
    pair: tuple[Backbone, Backbone, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, model = noise(pair[1], 16), model_of(pair[1])
    found = SessionForward(model)(pixels)
    monkeypatch.setattr(runtime, "has_vnni", lambda: False)  # with the setting for processors without it
    assert torch.equal(SessionForward(model)(pixels), found)
    assert torch.equal(SessionForward(unsigned_weights(model))(pixels), found)
    assert float(F.cosine_similarity(emulated(model, pixels), found).min()) > 0.9999


@pytest.mark.slow
def test_the_number_of_threads_and_the_batch_change_nothing(pair: tuple[Backbone, Backbone, Path]) -> None:
    pixels, forward, threads = noise(pair[1], 5), SessionForward(model_of(pair[1])), torch.get_num_threads()
    found = forward(pixels)
    try:
        torch.set_num_threads(threads + 1)
        assert torch.equal(forward(pixels), found)
    finally:
        torch.set_num_threads(threads)
    one_by_one = torch.cat([forward(one[None]) for one in pixels])
    assert float((one_by_one - found).abs().max()) <= 1e-6 * float(found.abs().max())


def operator(graph: object) -> None:
    graph.graph.node[0].op_type = "Loop"


def domain(graph: object) -> None:
    graph.graph.node[0].domain = "com.someone"


def elsewhere(graph: object) -> None:
    tensor = graph.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def padding(graph: object) -> None:
    convolution = next(node for node in graph.graph.node if node.op_type == "Conv")
    next(one for one in convolution.attribute if one.name == "pads").ints[0] = 10**9


def another_size(graph: object) -> None:
    graph.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 4096


def a_function(graph: object) -> None:
    graph.functions.add().name = "own"


@pytest.mark.slow
@pytest.mark.parametrize("change", [operator, domain, elsewhere, padding, another_size, a_function])
def test_a_file_with_anything_else_in_it_is_refused(
    pair: tuple[Backbone, Backbone, Path], change: Callable[[object], None]
) -> None:
    graph = onnx.load_from_string(model_of(pair[1]))
    check_model(graph.SerializeToString(), pair[0])
    change(graph)
    with pytest.raises(BackboneError, match="int8 network"):
        check_model(graph.SerializeToString(), pair[0])
    with pytest.raises(BackboneError, match="complete ONNX"):
        check_model(b"\xff" * 100, pair[0])


@pytest.mark.slow
def test_scales_that_do_not_fit_are_refused(pair: tuple[Backbone, Backbone, Path]) -> None:
    assert pair[1].low_precision is not None
    model, scales = model_of(pair[1]), dict(pair[1].low_precision.scales)
    wrong = [
        {**scales, "conv1.weight": torch.full_like(scales["conv1.weight"], torch.inf)},
        {**scales, "conv1.weight": scales["conv1.weight"][:-1]},
        {**scales, "no.weight": scales["conv1.weight"]},
    ]
    for some in wrong:
        with pytest.raises(BackboneError, match="int8 network"):
            attach(pair[0].copy(), model, some)


@pytest.mark.slow
def test_a_network_that_is_not_built_gets_the_same_weights(pair: tuple[Backbone, Backbone, Path]) -> None:
    twin = pair[1]
    assert twin.low_precision is not None
    model, scales = model_of(twin), twin.low_precision.scales
    kept = {name: tensor for name, tensor in twin.state().items() if name not in scales}
    stored = Backbone.stored(twin.spec, kept, twin.weights, file=pair[2])
    attach(stored, model, scales)
    pixels = torch.randn(2, 3, stored.preprocess.crop, stored.preprocess.crop)
    assert torch.equal(stored.features(pixels), twin.features(pixels))
    assert stored.unbuilt
    assert all(torch.equal(stored.network.state_dict()[name], tensor) for name, tensor in twin.state().items())
