"""Rules about the optimiser: every trained parameter in one group, and weight decay only where it helps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, register_rule

_HIGH_EPSILON = 1.0  # Inception was trained with 1.0; usual are 1e-8 to 1e-3
_HIGH, _HIGH_ADAPTIVE = (
    5.0,
    0.1,
)  # SGD trains at 0.1 to 2 in the literature; weights are about 0.1, steps of Adam the rate
_LOW = 1e-8  # float32 keeps seven digits of a weight
_APART = 2e5  # between rates of two groups; 0.65 a layer over 24 of them are 3e4 (BEiT)
_DECAY, _SHRINK = 1.0, 0.01  # usual are 1e-4 to 0.1


@register_rule(
    "parameters missing from the optimiser",
    "error",
    needs=("optimizer",),
    why="They get gradients and never change: most often a head that was replaced, or layers unfrozen, after the "
    "optimiser was created.",
    source="torch.optim.Optimizer",
    fix="Create the optimiser last, or add them: optimizer.add_param_group({'params': ...}); or freeze them.",
)
def parameters_missing(examination: Examination) -> Iterator[Issue]:
    """Parameters that require a gradient and are in no group."""
    groups = _group_counts(examination)
    missing = tuple(name for name, parameter in examination.trained.items() if id(parameter) not in groups)
    if missing:
        yield Issue(missing, f"{len(missing)} of {len(examination.trained)} trained parameters are in no group")


@register_rule(
    "parameters in several optimiser groups",
    "warning",
    needs=("optimizer",),
    why="Each step is taken twice, with two momenta: the learning rate is not the one that was set.",
    source="torch.optim.Optimizer",
    fix="Give each parameter to one optimiser and one group.",
)
def parameters_in_several_groups(examination: Examination) -> Iterator[Issue]:
    """Parameters that several groups hold."""
    groups = _group_counts(examination)
    twice = tuple(name for name, parameter in examination.network.named_parameters() if groups[id(parameter)] > 1)
    if twice:
        yield Issue(twice, f"parameters in more than one group: {len(twice)}")


@register_rule(
    "foreign parameters in the optimiser",
    "warning",
    "error",
    needs=("optimizer",),
    why="The optimiser updates tensors that this network does not use: those of a copy, or of a replaced head.",
    source="torch.optim.Optimizer",
    fix="Create the optimiser from this network's parameters, after the last change of its layers.",
)
def foreign_parameters(examination: Examination) -> Iterator[Issue]:
    """Parameters in the optimiser that are not in the network; an error if none of its own is there."""
    groups = _group_counts(examination)
    own = {id(parameter) for parameter in examination.network.parameters()}
    foreign = [key for key in groups if key not in own]
    if foreign:
        severity = "warning" if len(foreign) < len(groups) else "error"
        yield Issue((), f"{len(foreign)} of {len(groups)} parameters in the optimiser are not in the network", severity)


@register_rule(
    "weight decay on batch norm",
    "advice",
    needs=("optimizer",),
    why="Decay pulls scales to 0, not to their neutral 1; it does not regularise, as the next layer can undo it.",
    source="He et al. 2019, Bag of Tricks for Image Classification, arXiv:1812.01187, section 3.1",
    fix="Use two groups: weights with two axes or more with decay; scales, shifts and biases with weight_decay=0.",
    only_with=(_BatchNorm,),
)
def weight_decay_on_batch_norm(examination: Examination) -> Iterator[Issue]:
    """Scales and shifts of batch norm in a group with weight decay."""
    groups = [group for optimizer in examination.optimizers or () for group in optimizer.param_groups]
    decayed = {id(p): float(g["weight_decay"]) for g in groups if g.get("weight_decay") for p in g["params"]}
    places = {
        path: decayed[id(parameter)]
        for path, norm in examination.batch_norms.items()
        for parameter in norm.parameters(recurse=False)
        if id(parameter) in decayed and parameter.requires_grad
    }
    if places:
        yield Issue(tuple(places), f"weight decay {max(places.values()):g} on batch norms: {len(places)}")


@register_rule(
    "learning rate out of range",
    "error",
    "warning",
    needs=("optimizer",),
    why="At a rate of 0 nothing changes; far too small a rate changes nothing that float32 can hold; far too large a "
    "rate destroys pretrained weights in the first steps.",
    source="Smith 2017, Cyclical Learning Rates, arXiv:1506.01186, section 3.3",
    fix="Start from 1e-3 for Adam (eps=1e-8) and 1e-2 for SGD, or find one: StepByStep.lr_range_test.",
)
def learning_rate_out_of_range(examination: Examination) -> Iterator[Issue]:
    """Rates of groups with trained parameters; a schedule may begin at 0, which its `initial_lr` shows."""
    rates = [_planned(group) for group in _trained_groups(examination) if _planned(group) > 0]
    if rates and max(rates) > _APART * min(rates):
        yield Issue((), f"learning rates from {min(rates):g} to {max(rates):g} in one optimiser", "warning")
    for group in _trained_groups(examination):
        rate, planned = float(group["lr"]), _planned(group)
        high = _HIGH_ADAPTIVE if _is_adaptive(group) else _HIGH
        if not math.isfinite(rate) or rate < 0 or planned == 0:
            yield Issue((), f"a learning rate of {rate:g}", "error")
        elif planned < _LOW:
            yield Issue((), f"a learning rate of {planned:g}: the steps are lost in rounding", "error")
        elif rate >= high:
            severity = "error" if rate >= 10 * high else "warning"
            yield Issue((), f"a learning rate of {rate:g}; above {high:g} training hardly ever survives", severity)
        if _is_adaptive(group) and float(group.get("eps") or 0) > _HIGH_EPSILON:
            eps = float(group["eps"])
            yield Issue((), f"eps of {eps:g} divides each step: the rate is in effect {planned / eps:.1g}", "warning")


def _planned(group: dict[str, Any]) -> float:
    """The rate of a group, or where a schedule has begun that which it began with."""
    rate = float(group["lr"])
    return max(rate, float(group.get("initial_lr", rate)))


@register_rule(
    "weight decay out of range",
    "warning",
    needs=("optimizer",),
    why="Decay pulls every weight to 0 in each step: strong decay wins over the gradient, and the weights are gone "
    "within an epoch.",
    source="Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, arXiv:1711.05101",
    fix="Use 1e-4 to 5e-4 with SGD and Adam, 0.01 to 0.1 with AdamW.",
)
def weight_decay_out_of_range(examination: Examination) -> Iterator[Issue]:
    """Decay of 1 or more, or rate times decay so large that weights are halved within 70 steps."""
    for group in _trained_groups(examination):
        decay, rate = float(group.get("weight_decay", 0) or 0), float(group["lr"])
        if decay >= _DECAY or decay < 0 or rate * decay > _SHRINK:
            yield Issue((), f"weight decay of {decay:g} at a learning rate of {rate:g}")


@register_rule(
    "momentum out of range",
    "error",
    "warning",
    needs=("optimizer",),
    why="Momentum is the share of the last step that the next one keeps: at 1 or more steps add up without end. Adam "
    "divides by a mean of squared gradients that must be longer than that of the gradients.",
    source="Sutskever et al. 2013, On the importance of initialization and momentum in deep learning, section 2",
    fix="Use 0.9 for SGD; (0.9, 0.999) for Adam.",
)
def momentum_out_of_range(examination: Examination) -> Iterator[Issue]:
    """Momentum, or a beta, that is not in [0, 1); a second beta below the first, or one that remembers nothing."""
    for group in _trained_groups(examination):
        shares = [float(one) for one in (group.get("momentum", 0) or 0, *(group.get("betas") or ()))]
        wrong = [share for share in shares if not 0 <= share < 1]
        if wrong:
            yield Issue((), f"momentum of {wrong[0]:g}", "error")
        elif _is_short(group.get("betas")):
            first, second = (float(one) for one in group["betas"])
            yield Issue((), f"betas of {first:g} and {second:g}: the second is the longer one, as 0.999", "warning")


@register_rule(
    "gradient ascent",
    "error",
    needs=("optimizer",),
    why="With maximize=True each step makes the loss larger.",
    source="torch.optim: maximize",
    fix="Leave maximize out; it is for objectives, which a loss is not.",
)
def gradient_ascent(examination: Examination) -> Iterator[Issue]:
    """Groups with trained parameters that climb."""
    climbing = sum(bool(group.get("maximize")) for group in _trained_groups(examination))
    if climbing:
        yield Issue((), f"groups with maximize=True: {climbing}")


def _trained_groups(examination: Examination) -> list[dict[str, Any]]:
    """Groups that hold a parameter which is trained."""
    groups = [group for optimizer in examination.optimizers or () for group in optimizer.param_groups]
    return [group for group in groups if any(one.requires_grad for one in group["params"])]


def _is_short(betas: Any) -> bool:
    """Whether Adam's mean of squares is shorter than that of gradients, or hardly one."""
    return isinstance(betas, (tuple, list)) and len(betas) == 2 and float(betas[1]) < max(float(betas[0]) - 0.05, 0.5)


def _is_adaptive(group: dict[str, Any]) -> bool:
    """Whether steps are divided by the size of the gradient, so that the rate is the size of a step."""
    return "betas" in group or ("alpha" in group and "centered" in group)


def _group_counts(examination: Examination) -> Counter[int]:
    """Identity of a parameter → how many groups hold it."""
    optimizers = examination.optimizers or ()
    return Counter(id(p) for one in optimizers for group in one.param_groups for p in group["params"])
