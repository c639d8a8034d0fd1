"""Rules about the weights themselves: numbers at all, fit for this device, known to the network, of use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, rule


@rule(
    "weights that are no numbers",
    "error",
    why="One nan or infinity spreads to every answer; a variance below zero has no root.",
    source="IEEE 754; torch.nn.BatchNorm2d",
    fix="Load the weights again; if training made them, lower the learning rate or clip gradients, and go back to an "
    "earlier checkpoint.",
)
def weights_no_numbers(case: Examination) -> Iterator[Issue]:
    """Parameters and buffers that are not finite, running variances below zero."""
    floats = {name: value for name, value in case.tensors.items() if value.is_floating_point()}
    bad = tuple(name for name, value in floats.items() if not bool(torch.isfinite(value).all()))
    if bad:
        yield Issue(bad, f"tensors with nan or infinity: {len(bad)}")
    below = [p for p, n in case.batch_norms.items() if n.running_var is not None and bool((n.running_var < 0).any())]
    if below:
        yield Issue(tuple(below), f"batch norms with a running variance below zero: {len(below)}")


@rule(
    "half precision on the CPU",
    "warning",
    why="On a CPU half precision is slow or not to be had, and sums in float16 overflow at 65,504.",
    source="torch.amp: half precision is for autocast, with weights in float32",
    fix="network.float(); on a GPU keep the weights in float32 and use autocast.",
)
def half_on_cpu(case: Examination) -> Iterator[Issue]:
    """Weights in float16 or bfloat16 that lie in the CPU's memory."""
    half = (torch.float16, torch.bfloat16)
    found = [name for name, value in case.tensors.items() if value.dtype in half and value.device.type == "cpu"]
    if found:
        yield Issue(tuple(found), f"tensors in half precision: {len(found)}")


@rule(
    "modules that the network does not know",
    "warning",
    why="Layers in a plain list or dictionary are neither trained, saved, moved to a device nor put in eval mode.",
    source="torch.nn.ModuleList",
    fix="Keep them in nn.ModuleList or nn.ModuleDict; tensors that are learned in nn.Parameter.",
)
def unknown_modules(case: Examination) -> Iterator[Issue]:
    """Modules with parameters, and tensors that ask for a gradient, in attributes that are not registered."""
    known = {id(module) for module in case.modules.values()}
    found = []
    for path, module in case.modules.items():
        for name, value in vars(module).items():
            if not name.startswith("_") and any(_is_hidden(one, known) for one in _held(value)):
                found.append(f"{path}.{name}".lstrip("."))
    if found:
        yield Issue(tuple(found), f"attributes hold layers or weights that are not registered: {len(found)}")


def _held(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple, set)) else [value]


def _is_hidden(value: object, known: set[int]) -> bool:
    if isinstance(value, nn.Module):
        return id(value) not in known and any(True for _ in value.parameters())
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and value.requires_grad and value.is_leaf


@rule(
    "parameters that are not used",
    "advice",
    why="Trained parameters that the forward pass does not touch get no gradient; distributed training stops on them.",
    source="torch.nn.parallel.DistributedDataParallel, find_unused_parameters",
    fix="Remove or freeze what is not used; auxiliary heads, which run while training only, are meant so.",
)
def parameters_not_used(case: Examination) -> Iterator[Issue]:
    """Parameters that ask for a gradient and that nothing reads in a forward pass in eval mode."""
    read = {name for step in case.trace.steps for name in step.tensors}
    unused = [name for name in case.trained if name not in read]
    paths = tuple(dict.fromkeys(name.rpartition(".")[0] or name for name in unused))
    if unused:
        yield Issue(paths, f"{len(unused)} of {len(case.trained)} trained parameters")
