"""A rule about what a loss can reach: near 0 for a perfect output, and only for that."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.best_practices.examination import Examination, Loss
from headstart.best_practices.head import last_operation, without_reshaping
from headstart.best_practices.rule import Issue, register_rule
from headstart.best_practices.training_step import batch_outputs, batch_targets, loss_value, taken_by
from headstart.inspection.graph import CONSTANT, Graph

_LEFT_OVER = 0.1  # of the loss of chance: more than that a perfect output of cosines may not leave
_FAR = 30.0  # a logit that is certain
_CLOSE = 1e-3
_TURNING = ("t", "transpose", "permute", "mT", "T")
_PRODUCTS = ("linear", "matmul", "mm", "rmatmul")
_NORMS = ("norm", "linalg_norm", "linalg_vector_norm", "vector_norm")
_NOT_NEGATIVE = ("abs", "square", "pow", "exp")
"""Operations that give no number below 0; of powers the even ones."""


@register_rule(
    "loss out of reach",
    "error",
    "warning",
    needs=("loss", "batch"),
    why="A loss for classes has to fall to almost 0 where the true class is far ahead, and only there. A softmax of "
    "cosines cannot; one of numbers without a sign cannot reject a class; without the other classes in it nothing "
    "pushes them down.",
    source="Wang et al. 2017, NormFace, arXiv:1704.06369, section 3.3 (scale of cosines); measured on the loss itself",
    fix="Multiply cosines by a scale of 10 to 30, or a learned one; return logits with both signs; use "
    "CrossEntropyLoss.",
)
def loss_out_of_reach(examination: Examination) -> Iterator[Issue]:
    """The loss for outputs made by hand, where targets are class indices."""
    loss, outputs, targets = examination.loss, batch_outputs(examination).float(), batch_targets(examination)
    assert loss is not None  # needed, see above
    targets, outputs = targets[: len(outputs)], outputs[: len(targets)]
    if targets.is_floating_point() or targets.ndim != 1 or outputs.ndim != 2 or outputs.shape[1] < 2:
        return
    targets = targets.clamp(0, outputs.shape[1] - 1)  # labels outside the classes are another rule's
    right, kind = F.one_hot(targets.long(), outputs.shape[1]).to(outputs), taken_by(loss, outputs, targets)
    last = last_operation(examination.graph)
    if kind == "softmax" and _are_cosines(examination.graph) and (best := _best_of_cosines(loss, right, targets)):
        yield Issue((), f"a softmax of cosines: a perfect output leaves a loss of {best:.2f}", "warning")
    if kind == "softmax" and last is not None and last.function in _NOT_NEGATIVE and bool((outputs >= 0).all()):
        yield Issue((), f"the loss applies a softmax to logits; the output is that of {last.function}, never below 0")
    value = loss_value(loss, _FAR * right, targets)
    if kind == "softmax" and value is not None and value < -_CLOSE:
        yield Issue(
            (), f"the loss of a perfect output is {value:.2f}: the logarithm of the softmax is missing", "warning"
        )
    if not kind and _pushes_nothing_down(loss, right, targets):
        yield Issue((), "the loss is lowest where all outputs are large: nothing in it pushes other classes down")


def _best_of_cosines(loss: Loss, right: Tensor, targets: Tensor) -> float:
    """The loss of cosines of 1 and -1, where that is not near 0; else 0."""
    best, chance = loss_value(loss, 2 * right - 1, targets), loss_value(loss, 0 * right, targets)
    return best if best is not None and chance is not None and best > _LEFT_OVER * chance > 0 else 0.0


def _are_cosines(graph: Graph) -> bool:
    index = without_reshaping(graph, graph.output)
    if index < 0:
        return False
    one = graph.operations[index]
    if one.function == "cosine_similarity" or _has_unit_length(graph, index):
        return True
    return one.function in _PRODUCTS and len(one.inputs) == 2 and all(_has_unit_length(graph, at) for at in one.inputs)


def _has_unit_length(graph: Graph, index: int) -> bool:
    """Whether a result is divided by its own length."""
    while index >= 0 and graph.operations[index].function in _TURNING:
        index = graph.first_input(index)
    if index < 0:
        return False
    one = graph.operations[index]
    divided = one.function in ("truediv", "div") and len(one.inputs) == 2 and one.inputs[1] > CONSTANT
    return one.function == "normalize" or (divided and _is_length(graph, one.inputs[1], of=one.inputs[0]))


def _is_length(graph: Graph, index: int, *, of: int) -> bool:
    while index >= 0 and graph.operations[index].function in ("clamp", "clamp_min", "add"):
        index = graph.first_input(index)
    return index >= 0 and graph.operations[index].function in _NORMS and graph.first_input(index) == of


def _pushes_nothing_down(loss: Loss, right: Tensor, targets: Tensor) -> bool:
    """Whether raising all outputs is as good as raising that of the true class alone."""
    everything, chance = loss_value(loss, torch.full_like(right, _FAR), targets), loss_value(loss, 0 * right, targets)
    only = loss_value(loss, _FAR * (2 * right - 1), targets)
    if everything is None or chance is None or only is None:
        return False
    return everything <= only + _CLOSE and everything < chance - 10 * _CLOSE
