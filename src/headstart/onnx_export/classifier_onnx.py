"""A classifier as one ONNX model: preprocessing, network, head and temperature in one graph, with its card inside."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import onnx
import onnx.utils
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper

from headstart import __version__, runtime
from headstart.classifier.classifier import Classifier
from headstart.classifier.familiarity import Familiarity
from headstart.engines.onnxruntime_engine import INSTALL, exported, missing_packages
from headstart.errors import BackboneError, ClassifierError
from headstart.onnx_export.graph_builder import GraphBuilder
from headstart.onnx_export.head_graph import FEATURES, PROBABILITIES, SCORES, add_flips, add_head, stage_features
from headstart.onnx_export.preprocess_graph import PREPARED, add_normalisation, add_preparation
from headstart.onnx_export.trust_graph import ATYPICAL, FAMILIAR, NEAREST, SET, add_familiarity, add_sets

OPSET = 18  # the first with Resize's antialias; later ones would lock out older runtimes for nothing
IR_VERSION = 8  # what opset 18 came with: onnxruntime 1.14 and later read it
IMAGE = "image"
INPUTS = (IMAGE, PREPARED)
CARD, FACTS, KNOWN = "headstart", "headstart-export", "headstart-familiarity"  # keys in the model's metadata
_TYPES = {
    FAMILIAR: TensorProto.FLOAT, NEAREST: TensorProto.INT64, SET: TensorProto.BOOL, ATYPICAL: TensorProto.BOOL
}  # fmt: skip
_NETWORK = "network_"
_MOST_BYTES = 2_000_000_000  # what one protobuf message holds


def build_onnx(classifier: Classifier, *, input: str = IMAGE) -> onnx.ModelProto:
    """The model of a classifier, checked by ONNX itself.

    Args:
        input: `image`: one image H×W×3 uint8, RGB, upright, any size; `prepared`: N×3×S×S uint8, resized and cropped
            by the caller, any N.

    Returns:
        A model with the outputs `probabilities` N×C, `scores` N×C (before temperature and softmax) and `features` N×D
        (as the head takes them), all float32; N is 1 for `image`. Where the classifier has them also `familiar` N
        float32 (the distance to its training images), `nearest` N int64 (which one is most similar), `set` N×C bool
        (classes that cannot be ruled out) and `atypical` N bool. Its metadata hold the card with the thresholds.

    Raises:
        BackboneError: a package is missing, or the network cannot be exported. ClassifierError: it is too large.
    """
    network = _network(classifier)
    opset = next(one.version for one in network.opset_import if not one.domain)
    model = helper.make_model(
        _graph(classifier, network.graph, input),
        opset_imports=[helper.make_opsetid("", opset), *(one for one in network.opset_import if one.domain)],
        functions=list(network.functions),
        ir_version=IR_VERSION if opset == OPSET else max(IR_VERSION, network.ir_version),
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
    trust = _add_answers(graph, classifier, _stage_output(graph, classifier, network.output[0].name), widths=widths)
    _rename_input(network, pixels)
    many: int | str = 1 if one_image else "N"
    prepared = helper.make_tensor_value_info(PREPARED, TensorProto.UINT8, [many, 3, side, side])
    image = helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["height", "width", 3])
    count = len(classifier.classes)
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [many, size])
        for name, size in {PROBABILITIES: count, SCORES: count, FEATURES: sum(widths)}.items()
    ]
    outputs += [
        helper.make_tensor_value_info(name, _TYPES[name], [many, count] if name == SET else [many]) for name in trust
    ]
    return helper.make_graph(
        [*graph.nodes[:before], *network.node, *graph.nodes[before:]],
        "classifier",
        [image if one_image else prepared],
        outputs,
        initializer=[*graph.constants, *network.initializer],
        value_info=[prepared] if one_image else [],
    )


def _stage_output(graph: GraphBuilder, classifier: Classifier, output: str) -> str:
    """The stages of `_stages_of` in its order; an int8 network gives all of the backbone."""
    wanted, backbone = _stages_of(classifier), classifier.backbone
    if backbone.low_precision is None or wanted == backbone.stages:
        return output
    parts = [backbone.slices[name] for name in wanted]
    found = [graph.slice(output, graph.constant([p.start]), graph.constant([p.stop]), axis=1) for p in parts]
    return graph.add("Concat", *found, axis=1)


def _add_answers(
    graph: GraphBuilder, classifier: Classifier, output: str, *, widths: tuple[int, ...]
) -> tuple[str, ...]:
    """Head, familiarity and sets on the network's output; the names of what is there beside the head's."""
    head, familiarity, conformal = classifier.head, classifier.familiarity, classifier.conformal
    if len(_stages_of(classifier)) > len(head.stages):  # the last one is for familiarity alone
        stages = graph.slice(output, graph.constant([0]), graph.constant([sum(widths)]), axis=1)
    else:
        stages = output
    names: tuple[str, ...] = ()
    probabilities = add_head(graph, head, stages, widths=widths)
    if familiarity is not None:
        spec = classifier.backbone.spec
        order = _stages_of(classifier)
        ends = np.cumsum([spec.stage(name).width for name in order])
        end, width = int(ends[order.index(familiarity.stage)]), spec.stage(familiarity.stage).width
        own = graph.slice(output, graph.constant([end - width]), graph.constant([end]), axis=1)
        names += add_familiarity(graph, familiarity, stage_features(graph, head, own, width=width))
    if conformal is not None:
        names += add_sets(graph, conformal, probabilities, classes=len(classifier.classes))
    return names


def _stages_of(classifier: Classifier) -> tuple[str, ...]:
    """What the network gives: the head's stages, and that of the familiarity where the head has no use for it."""
    stages, familiarity = classifier.head.stages, classifier.familiarity
    return stages if familiarity is None or familiarity.stage in stages else (*stages, familiarity.stage)


def fingerprint_of(classifier: Classifier) -> str:
    """SHA-256 (hex) over all that its answers depend on: weights, head and preprocessing."""
    head = classifier.head
    facts = {
        "backbone": classifier.backbone.fingerprint,
        "preprocess": classifier.backbone.preprocess.to_dict(),
        "head": [head.stages, head.temperature, head.unit, head.flip_tta, classifier.classes],
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    matrices: list[NDArray[np.floating]] = [head.weight, head.bias]
    if head.kernel is not None:
        matrices += [head.kernel.landmarks, np.array([head.kernel.gamma])]
    if classifier.familiarity is not None:
        matrices += [classifier.familiarity.rows, classifier.familiarity.distances]
    if classifier.conformal is not None:
        matrices.append(classifier.conformal.thresholds)
    for matrix in matrices:
        digest.update(np.ascontiguousarray(matrix).tobytes())
    return digest.hexdigest()


def preparation_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """The first half of a model for `image` alone: image → prepared pixels 1×3×S×S uint8."""
    half: onnx.ModelProto = onnx.utils.Extractor(model).extract_model([IMAGE], [PREPARED])
    return half


def _network(classifier: Classifier) -> onnx.ModelProto:
    """The network from normalised pixels to the head's stages (int8: to all), its names with a prefix of their own."""
    missing = missing_packages()
    if missing:
        raise BackboneError(expected="the packages for ONNX", found=f"no {', '.join(missing)}", hint=f"{INSTALL}.")
    backbone, name = classifier.backbone, classifier.card.backbone
    if backbone.low_precision is not None:  # int8: the network that it computes with, which is a graph already
        quantised = onnx.load_from_string(backbone.low_precision.model)
        whole: onnx.ModelProto = compose.add_prefix(quantised, _NETWORK)
        return whole
    try:
        data = exported(backbone, runtime.cache_folder(), stages=_stages_of(classifier), opset=OPSET)
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


def _training(classifier: Classifier, familiarity: Familiarity) -> dict[str, Any]:
    """What a server needs to say how far its images have moved; nothing where the head has no use for that stage."""
    begin = 0
    for name in classifier.head.stages:
        width = classifier.backbone.spec.stage(name).width
        if name == familiarity.stage:
            mean = [float(f"{value:.6g}") for value in familiarity.training_mean]
            return {"mean": mean, "images": familiarity.training_images, "columns": [begin, begin + width]}
        begin += width
    return {}


def _metadata(classifier: Classifier, input: str) -> dict[str, str]:
    facts = {"input": input, "fingerprint": fingerprint_of(classifier), "versions": runtime.versions()}
    found = {CARD: classifier.card.to_json(), FACTS: json.dumps(facts, allow_nan=False)}
    if (familiarity := classifier.familiarity) is not None:
        known: dict[str, Any] = {"distances": familiarity.distances.tolist(), "names": list(familiarity.names)}
        known |= {"training": _training(classifier, familiarity)}
        found[KNOWN] = json.dumps(known, allow_nan=False)
    return found
