"""Rules about residual sums: how a branch is initialised, and whether a gradient passes the shortcut."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import Issue, register_rule
from headstart.inspection.graph import WEIGHTED
from headstart.inspection.residual.residual_sums import ResidualSum, find_residual_sums


@register_rule(
    "residual branches not zero-initialised",
    "advice",
    why="With a scale of 0 in its last batch norm, every block starts as the identity, and deep networks start to "
    "train more stably.",
    source="Goyal et al. 2017, arXiv:1706.02677, section 5.1",
    fix="Before training: nn.init.zeros_(block.bn2.weight); torchvision's resnets take zero_init_residual=True.",
    only_with=(_BatchNorm,),
)
def branches_not_zero_initialised(examination: Examination) -> Iterator[Issue]:
    """Only for untrained networks: every normalisation has its initial scale and shift."""
    sums = _residual_sums(examination)
    if not examination.is_untrained:
        raise NotApplicableError("it was trained")
    ends = [examination.graph.operations[one.branch] for one in sums if one.branch >= 0]
    norms = [end.module for end in ends if end.function == "batch_norm" and end.module in examination.batch_norms]
    found = tuple(path for path in dict.fromkeys(norms) if _is_one(examination.batch_norms[path]))
    if found:
        yield Issue(found, f"branches whose last scale is 1: {len(found)}")


def _is_one(norm: _BatchNorm) -> bool:
    return isinstance(norm.weight, Tensor) and bool((norm.weight == 1).all())


@register_rule(
    "no gradient through a shortcut",
    "error",
    "warning",
    why="A shortcut passes the gradient to earlier layers undiminished; if it is detached, or dead layers follow, they "
    "get little or no gradient.",
    source="He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027, section 2",
    fix="Remove detach(), .data and no_grad() from the shortcut; if dead layers follow, see dead ReLUs.",
)
def no_gradient_through_shortcut(examination: Examination) -> Iterator[Issue]:
    """An error for a detached shortcut; a warning where no gradient arrives at the sum at all."""
    sums = _residual_sums(examination)
    detached = tuple(dict.fromkeys(one.module for one in sums if not one.carries_gradient))
    if detached:
        yield Issue(detached, f"detached shortcuts: {len(detached)}", "error")
    if _ends_in_zeros(examination):
        raise NotCheckedError("a last layer whose weights are not all zero: it passes no gradient yet")
    silent = tuple(dict.fromkeys(_without_gradient(examination)))
    if silent:
        yield Issue(silent, f"residual sums whose gradient is 0: {len(silent)}", "warning")


@register_rule(
    "sum with itself",
    "warning",
    why="out + out is twice the branch: the shortcut that was meant is missing.",
    source="He et al. 2016, Deep Residual Learning, arXiv:1512.03385, equation 1",
    fix="Keep the input under a name of its own, identity = x, and add that.",
)
def sum_with_itself(examination: Examination) -> Iterator[Issue]:
    """Additions of a tensor to itself."""
    graph = examination.graph
    sums = [graph.operations[index] for index in graph.find("add", "iadd") if index in graph.used]
    found = [one.module for one in sums if len(one.inputs) == 2 and one.inputs[0] == one.inputs[1] >= 0]
    if found:
        yield Issue(tuple(dict.fromkeys(found)), f"additions of a tensor to itself: {len(found)}")


def _residual_sums(examination: Examination) -> tuple[ResidualSum, ...]:
    found = find_residual_sums(examination.graph, examination.network)
    if not found:
        raise NotApplicableError("no residual sum")
    return found


def _ends_in_zeros(examination: Examination) -> bool:
    """Whether the last layer with weights is still zero, as some heads are initialised."""
    graph = examination.graph
    last = graph.find(*WEIGHTED)[-1:]
    names = [name for index in last for name in graph.operations[index].tensors if name.endswith("weight")]
    return bool(names) and not any(bool(examination.tensors[name].any()) for name in names)


def _without_gradient(examination: Examination) -> list[str]:
    """Modules whose sums get a gradient of 0 from the output, in a random direction and in train mode."""
    passed = examination.training_pass
    if passed.failure or not passed.at_operations:
        raise NotCheckedError("an output with a gradient")
    sums = find_residual_sums(passed.graph, examination.network)
    on_every_path = set(passed.graph.bottlenecks)  # in a branch that begins at zero there is no gradient yet
    silent = [one for one in sums if passed.at_operations.get(one.index, 1.0) in (None, 0.0)]
    return [one.module for one in silent if one.index in on_every_path]
