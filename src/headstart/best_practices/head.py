"""Rules about the output of a network: one logit per class, and logits rather than probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from headstart.best_practices.drawn_weights import is_drawn
from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import Issue, register_rule
from headstart.inspection.graph import CONSTANT, Graph, Operation

RESHAPING = ("flatten", "squeeze", "view", "reshape", "getitem", "float", "to", "contiguous", "type_as", "dropout")
"""Operations that pass the same scores on in another shape; dropout passes most of them."""
RELUS = ("relu", "relu6", "threshold", "leaky_relu", "elu", "gelu", "silu", "hardswish", "selu", "softplus")
CLAMPS = ("clamp", "clamp_min", "clip")
"""What may take a side of the logits away; no layer of a network, but a line at its end."""
SQUASHING = ("sigmoid", "tanh", "hardtanh", "hardsigmoid", "softsign")

_SCALING = ("div", "mul")
_LEAST_RATIO = 0.02  # of the output to the last layer's result: temperatures of distillation are at most 20
_LARGEST_BIAS = 20.0  # between classes
_SORTING = ("sort", "topk", "msort")
_ONE_SIDED = ("relu", "relu6", "threshold", "softplus", "clamp_min", "abs")


@register_rule(
    "outputs and classes differ",
    "error",
    "warning",
    why="With fewer outputs than classes some can never be predicted, and training fails on their labels; more outputs "
    "than classes belong to another task.",
    source="torch.nn.CrossEntropyLoss",
    fix="Replace the last layer by one with as many outputs as there are classes.",
)
def outputs_and_classes_differ(examination: Examination) -> Iterator[Issue]:
    """Width of the logits against the classes of the classifier, or of the images; not for a pretrained head."""
    if examination.inspected.backbone is not None and examination.inspected.classifier is None:
        raise NotApplicableError("no head: training gives a backbone one")
    classes = _classes(examination)
    width, module = _head(examination)
    if width == classes or (width == 1 and classes == 2):
        return
    found = f"{width} outputs for {classes} classes"
    yield Issue((module,) if module else (), found, "error" if width < classes else "warning")


def _classes(examination: Examination) -> int:
    images = () if examination.images is None else examination.images.classes
    known = examination.inspected.classes or images
    if not known:
        raise NotCheckedError("the classes: a classifier, or images with labels")
    return len(known)


def _head(examination: Examination) -> tuple[int, str]:
    """How many outputs there are, and the module that computes them."""
    classifier = examination.inspected.classifier
    if classifier is not None:
        return len(classifier.head.bias), ""
    graph = examination.graph
    if len(graph.output_shape) != 2:
        raise NotCheckedError(f"logits N×C; the output is {'×'.join(map(str, graph.output_shape)) or 'no tensor'}")
    return graph.output_shape[1], graph.operations[graph.output].module if graph.output >= 0 else ""


@register_rule(
    "softmax as output",
    "warning",
    why="CrossEntropyLoss applies the softmax itself: applied twice, probabilities become nearly uniform, gradients "
    "shrink and training stalls without an error.",
    source="torch.nn.CrossEntropyLoss",
    fix="Return the logits; apply the softmax outside, where probabilities are needed.",
)
def softmax_as_output(examination: Examination) -> Iterator[Issue]:
    """A network whose output is a softmax; log-softmax does no harm."""
    last = last_operation(examination.graph)
    if last is not None and last.function == "softmax":
        yield Issue((last.module,), "the output is a softmax")


@register_rule(
    "activation as output",
    "warning",
    "advice",
    why="Logits need both signs: after a ReLU half of them are 0 and get no gradient, and a sigmoid leaves a softmax "
    "between 27 % and 73 % for two classes. Losses with `logits` in their name apply the sigmoid themselves.",
    source="torch.nn.BCEWithLogitsLoss; torch.nn.CrossEntropyLoss",
    fix="Return the result of the last linear layer; a sigmoid belongs to BCELoss alone, and there "
    "BCEWithLogitsLoss without it is more precise.",
)
def activation_as_output(examination: Examination) -> Iterator[Issue]:
    """A ReLU, sigmoid or tanh after the last layer, a clamp at 0, or a ReLU before that sigmoid, which is then never
    below 50 %; advice for a sigmoid with one output, which BCELoss expects.
    """
    graph, last = examination.graph, last_operation(examination.graph)
    if last is None or last.function not in (*RELUS, *CLAMPS, *SQUASHING) or len(graph.output_shape) != 2:
        return
    if last.function in CLAMPS and not _is_cut(examination):
        return  # far from zero a clamp only bounds what is absurd
    before = without_reshaping(graph, graph.first_input(without_reshaping(graph, graph.output)))
    if last.function == "sigmoid" and before >= 0 and graph.operations[before].function in _ONE_SIDED:
        yield Issue(
            (last.module,), f"the output is a sigmoid of a {graph.operations[before].function}: never below 50 %"
        )
        return
    single = last.function in SQUASHING and graph.output_shape[1] == 1
    yield Issue((last.module,), f"the output is a {last.function}", "advice" if single else "warning")


def _is_cut(examination: Examination) -> bool:
    """Whether some logits of a sample are exactly 0, and none is below."""
    with torch.inference_mode():
        output = examination.network(examination.sample_pixels())
    return bool(output.amin() == 0)


@register_rule(
    "probabilities computed twice",
    "error",
    why="A softmax or sigmoid of probabilities flattens them: no class can come near 0 % or 100 %, and the gradient is "
    "small everywhere.",
    source="Goodfellow, Bengio and Courville 2016, Deep Learning, section 6.2.2",
    fix="Keep one of them; in training none, with a loss that takes logits.",
)
def probabilities_twice(examination: Examination) -> Iterator[Issue]:
    """A softmax or sigmoid whose input is the result of another."""
    graph = examination.graph
    found = []
    for index in graph.find("softmax", "log_softmax", "sigmoid"):
        before = without_reshaping(graph, graph.first_input(index))
        if before >= 0 and graph.operations[before].function in ("softmax", "sigmoid"):
            found.append(f"{graph.operations[index].function} after {graph.operations[before].function}")
    if found:
        yield Issue((), ", ".join(dict.fromkeys(found)))


@register_rule(
    "sorted output",
    "error",
    why="The place of a logit is its class: a sort or top-k puts the largest first, whichever class it belongs to.",
    source="torch.sort; torch.topk",
    fix="Return the logits as the last layer gives them; sort outside, where the most probable classes are shown.",
)
def sorted_output(examination: Examination) -> Iterator[Issue]:
    """A network whose output is a sort or the largest of its scores."""
    last = last_operation(examination.graph)
    if last is not None and last.function in _SORTING and len(examination.graph.output_shape) == 2:
        yield Issue((last.module,), f"the output is a {last.function}")


@register_rule(
    "output scaled down",
    "warning",
    why="Logits near 0 give every class the same probability, whatever the image, and their gradient is smaller by the "
    "same factor: training stands still.",
    source="Hinton, Vinyals and Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531, section 2",
    fix="Return the logits as the last layer gives them; a temperature belongs to calibration, after training.",
)
def output_scaled_down(examination: Examination) -> Iterator[Issue]:
    """A last layer whose result is divided, or multiplied by a small number, before it is the output."""
    passed = examination.training_pass
    graph, index = passed.graph, without_reshaping(passed.graph, passed.graph.output)
    while index >= 0 and graph.operations[index].function in _SCALING:
        index = without_reshaping(graph, graph.first_input(index))
    size = passed.sizes.get(index, 0.0)
    if len(passed.outputs) != 1 or not 0 < size < float("inf"):
        return
    ratio = float(passed.outputs[0].float().square().mean().sqrt()) / size
    if ratio < _LEAST_RATIO:
        yield Issue((graph.operations[index].module,), f"the output is {ratio:.2g} of what the last layer gives")


@register_rule(
    "probabilities as features",
    "warning",
    why="Numbers that add up to 1 are all small where there are many: images hardly differ in them, and the gradient "
    "is small in all layers before.",
    source="Goodfellow, Bengio and Courville 2016, Deep Learning, section 6.2.2",
    fix="Use a ReLU, or a normalisation, before the last layer; a softmax belongs behind it, outside training.",
)
def probabilities_as_features(examination: Examination) -> Iterator[Issue]:
    """A softmax whose result the last layer with weights takes."""
    graph = examination.graph
    last = _last_weighted(graph)
    before = without_reshaping(graph, graph.first_input(last)) if last >= 0 else CONSTANT
    if before >= 0 and graph.operations[before].function == "softmax":
        yield Issue((graph.operations[last].module,), "its inputs are the result of a softmax")


@register_rule(
    "bias of one class",
    "warning",
    why="e to the power of the difference is the factor between two classes: with 20 it is half a billion, and one "
    "class is predicted always, or never, whatever the image.",
    source="torch.nn.functional.cross_entropy",
    fix="Begin with biases of 0, or with the logarithms of the classes' shares.",
)
def bias_of_one_class(examination: Examination) -> Iterator[Issue]:
    """The bias of an output of the last layer that is far from those of the others."""
    graph = examination.graph
    last = _last_weighted(graph)
    if last < 0 or len(graph.output_shape) != 2:
        return
    operation, width = graph.operations[last], graph.output_shape[1]
    for name in operation.tensors:
        bias = examination.tensors[name].detach().float()
        if name.endswith("bias") and bias.ndim == 1 and len(bias) == width > 1:
            middle = bias.median()
            at = int((bias - middle).abs().argmax())
            if abs(float(bias[at] - middle)) > _LARGEST_BIAS:
                found = f"the bias of output {at} is {float(bias[at]):.3g}, the median of all {float(middle):.3g}"
                yield Issue((operation.module,), found)


def _last_weighted(graph: Graph) -> int:
    """Index of the last operation with weights on the way to the output; CONSTANT where there is none."""
    return next((i for i in sorted(graph.used, reverse=True) if graph.operations[i].weight_shape), CONSTANT)


def last_operation(graph: Graph) -> Operation | None:
    """The operation that computes the output, without reshapes after it; None where that is not known."""
    index = without_reshaping(graph, graph.output)
    return graph.operations[index] if index >= 0 else None


def without_reshaping(graph: Graph, index: int) -> int:
    """Index of the operation whose numbers these are, in whatever shape; CONSTANT or PIXELS where that is none."""
    while index >= 0 and graph.operations[index].function in RESHAPING:
        index = graph.first_input(index)
    return index


@register_rule(
    "frozen head",
    "error",
    "warning",
    why="A new head has random weights: if it is frozen, it stays random, and the other layers have to adapt to it.",
    source="torch.Tensor.requires_grad",
    fix="Freeze the backbone first and replace the head afterwards, or unfreeze it: head.requires_grad_(True).",
)
def frozen_head(examination: Examination) -> Iterator[Issue]:
    """The last layer with weights requires no gradient in training; an error where its weights are random as well."""
    if examination.inspected.backbone is not None:
        raise NotApplicableError("no head of its own: training gives a backbone one")
    graph = examination.graph
    last = _last_weighted(graph)
    weights = [name for name in (graph.operations[last].tensors if last >= 0 else ()) if _is_matrix(examination, name)]
    if not weights or any(name in examination.trained for name in weights):
        return
    random = all(is_drawn(examination.tensors[name]) for name in weights)
    if not examination.trained and not (random and examination.optimizers is not None):
        raise NotApplicableError("nothing is trained")
    found = "frozen, with random weights" if random else "frozen, while layers before it are trained"
    yield Issue((graph.operations[last].module,), found, "error" if random else "warning")


def _is_matrix(examination: Examination, name: str) -> bool:
    return examination.tensors[name].ndim > 1
