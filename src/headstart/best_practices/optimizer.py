"""Rules about the optimiser: every trained parameter in one, in one only, and no decay where it harms. By identity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, rule


@rule(
    "parameters in no optimiser",
    "error",
    needs=("optimizer",),
    why="They get gradients and never move: mostly a head that was replaced, or a part thawed, after the optimiser was "
    "made.",
    source="torch.optim.Optimizer",
    fix="Make the optimiser last, or add them: optimizer.add_param_group({'params': ...}); or freeze them.",
)
def parameters_in_no_optimiser(case: Examination) -> Iterator[Issue]:
    """Parameters that ask for a gradient and are in no group."""
    held = _held(case)
    missing = tuple(name for name, parameter in case.trained.items() if id(parameter) not in held)
    if missing:
        yield Issue(missing, f"{len(missing)} of {len(case.trained)} trained parameters are in no group")


@rule(
    "parameters in two optimisers",
    "warning",
    needs=("optimizer",),
    why="Each step is taken twice, with two momenta: the learning rate is not the one you set.",
    source="torch.optim.Optimizer",
    fix="Give each parameter to one optimiser and one group.",
)
def parameters_in_two_optimisers(case: Examination) -> Iterator[Issue]:
    """Parameters that several groups hold."""
    held = _held(case)
    twice = tuple(name for name, parameter in case.network.named_parameters() if held[id(parameter)] > 1)
    if twice:
        yield Issue(twice, f"parameters are held more than once: {len(twice)}")


@rule(
    "parameters of another network",
    "warning",
    "error",
    needs=("optimizer",),
    why="The optimiser moves tensors that this network does not use: those of a copy, or of a head that was replaced.",
    source="torch.optim.Optimizer",
    fix="Make the optimiser from this network's parameters, after the last change of its layers.",
)
def parameters_of_another_network(case: Examination) -> Iterator[Issue]:
    """Parameters in the optimiser that are not in the network; an error if none of its own is there."""
    held = _held(case)
    own = {id(parameter) for parameter in case.network.parameters()}
    strange = [key for key in held if key not in own]
    if strange:
        severity = "warning" if len(strange) < len(held) else "error"
        yield Issue((), f"{len(strange)} of {len(held)} parameters in the optimiser are not in the network", severity)


@rule(
    "weight decay on batch norm",
    "advice",
    needs=("optimizer",),
    why="Decay pulls scales to 0, not to their neutral 1; it regularises nothing, for the layer behind can undo it.",
    source="He et al. 2019, Bag of Tricks for Image Classification, arXiv:1812.01187, section 3.1",
    fix="Two groups: weights with more than one axis with decay, scales, shifts and biases with weight_decay=0.",
    only_with=(_BatchNorm,),
)
def weight_decay_on_batch_norm(case: Examination) -> Iterator[Issue]:
    """Scales and shifts of batch norm in a group with weight decay."""
    groups = [group for optimizer in case.optimizers or () for group in optimizer.param_groups]
    decayed = {id(p): float(g["weight_decay"]) for g in groups if g.get("weight_decay") for p in g["params"]}
    places = {
        path: decayed[id(parameter)]
        for path, norm in case.batch_norms.items()
        for parameter in norm.parameters(recurse=False)
        if id(parameter) in decayed and parameter.requires_grad
    }
    if places:
        yield Issue(tuple(places), f"weight decay {max(places.values()):g}; batch norms: {len(places)}")


def _held(case: Examination) -> Counter[int]:
    """Identity of a parameter → how many groups hold it."""
    optimizers = case.optimizers or ()
    return Counter(id(p) for one in optimizers for group in one.param_groups for p in group["params"])
