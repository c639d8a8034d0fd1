"""Rules about the weights themselves: finite, in a precision that the device computes, registered, and used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, register_rule


@register_rule(
    "non-finite weights",
    "error",
    why="One nan or infinity spreads to every output; a negative variance has no square root.",
    source="IEEE 754; torch.nn.BatchNorm2d",
    fix="Load the weights again; if training caused it, lower the learning rate or clip gradients, and restart from an "
    "earlier checkpoint.",
)
def non_finite_weights(examination: Examination) -> Iterator[Issue]:
    """Parameters and buffers that are not finite, running variances below zero."""
    bad = examination.non_finite
    if bad:
        yield Issue(bad, f"tensors with nan or infinity: {len(bad)}")
    variances = {path: norm.running_var for path, norm in examination.batch_norms.items()}
    below = tuple(path for path, value in variances.items() if value is not None and bool((value < 0).any()))
    if below:
        yield Issue(below, f"batch norms with a negative running variance: {len(below)}")


@register_rule(
    "half precision on the CPU",
    "warning",
    why="On a CPU half precision is slow or unavailable, and sums in float16 overflow at 65,504.",
    source="torch.amp: half precision is for autocast, with weights in float32",
    fix="Call network.float(); on a GPU keep the weights in float32 and use autocast.",
)
def half_on_cpu(examination: Examination) -> Iterator[Issue]:
    """Weights in float16 or bfloat16 in the CPU's memory."""
    half = (torch.float16, torch.bfloat16)
    tensors = examination.tensors
    found = [name for name, value in tensors.items() if value.dtype in half and value.device.type == "cpu"]
    if found:
        yield Issue(tuple(found), f"tensors in half precision: {len(found)}")


@register_rule(
    "unregistered modules",
    "warning",
    "advice",
    why="Layers in a plain list or dictionary are not trained, saved, moved to a device or put in eval mode.",
    source="torch.nn.ModuleList",
    fix="Keep them in nn.ModuleList or nn.ModuleDict; learned tensors in nn.Parameter.",
)
def unregistered_modules(examination: Examination) -> Iterator[Issue]:
    """Modules with parameters, and tensors that require a gradient, in attributes that are not registered."""
    known = {id(module) for module in examination.modules.values()}
    found = []
    for path, module in examination.modules.items():
        for name, value in vars(module).items():
            if not name.startswith("_") and any(_is_hidden(one, known) for one in _items(value)):
                found.append(f"{path}.{name}".lstrip("."))
    if found:
        yield Issue(tuple(found), f"attributes with layers or weights that are not registered: {len(found)}")
    plain = [name for name, value in _plain_tensors(examination) if value.is_floating_point() and value.ndim > 1]
    if plain:
        text = f"tensors that are neither parameter nor buffer: {len(plain)}; they are not trained, saved or moved"
        yield Issue(tuple(plain), text, "advice")


def _plain_tensors(examination: Examination) -> Iterator[tuple[str, Tensor]]:
    """Attributes that are tensors without a gradient."""
    for path, module in examination.modules.items():
        for name, value in vars(module).items():
            if name.startswith("_"):
                continue
            hidden = [one for one in _items(value) if isinstance(one, Tensor) and not isinstance(one, nn.Parameter)]
            yield from ((f"{path}.{name}".lstrip("."), one) for one in hidden if not one.requires_grad)


def _items(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple, set)) else [value]


def _is_hidden(value: object, known: set[int]) -> bool:
    if isinstance(value, nn.Module):
        return id(value) not in known and any(True for _ in value.parameters())
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and value.requires_grad and value.is_leaf


@register_rule(
    "shared layers",
    "warning",
    why="One layer that stands in a list several times has one set of weights: [layer] * 3 makes no copies, and the "
    "network has a third of the parameters it seems to have.",
    source="Python: a list repeats references; torch.nn.Module.named_parameters lists each once",
    fix="Build each of them: nn.Sequential(*[make() for _ in range(3)]), or copy.deepcopy.",
)
def shared_layers(examination: Examination) -> Iterator[Issue]:
    """A layer with parameters that a Sequential or ModuleList holds more than once."""
    found = []
    for path, module in examination.modules.items():
        if isinstance(module, (nn.Sequential, nn.ModuleList)):
            names: dict[int, list[str]] = {}
            for name, child in module._modules.items():  # named_children leaves repetitions out
                if child is not None and any(True for _ in child.parameters()):
                    names.setdefault(id(child), []).append(f"{path}.{name}".lstrip("."))
            found += [name for same in names.values() if len(same) > 1 for name in same[1:]]
    if found:
        yield Issue(tuple(found), f"entries that are a layer from before: {len(found)}")


@register_rule(
    "unused parameters",
    "advice",
    why="Trained parameters that the forward pass does not use get no gradient; distributed training stops on them.",
    source="torch.nn.parallel.DistributedDataParallel, find_unused_parameters",
    fix="Remove or freeze them; auxiliary heads, which run only in training, are fine.",
)
def unused_parameters(examination: Examination) -> Iterator[Issue]:
    """Parameters that require a gradient and that no operation of a forward pass in eval mode takes."""
    used = {name for operation in examination.graph.operations for name in operation.tensors}
    trained = examination.trained
    unused = [name for name in trained if name not in used]
    paths = tuple(dict.fromkeys(name.rpartition(".")[0] or name for name in unused))
    if unused:
        yield Issue(paths, f"{len(unused)} of {len(trained)} trained parameters")
