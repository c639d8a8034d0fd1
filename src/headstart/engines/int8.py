"""int8: a backbone quantised after training, and the same network again from the bytes in a classifier file.

Weights are symmetric int8 for each output channel, activations unsigned 8-bit with ranges from calibration images
(QDQ, static). The integer products and sums are exact on every processor: where there is no VNNI, onnxruntime is set
to take the kernels that cannot overflow. `docs/decisions/int8.md` says what was measured.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.backbones.backbone import Backbone
from headstart.backbones.low_precision import LowPrecision
from headstart.backbones.weight_files import not_finite
from headstart.engines.fold import fold
from headstart.engines.onnxruntime_engine import (
    SessionForward,
    cache_file,
    exported,
    new_session,
    read_export,
    require_packages,
    write_export,
)
from headstart.errors import BackboneError, first_line, kind_and_line

CALIBRATION_IMAGES = 64  # ranges of activations need few; other numbers were not tried
_COMPARED = 16  # of them, whose features are compared with those of float32: a third of a second in resnet18
_SIMILARITY = "headstart.similarity"  # metadata of the quantised network
_QUANTISED = "_quantized"  # what onnxruntime appends to the name of a weight
_LAYOUT = "2"  # raised when the same weights and images give another quantised network

# what a quantised network of headstart consists of. A file may come from anyone: none of these reads a file, runs a
# loop, or makes a value larger than its inputs and attributes say
_OPERATORS = (
    "Add AveragePool BatchNormalization Cast Clip Concat Conv DequantizeLinear Div Elu Erf Flatten Gather Gelu Gemm "
    "GlobalAveragePool HardSigmoid HardSwish Identity LayerNormalization LeakyRelu MatMul MaxPool Mul PRelu Pad "
    "QuantizeLinear ReduceMean Relu Reshape Sigmoid Slice Softmax Squeeze Sub Tanh Transpose Unsqueeze"
)
_LARGEST = 1 << 16  # of a whole number in an attribute or a small constant, such as a padding; -2^31 and up are ends


@dataclass(frozen=True)
class CalibrationImages:
    """The training images that set the ranges of activations.

    Args:
        contents: their SHA-256 (hex), which name the quantised network in the cache.
        read: decodes them when they are needed: normalised pixels N×3×S×S.
    """

    contents: Sequence[str]
    read: Callable[[], Tensor]


def quantize(backbone: Backbone, images: CalibrationImages, *, cache_folder: Path) -> Backbone:
    """A copy of a backbone that computes its features in int8.

    The quantised network is kept in the cache by weights, images and versions, so that it is made once.

    Raises:
        BackboneError: a package is missing, the network cannot be exported or quantised, or gives no finite numbers.
    """
    require_packages()
    path = cache_file(backbone, cache_folder, {"int8": _LAYOUT, "images": list(images.contents)})
    model = read_export(path)
    if model is None:
        pixels, plain = images.read(), exported(backbone, cache_folder)
        model = _quantised(plain, pixels, backbone)
        model = _with_similarity(model, _similarity(backbone, model, plain, pixels=pixels[:_COMPARED]))
        check_model(model, backbone)  # a classifier that could not be opened again is not made
        write_export(path, model)
    twin = backbone.copy()
    attach(twin, model, _scales(backbone, model))
    return twin


def similarity_of(model: bytes) -> float:
    """Mean cosine of int8 and float32 features of calibration images, in the stage where it is smallest."""
    import onnx

    stated = {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}
    return float(stated.get(_SIMILARITY, "nan"))


def attach(backbone: Backbone, model: bytes, scales: Mapping[str, Tensor]) -> None:
    """Let a backbone compute its features by a quantised network that was made from it, or read and checked.

    Its own network gets the quantised weights as float32 numbers, for gradients and inspection: no file holds the
    weights twice. Batch norm stays as it is.

    Args:
        scales: see `LowPrecision`.

    Raises:
        BackboneError: a weight is missing or of another shape, or a number is not finite.
    """
    integers, weights = integer_weights(model), dict[str, Tensor]()
    for name, scale in scales.items():
        if name not in integers or scale.shape != integers[name].shape[:1]:
            raise _not_ours(f"{name} and its scales", "none, or of another shape", backbone)
        integer = torch.from_numpy(integers[name])
        weights[name] = integer * scale.float().view(-1, *[1] * (integer.ndim - 1))
    if wrong := not_finite(weights):
        raise _not_ours("finite numbers", f"NaN or infinity in {wrong[0]}", backbone)
    if backbone.unbuilt:
        backbone.unbuilt = {**backbone.unbuilt, **weights}
    else:
        own = {name: tuple(tensor.shape) for name, tensor in backbone.state().items()}
        for name, weight in weights.items():
            if own.get(name) != tuple(weight.shape):
                raise _not_ours(f"{name} of shape {own.get(name, '(none)')}", f"{tuple(weight.shape)}", backbone)
        backbone.network.load_state_dict(weights, strict=False)
    digest = hashlib.sha256(model).hexdigest()
    backbone.low_precision = LowPrecision("int8", SessionForward(model), digest, model=model, scales=scales)


def integer_weights(model: bytes) -> dict[str, NDArray[np.int8]]:
    """Name of each weight that a quantised network has in int8 → its integers, outputs first."""
    import onnx

    return {
        tensor.name.removesuffix(_QUANTISED): onnx.numpy_helper.to_array(tensor).copy()
        for tensor in onnx.load_from_string(model).graph.initializer
        if tensor.name.endswith(_QUANTISED) and tensor.data_type == onnx.TensorProto.INT8
    }


def _scales(backbone: Backbone, model: bytes) -> dict[str, Tensor]:
    """For each quantised weight of the backbone its scale over what its batch norm multiplies it by."""
    import onnx

    stored = {tensor.name: tensor for tensor in onnx.load_from_string(model).graph.initializer}
    own = backbone.state()
    names = [
        name for name in integer_weights(model) if name in own and own[name].ndim > 1 and f"{name}_scale" in stored
    ]
    ones = backbone.copy()
    ones.network.load_state_dict({name: torch.ones_like(own[name]) for name in names}, strict=False)
    body, scales = fold(ones.inference), {}  # of weights that are all 1 it makes what it multiplies each channel by
    for name in names:
        factors = body.get_parameter(name).double().flatten(1)[:, 0]
        scale = torch.from_numpy(onnx.numpy_helper.to_array(stored[f"{name}_scale"]).astype(np.float64)).flatten()
        if scale.numel() in (1, len(factors)):
            scales[name] = torch.where(factors == 0, 0.0, scale / factors).float()  # 0: nothing of it can be seen
    return scales


def check_model(model: bytes, backbone: Backbone) -> None:
    """Check that bytes from a file are a quantised network of this backbone's shape and of nothing but plain layers.

    Raises:
        BackboneError: they are not, or onnx is missing.
    """
    require_packages()
    import onnx

    try:
        graph = onnx.load_from_string(model)
    except Exception as error:  # protobuf's own errors are of many kinds
        raise _not_ours("a complete ONNX file", first_line(error)[:80], backbone) from error
    nodes, tensors = graph.graph.node, graph.graph.initializer
    operators = {
        f"{node.domain}:{node.op_type}" for node in nodes if node.domain or node.op_type not in _OPERATORS.split()
    }
    if operators or graph.functions or graph.graph.sparse_initializer:
        raise _not_ours("plain layers", ", ".join(sorted(operators)) or "functions of its own", backbone)
    if any(tensor.external_data or tensor.data_location for tensor in tensors):
        raise _not_ours("weights inside the file", "weights elsewhere", backbone)
    numbers = [i for node in nodes for one in node.attribute for i in (*one.ints, one.i)]
    if any(abs(number) > _LARGEST for number in numbers):
        raise _not_ours(f"whole numbers up to {_LARGEST}", f"{max(numbers, key=abs)}", backbone)
    side, width = backbone.preprocess.crop, sum(backbone.widths)
    shapes = [
        [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
        for value in (*graph.graph.input, *graph.graph.output)
    ]
    if shapes != [[3, side, side], [width]]:
        raise _not_ours(f"images 3×{side}×{side} in and {width} features out", f"{shapes}"[:80], backbone)


def _quantised(model: bytes, pixels: Tensor, backbone: Backbone) -> bytes:
    """The network with QDQ nodes around its layers; the features themselves stay float32."""
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

    graph = onnx.load_from_string(model)
    for node in graph.graph.node:
        node.ClearField("metadata_props")  # the exporter's notes about its own code
    (features,) = [node.name for node in graph.graph.node if node.output[0] == graph.graph.output[0].name]
    try:
        with tempfile.TemporaryDirectory(prefix="headstart-int8-") as folder, _quiet():
            before, after = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
            before.write_bytes(graph.SerializeToString())
            quantizer = QDQQuantizer(
                load_model_with_shape_infer(before),
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,  # the pair with signed weights that VNNI multiplies
                tensors_range=_activation_ranges(before, graph.graph, pixels),
                nodes_to_quantize=[],  # all
                nodes_to_exclude=[features],  # one scale for all stages would round the small ones away
                op_types_to_quantize=_quantisable(),
                extra_options={"WeightSymmetric": True},
            )
            quantizer.quantize_model()
            quantizer.model.save_model_to_file(str(after))
            return after.read_bytes()
    except Exception as error:  # onnxruntime's quantiser fails in many ways of its own
        raise BackboneError(
            expected="a network that onnxruntime can quantise",
            found=kind_and_line(error),
            where=backbone.spec.name,
            hint="Use --precision float32.",
        ) from error


def _activation_ranges(path: Path, graph: Any, pixels: Tensor) -> Any:
    """The least and the largest value of each activation over all images, as onnxruntime's own calibrator finds them.

    Its calibrator runs the network without any optimisation and looks at every tensor. This one runs it as quickly as
    onnxruntime can, and does not look at what only a ReLU or a clip reads: the quantiser takes the range behind it.
    """
    from onnxruntime.quantization.calibrate import CalibrationDataReader, MinMaxCalibrater

    images = iter(torch.split(pixels, 1))  # one image's activations stay in the processor's cache
    uses: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            uses.setdefault(name, []).append(node)
    behind = {
        name: nodes[0].output[0]
        for name, nodes in uses.items()
        if len(nodes) == 1 and nodes[0].op_type in ("Relu", "Clip") and nodes[0].input[0] == name
    }

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(images, None)
            return None if image is None else {graph.input[0].name: image.numpy()}

    class Calibrator(MinMaxCalibrater):  # type: ignore[misc]
        def select_tensors_to_calibrate(self, model: Any) -> tuple[set[str], dict[str, Any]]:
            tensors, types = super().select_tensors_to_calibrate(model)
            return tensors - behind.keys(), types

        def create_inference_session(self) -> None:
            self.infer_session = new_session(self.augmented_model_path)

    calibrator = Calibrator(path, _quantisable(), str(path.with_name("with-ranges.onnx")))
    calibrator.augment_graph()
    calibrator.create_inference_session()
    calibrator.collect_data(Images())
    ranges = calibrator.compute_data()
    ranges.data.update({name: ranges[after] for name, after in behind.items() if after in ranges})
    return ranges


def _quantisable() -> list[str]:
    """The kinds of layer that onnxruntime can quantise."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return sorted({*QLinearOpsRegistry, *QDQRegistry})


def _similarity(backbone: Backbone, model: bytes, plain: bytes, *, pixels: Tensor) -> float:
    found, expected = SessionForward(model)(pixels), SessionForward(plain)(pixels)
    if not bool(torch.isfinite(found).all()):
        raise BackboneError(
            expected="finite features in int8",
            found="NaN or infinity",
            where=backbone.spec.name,
            hint="Use --precision float32.",
        )
    stages = backbone.slices.values()
    return min(float(F.cosine_similarity(found[:, part], expected[:, part]).mean()) for part in stages)


def _with_similarity(model: bytes, value: float) -> bytes:
    import onnx

    graph = onnx.load_from_string(model)
    onnx.helper.set_model_props(graph, {_SIMILARITY: f"{value:.3f}"})
    stored: bytes = graph.SerializeToString()
    return stored


def _not_ours(expected: str, found: str, backbone: Backbone) -> BackboneError:
    return BackboneError(expected=f"{expected} in the int8 network", found=found, where=backbone.spec.name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises the root logger about preprocessing that is done here already."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
