"""Rules about the optimiser: every trained parameter in one group, and weight decay only where it helps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, register_rule


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


def _group_counts(examination: Examination) -> Counter[int]:
    """Identity of a parameter → how many groups hold it."""
    optimizers = examination.optimizers or ()
    return Counter(id(p) for one in optimizers for group in one.param_groups for p in group["params"])
