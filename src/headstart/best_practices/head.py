"""Rules about the end of a network: as many answers as classes, and scores rather than probabilities."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import Issue, rule

# steps that give on the same scores in another shape
_SHAPES = ("flatten", "squeeze", "view", "reshape", "getitem", "float", "to", "contiguous", "type_as", "dropout")


@rule(
    "head and classes differ",
    "error",
    "warning",
    why="With fewer answers than classes some can never be named, and training fails on their labels; answers more "
    "than classes are those of another task.",
    source="torch.nn.CrossEntropyLoss",
    fix="Replace the last layer by one with as many outputs as there are classes.",
)
def head_and_classes_differ(case: Examination) -> Iterator[Issue]:
    """Width of the logits against the classes of the classifier, or of the images; a Backbone's own top is no head."""
    if case.subject.backbone is not None and case.subject.classifier is None:
        raise NotApplicableError("no head: training gives a backbone one")
    classes = _classes(case)
    width, place = _head(case)
    if width == classes or (width == 1 and classes == 2):
        return
    found = f"{width} answers for {classes} classes"
    yield Issue((place,) if place else (), found, "error" if width < classes else "warning")


def _classes(case: Examination) -> int:
    images = () if case.images is None else case.images.classes
    known = case.subject.classes or images
    if not known:
        raise NotCheckedError("the classes: a classifier, or images with labels")
    return len(known)


def _head(case: Examination) -> tuple[int, str]:
    """How many answers are given, and the module that gives them."""
    if case.subject.classifier is not None:
        return len(case.subject.classifier.head.bias), ""
    trace = case.trace
    if len(trace.output) != 2:
        raise NotCheckedError(f"logits N×C; the output is {'×'.join(map(str, trace.output)) or 'no tensor'}")
    return trace.output[1], trace.steps[trace.end].module if trace.end >= 0 else ""


@rule(
    "softmax at the end",
    "warning",
    why="CrossEntropyLoss takes the softmax itself: of probabilities it makes nearly flat ones, gradients shrink and "
    "training stalls without an error.",
    source="torch.nn.CrossEntropyLoss",
    fix="Return the scores before the softmax; take it outside, when probabilities are wanted.",
)
def softmax_at_the_end(case: Examination) -> Iterator[Issue]:
    """A network whose output is a softmax; log-softmax does no harm."""
    trace, place = case.trace, case.trace.end
    while place >= 0 and trace.steps[place].function in _SHAPES:
        place = trace.source(place)
    if place >= 0 and trace.steps[place].function == "softmax":
        yield Issue((trace.steps[place].module,), "the output is a softmax")
