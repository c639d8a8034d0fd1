"""Frozen means frozen: weights, batch-norm statistics and dropout as one, and it travels with the module.

`requires_grad=False` alone stops the optimiser; batch norm's running statistics go on drifting in train mode, and
dropout goes on dropping. Here a frozen module answers `.train()` by staying in eval mode, whoever calls it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from headstart.errors import TrainingError, near


@runtime_checkable
class Staged(Protocol):
    """A network whose stages have names besides those of its modules, such as a Backbone."""

    network: nn.Module

    def child_of(self, name: str) -> str:
        """Path of the first module of a stage; a module's own path stands for itself."""
        ...


@dataclass(frozen=True)
class FreezePolicy:
    """What of a module is frozen, by names, so that a checkpoint can keep it.

    Args:
        modules: paths of the frozen modules, everything in them included.
        partly: paths of modules that have frozen and trained children; their own tensors are frozen.
        tensors: names of the frozen parameters and buffers.
    """

    modules: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, list[str]]:
        """Plain values for JSON and checkpoints."""
        return {"modules": list(self.modules), "partly": list(self.partly), "tensors": list(self.tensors)}

    def apply(self, module: nn.Module) -> None:
        """Freeze exactly what this policy names, and thaw the rest that was frozen.

        Raises:
            TrainingError: the module has no part of that name.
        """
        for name in (*self.modules, *self.partly):
            _part(module, name)
        if policy_of(module) == self:
            return
        thaw(module)
        for name in self.modules:
            _hold(_part(module, name))
        for name in self.partly:
            _mark(_part(module, name), whole=False)

    def digests(self, module: nn.Module) -> dict[str, str]:
        """SHA-256 (hex) of every frozen tensor by name: take them before and after, and compare."""
        state = _tensors(module)
        return {name: _sha256(state[name]) for name in self.tensors}

    def changed(self, module: nn.Module, before: Mapping[str, str]) -> tuple[str, ...]:
        """Names of the frozen tensors that are no longer what `digests` found before."""
        return tuple(name for name, digest in self.digests(module).items() if before.get(name) != digest)

    def __str__(self) -> str:
        return f"frozen: {', '.join(self.modules) or 'nothing'} ({len(self.tensors)} tensors)"


def freeze(module: nn.Module | Staged, until: str | None = None) -> FreezePolicy:
    """Freeze every part before the named child: weights, batch-norm statistics, dropout.

    "Before" is the order in which the children were registered. The freeze holds in every later `.train()`, in copies,
    and when the module becomes part of another. A `Backbone` is loaded with all gradients off: its rest is thawed.

    Args:
        until: path of the first part that trains, such as `layer4` or `features.12`, or a stage of a Backbone; None:
            all is frozen.

    Raises:
        TrainingError: there is no such part.
    """
    network, path = _resolve(module, until)
    for part in _parts_before(network, path):
        _hold(part)
    for part in _ancestors(network, path):
        _mark(part, whole=False)
    if path is not None and not isinstance(module, nn.Module):
        thaw(network, until=path)
    return policy_of(network)


def thaw(module: nn.Module | Staged, until: str | None = None) -> FreezePolicy:
    """Let parts train again: all, or only the named child and what comes after it.

    Args:
        until: path up to which the freeze stays, as for `freeze`; None: nothing stays frozen.

    Raises:
        TrainingError: there is no such part.
    """
    network, path = _resolve(module, until)
    before = list(_parts_before(network, path)) if path is not None else []
    around = list(_ancestors(network, path))
    kept = {id(inner) for part in before for inner in part.modules()} | {id(part) for part in around}
    for part in around:
        if _is_frozen(part):  # its own tensors stay frozen, what it holds no longer does
            vars(part)["train"] = StaysFrozen(part, whole=False)
    held = [tensor for part in network.modules() if id(part) in kept for tensor in part.parameters(recurse=False)]
    for part in network.modules():
        if id(part) in kept:
            continue
        if vars(part).pop("train", None) is not None:
            part.training = network.training
        for parameter in part.parameters(recurse=False):
            if parameter.is_floating_point() and not any(parameter is other for other in held):
                parameter.requires_grad_(True)
    return policy_of(network)


def policy_of(module: nn.Module) -> FreezePolicy:
    """What of a module is frozen now."""
    whole = {name for name, part in module.named_modules() if _is_frozen(part)}
    partly = {name for name, part in module.named_modules() if isinstance(vars(part).get("train"), StaysFrozen)} - whole
    outermost = [name for name in whole if not any(_inside(name, other) for other in whole)]
    names = [
        name
        for name in _tensors(module)
        if (home := name.rpartition(".")[0]) in whole or (home in partly and name in dict(module.named_parameters()))
    ]
    order = [name for name, _ in module.named_modules()]
    return FreezePolicy(tuple(sorted(outermost, key=order.index)), tuple(sorted(partly, key=order.index)), tuple(names))


class StaysFrozen:
    """Stands in for the `train` of a frozen module; a plain object, so that copies and pickles of it keep it."""

    def __init__(self, module: nn.Module, whole: bool) -> None:
        self.module = module
        self.whole = whole

    def __call__(self, mode: bool = True) -> nn.Module:
        """What `module.train(mode)` does instead: eval mode where all is frozen, and no gradients."""
        type(self.module).train(self.module, mode and not self.whole)
        _stop_gradients(self.module)
        return self.module


def _mark(module: nn.Module, whole: bool) -> None:
    if not (_is_frozen(module) and not whole):
        vars(module)["train"] = StaysFrozen(module, whole)
    _stop_gradients(module)


def _stop_gradients(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.requires_grad_(False)
        parameter.grad = None  # an optimiser would still take a step along it


def _hold(module: nn.Module) -> None:
    for part in module.modules():
        _mark(part, whole=True)
    module.eval()


def _is_frozen(module: nn.Module) -> bool:
    stays = vars(module).get("train")
    return isinstance(stays, StaysFrozen) and stays.whole


def _resolve(module: nn.Module | Staged, until: str | None) -> tuple[nn.Module, str | None]:
    if isinstance(module, nn.Module):
        network, path = module, until
    else:
        network, path = module.network, None if until is None else module.child_of(until)
    if path is not None:
        _part(network, path)
    return network, path


def _part(module: nn.Module, path: str) -> nn.Module:
    known: dict[str, nn.Module] = dict(module.named_modules())
    if path in known:
        return known[path]
    children = ", ".join(name for name, _ in module.named_children())
    raise TrainingError(
        expected=f"a part of {type(module).__name__}",
        found=repr(path),
        where="until",
        hint=f"{near(path, [name for name in known if name])} Its children are: {children}.",
    )


def _parts_before(module: nn.Module, path: str | None) -> Iterator[nn.Module]:
    """The outermost modules that come before a path; without one, the module itself."""
    if path is None:
        yield module
        return
    first, _, rest = path.partition(".")
    for name, child in module.named_children():
        if name == first:
            if rest:
                yield from _parts_before(child, rest)
            return
        yield child


def _ancestors(module: nn.Module, path: str | None) -> Iterator[nn.Module]:
    """The modules that hold a path, from the outside: their own tensors (a class token) come before their children."""
    steps = [] if path is None else path.split(".")
    for step in steps:
        yield module
        module = module.get_submodule(step)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _inside(name: str, other: str) -> bool:
    return name != other and (other == "" or name.startswith(other + "."))


def _sha256(tensor: Tensor) -> str:
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy().tobytes()).hexdigest()
