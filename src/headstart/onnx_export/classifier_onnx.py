"""A classifier as one ONNX model: preprocessing, network, head and temperature in one graph, with its card inside."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
import onnx.utils
from onnx import TensorProto, compose, helper

from headstart import __version__, runtime
from headstart.backbones.feature_extractor import eval_view
from headstart.classifier.classifier import Classifier
from headstart.engines.onnxruntime_engine import INSTALL, export_network, missing_packages
from headstart.errors import BackboneError, ClassifierError
from headstart.onnx_export.graph_builder import GraphBuilder
from headstart.onnx_export.head_graph import FEATURES, PROBABILITIES, SCORES, add_flips, add_head
from headstart.onnx_export.preprocess_graph import PREPARED, add_normalisation, add_preparation

OPSET = 18  # the first with Resize's antialias; later ones would lock out older runtimes for nothing
IR_VERSION = 8  # what opset 18 came with: onnxruntime 1.14 and later read it
IMAGE = "image"
INPUTS = (IMAGE, PREPARED)
CARD, FACTS = "headstart", "headstart-export"  # keys in the model's metadata
_NETWORK = "network_"
_MOST_BYTES = 2_000_000_000  # what one protobuf message holds


def build_onnx(classifier: Classifier, *, input: str = IMAGE) -> onnx.ModelProto:
    """The model of a classifier, checked by ONNX itself.

    Args:
        input: `image`: one image H×W×3 uint8, RGB, upright, any size; `prepared`: N×3×S×S uint8, resized and cropped
            by the caller, any N.

    Returns:
        A model with the outputs `probabilities` N×C, `scores` N×C (before temperature and softmax) and `features` N×D
        (as the head takes them), all float32; N is 1 for `image`. Its metadata hold the classifier's card.

    Raises:
        BackboneError: a package is missing, or the network cannot be exported. ClassifierError: it is too large.
    """
    network = _network(classifier)
    model = helper.make_model(
        _graph(classifier, network.graph, input),
        opset_imports=[helper.make_opsetid("", OPSET), *(one for one in network.opset_import if one.domain)],
        functions=list(network.functions),
        ir_version=IR_VERSION,
        producer_name="headstart",
        producer_version=__version__,
    )
    helper.set_model_props(model, _metadata(classifier, input))
    if model.ByteSize() > _MOST_BYTES:
        raise ClassifierError(
            expected="a model of at most 2 GB, what one ONNX file holds",
            found=f"{model.ByteSize() / 1e9:.1f} GB",
            where=classifier.card.backbone,
        )
    onnx.checker.check_model(model, full_check=True)
    return model


def _graph(classifier: Classifier, network: onnx.GraphProto, input: str) -> onnx.GraphProto:
    """Preparation, normalisation, network and head one after another."""
    graph, preprocess, head = GraphBuilder("headstart"), classifier.backbone.preprocess, classifier.head
    one_image, side = input == IMAGE, preprocess.crop
    if one_image:
        add_preparation(graph, preprocess, IMAGE)
    pixels = add_normalisation(graph, preprocess, PREPARED)
    pixels = add_flips(graph, pixels) if head.flip_tta else pixels
    before = len(graph.nodes)
    widths = tuple(classifier.backbone.spec.stage(name).width for name in head.stages)
    names = add_head(graph, head, network.output[0].name, widths=widths)
    _rename_input(network, pixels)
    many: int | str = 1 if one_image else "N"
    prepared = helper.make_tensor_value_info(PREPARED, TensorProto.UINT8, [many, 3, side, side])
    image = helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["height", "width", 3])
    sizes = (sum(widths), len(classifier.classes), len(classifier.classes))
    outputs = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [many, size])
        for name, size in zip(names, sizes, strict=True)
    }
    return helper.make_graph(
        [*graph.nodes[:before], *network.node, *graph.nodes[before:]],
        "classifier",
        [image if one_image else prepared],
        [outputs[name] for name in (PROBABILITIES, SCORES, FEATURES)],
        initializer=[*graph.constants, *network.initializer],
        value_info=[prepared] if one_image else [],
    )


def fingerprint_of(classifier: Classifier) -> str:
    """SHA-256 (hex) over all that its answers depend on: weights, head and preprocessing."""
    head = classifier.head
    facts = {
        "backbone": classifier.backbone.fingerprint,
        "preprocess": classifier.backbone.preprocess.to_dict(),
        "head": [head.stages, head.temperature, head.unit, head.flip_tta, classifier.classes],
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for matrix in (head.weight, head.bias):
        digest.update(np.ascontiguousarray(matrix).tobytes())
    return digest.hexdigest()


def preparation_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """The first half of a model for `image` alone: image → prepared pixels 1×3×S×S uint8."""
    half: onnx.ModelProto = onnx.utils.Extractor(model).extract_model([IMAGE], [PREPARED])
    return half


def _network(classifier: Classifier) -> onnx.ModelProto:
    """The network from normalised pixels to the head's stages, its names with a prefix of their own."""
    missing = missing_packages()
    if missing:
        raise BackboneError(expected="the packages for ONNX", found=f"no {', '.join(missing)}", hint=f"{INSTALL}.")
    backbone, name = classifier.backbone, classifier.card.backbone
    extractor = eval_view(backbone.feature_extractor(classifier.head.stages))
    try:
        data = export_network(extractor, backbone.preprocess.crop, name=name, opset=OPSET)
    except BackboneError as error:
        hint = "This network has no ONNX form; use the classifier with headstart itself."
        raise BackboneError(expected=error.expected, found=error.found, where=name, hint=hint) from error
    model = onnx.load_from_string(data)
    opset = next(one.version for one in model.opset_import if not one.domain)
    if opset != OPSET:  # the exporter takes a later one where an operation needs it
        raise BackboneError(expected=f"a network of opset {OPSET}", found=f"opset {opset}", where=name)
    prefixed: onnx.ModelProto = compose.add_prefix(model, _NETWORK)
    return prefixed


def _rename_input(graph: onnx.GraphProto, pixels: str) -> None:
    """Let the network read the pixels of the nodes before it."""
    own = graph.input[0].name
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == own:
                node.input[index] = pixels


def _metadata(classifier: Classifier, input: str) -> dict[str, str]:
    facts = {"input": input, "fingerprint": fingerprint_of(classifier), "versions": runtime.versions()}
    return {CARD: classifier.card.to_json(), FACTS: json.dumps(facts, allow_nan=False)}
