"""Rules about the output of a network: one logit per class, and logits rather than probabilities."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import Issue, register_rule

# operations that pass the same scores on in another shape
_RESHAPING = ("flatten", "squeeze", "view", "reshape", "getitem", "float", "to", "contiguous", "type_as", "dropout")


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
    graph, index = examination.graph, examination.graph.output
    while index >= 0 and graph.operations[index].function in _RESHAPING:
        index = graph.first_input(index)
    if index >= 0 and graph.operations[index].function == "softmax":
        yield Issue((graph.operations[index].module,), "the output is a softmax")
