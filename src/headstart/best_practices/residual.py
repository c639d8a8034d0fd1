"""Rules about residual sums: how a branch begins, and whether a gradient comes past it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import Issue, rule
from headstart.inspection.graph import WEIGHING, StepWatcher, Trace

_IMAGES = 4


@dataclass(frozen=True)
class ResidualSum:
    """A sum of a shortcut and a branch: steps of the trace. `carries`: whether the shortcut lets a gradient through."""

    place: int
    shortcut: int
    branch: int
    carries: bool


def residual_sums(trace: Trace) -> list[ResidualSum]:
    """Sums of two results that rest on a common one; the side with more weighing layers since then is the branch."""
    found = []
    weighing = sum(1 << (place + 1) for place in trace.of(*WEIGHING))
    for place in trace.of("add"):
        step = trace.steps[place]
        if len(step.inputs) != 2 or step.inputs[0] == step.inputs[1]:
            continue
        rests = [trace.rests_on(made) for made in step.inputs]
        shared = rests[0] & rests[1]
        if not shared or len({_shape(trace, made, step.shape) for made in step.inputs}) > 1:
            continue
        weights = [(mask & ~shared & weighing).bit_count() for mask in rests]
        if weights[0] == weights[1]:
            continue
        side = 0 if weights[0] < weights[1] else 1
        found.append(ResidualSum(place, step.inputs[side], step.inputs[1 - side], step.carries[side]))
    return found


@rule(
    "last scale of a branch not zero",
    "advice",
    why="With a scale of 0 in its last batch norm every block begins as the identity, and deep networks start to learn "
    "more steadily.",
    source="Goyal et al. 2017, arXiv:1706.02677, section 5.1",
    fix="Before training: nn.init.zeros_(block.bn2.weight); torchvision's resnets take zero_init_residual=True.",
    only_with=(_BatchNorm,),
)
def last_scale_not_zero(case: Examination) -> Iterator[Issue]:
    """Only for networks that were not trained: every normalisation has the scale and shift that it begins with."""
    sums = _sums_of(case)
    if not case.is_untrained:
        raise NotApplicableError("it was trained")
    ends = [case.trace.steps[one.branch] for one in sums]
    norms = [end.module for end in ends if end.function == "batch_norm" and end.module in case.batch_norms]
    found = tuple(path for path in dict.fromkeys(norms) if _is_one(case.batch_norms[path]))
    if found:
        yield Issue(found, f"branches begin at full strength: {len(found)}")


def _is_one(norm: _BatchNorm) -> bool:
    return isinstance(norm.weight, Tensor) and bool((norm.weight == 1).all())


@rule(
    "no gradient past a residual block",
    "error",
    "warning",
    why="A shortcut lets the gradient reach the layers before it undiminished; cut, or followed by something dead, "
    "these layers learn little or nothing.",
    source="He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027, section 2",
    fix="Take detach(), .data and no_grad() out of the shortcut; if what follows is dead, see dead ReLUs.",
)
def no_gradient_past_a_block(case: Examination) -> Iterator[Issue]:
    """An error for a shortcut that is cut; a warning where no gradient arrives at the sum at all."""
    trace, sums = case.trace, _sums_of(case)
    cut = tuple(dict.fromkeys(trace.steps[one.place].module for one in sums if not one.carries))
    if cut:
        yield Issue(cut, f"shortcuts are detached: {len(cut)}", "error")
    if _ends_in_zeros(case):
        raise NotCheckedError("a last layer whose weights are not all zero: it lets no gradient through yet")
    silent = tuple(dict.fromkeys(trace.steps[place].module for place in _without_gradient(case, sums)))
    if silent:
        yield Issue(silent, f"residual sums at which the gradient is 0: {len(silent)}", "warning")


def _sums_of(case: Examination) -> list[ResidualSum]:
    found = residual_sums(case.trace)
    if not found:
        raise NotApplicableError("no residual sum")
    return found


def _ends_in_zeros(case: Examination) -> bool:
    """Whether the last weighing layer is still zero, as some heads begin."""
    last = case.trace.of(*WEIGHING)[-1:]
    names = [name for place in last for name in case.trace.steps[place].tensors if name.endswith("weight")]
    return bool(names) and not any(bool(case.tensors[name].any()) for name in names)


def _without_gradient(case: Examination, sums: list[ResidualSum]) -> list[int]:
    """Sums at which a gradient of the output, in a drawn direction, is zero everywhere."""
    pixels = case.some_pixels(_IMAGES).detach().clone().requires_grad_(True)
    edges: dict[int, GradientEdge] = {}

    def look(place: int, value: Tensor) -> None:
        if value.requires_grad:
            edges[place] = get_gradient_edge(value)  # of the sum itself: an in-place layer may write into its tensor

    watcher = StepWatcher(case.trace, [one.place for one in sums], look)
    with torch.inference_mode(False), torch.enable_grad(), watcher:
        output = case.network(pixels)
    if not isinstance(output, Tensor) or not output.requires_grad:
        raise NotCheckedError("an output with a gradient, as one tensor")
    if not edges:
        return []
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output)
    found = torch.autograd.grad(output, list(edges.values()), direction, allow_unused=True)
    pairs = zip(edges, found, strict=True)
    return [place for place, gradient in pairs if gradient is None or not bool((gradient != 0).any())]


def _shape(trace: Trace, made: int, of_sum: tuple[int, ...]) -> tuple[int, ...]:
    return trace.steps[made].shape if made >= 0 else of_sum
