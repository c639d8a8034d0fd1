"""freeze and thaw: weights, batch-norm statistics and dropout together, in a state that stays with the module.

`requires_grad=False` alone stops the optimizer; batch norm's running statistics still change in train mode, and dropout
still drops. Here a frozen module stays in eval mode when `.train()` is called, by anyone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from headstart.errors import TrainingError, near
from headstart.plain import Plain
from headstart.public_api import public_api


@runtime_checkable
class Staged(Protocol):
    """A network with named stages, such as a Backbone."""

    @property
    def network(self) -> nn.Module:
        """The whole network."""
        ...

    def child_of(self, name: str) -> str:
        """Path of the first module of a stage; the path of a module is returned unchanged."""
        ...


@dataclass(frozen=True)
class FreezePolicy(Plain):
    """Which parts of a module are frozen, by name, so that a checkpoint can hold it.

    Args:
        modules: paths of the frozen modules, everything in them included.
        partly: paths of modules that have frozen and trained children; their own tensors are frozen.
        tensors: names of the frozen parameters and buffers.
    """

    modules: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()

    def apply(self, module: nn.Module) -> None:
        """Freeze exactly what this policy names, and thaw the rest.

        Raises:
            TrainingError: the module has no submodule of that name.
        """
        for name in (*self.modules, *self.partly):
            _submodule(module, name)
        if policy_of(module) == self:
            return
        thaw(module)
        for name in self.modules:
            _freeze(_submodule(module, name))
        for name in self.partly:
            _mark(_submodule(module, name), whole=False)

    def digests(self, module: nn.Module) -> dict[str, str]:
        """SHA-256 (hex) of every frozen tensor by name, to compare before and after."""
        state = _tensors(module)
        return {name: _sha256(state[name]) for name in self.tensors}

    def changed(self, module: nn.Module, before: Mapping[str, str]) -> tuple[str, ...]:
        """Names of the frozen tensors that differ from those that `digests` found before."""
        return tuple(name for name, digest in self.digests(module).items() if before.get(name) != digest)

    def __str__(self) -> str:
        return f"frozen: {', '.join(self.modules) or 'nothing'} ({len(self.tensors)} tensors)"


@public_api
def freeze(module: nn.Module | Staged, until: str | None = None) -> FreezePolicy:
    """Freeze every module before the named one: weights, batch-norm statistics, dropout.

    "Before" is the order in which the children were registered. They stay frozen in every later `.train()`, in copies,
    and inside another module. A `Backbone` is loaded with all gradients off: the modules after the boundary are thawed.

    Args:
        until: path of the first module that trains, such as `layer4` or `features.12`, or a stage of a Backbone, such
            as `stage4`; None: all is frozen.

    Raises:
        TrainingError: there is no such module. BackboneError: a Backbone has no such stage or module.
    """
    network, path = _resolve(module, until)
    for module_before in _modules_before(network, path):
        _freeze(module_before)
    for ancestor in _ancestors(network, path):
        _mark(ancestor, whole=False)
    if path is not None and not isinstance(module, nn.Module):
        thaw(network, until=path)
    return policy_of(network)


@public_api
def thaw(module: nn.Module | Staged, until: str | None = None) -> FreezePolicy:
    """Let modules train again: all, or only the named one and those after it.

    Args:
        until: path of the first module that trains again, as for `freeze`; None: nothing stays frozen.

    Raises:
        TrainingError: there is no such module. BackboneError: a Backbone has no such stage or module.
    """
    network, path = _resolve(module, until)
    before = list(_modules_before(network, path)) if path is not None else []
    ancestors = list(_ancestors(network, path))
    kept = {id(inner) for one in before for inner in one.modules()} | {id(ancestor) for ancestor in ancestors}
    for ancestor in ancestors:
        if _is_frozen(ancestor):  # its own tensors stay frozen, its children do not
            vars(ancestor)["train"] = StaysFrozen(ancestor, whole=False)
    frozen = {id(tensor) for one in network.modules() if id(one) in kept for tensor in one.parameters(recurse=False)}
    for one in network.modules():
        if id(one) in kept:
            continue
        if vars(one).pop("train", None) is not None:
            one.training = network.training
        for parameter in one.parameters(recurse=False):
            if parameter.is_floating_point() and id(parameter) not in frozen:
                parameter.requires_grad_(True)
    return policy_of(network)


def policy_of(module: nn.Module) -> FreezePolicy:
    """Which parts of a module are frozen now."""
    whole = {name for name, one in module.named_modules() if _is_frozen(one)}
    partly = {name for name, one in module.named_modules() if isinstance(vars(one).get("train"), StaysFrozen)} - whole
    outermost = [name for name in whole if not any(_inside(name, other) for other in whole)]
    names = [
        name
        for name in _tensors(module)
        if (home := name.rpartition(".")[0]) in whole or (home in partly and name in dict(module.named_parameters()))
    ]
    order = [name for name, _ in module.named_modules()]
    return FreezePolicy(tuple(sorted(outermost, key=order.index)), tuple(sorted(partly, key=order.index)), tuple(names))


class StaysFrozen:
    """Replaces the `train` method of a frozen module; an object, so that copies and pickles of the module keep it."""

    def __init__(self, module: nn.Module, whole: bool) -> None:
        self.module = module
        self.whole = whole

    def __call__(self, mode: bool = True) -> nn.Module:
        """`module.train(mode)` of a frozen module: eval mode where all of it is frozen, and no gradients."""
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
        parameter.grad = None  # an optimizer would still take a step along it


def _freeze(module: nn.Module) -> None:
    for inner in module.modules():
        _mark(inner, whole=True)
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
        _submodule(network, path)
    return network, path


def _submodule(module: nn.Module, path: str) -> nn.Module:
    known: dict[str, nn.Module] = dict(module.named_modules())
    if path in known:
        return known[path]
    children = ", ".join(name for name, _ in module.named_children())
    raise TrainingError(
        expected=f"a module of {type(module).__name__}",
        found=repr(path),
        where="until",
        hint=f"{near(path, [name for name in known if name])} Its children are: {children}.",
    )


def _modules_before(module: nn.Module, path: str | None) -> Iterator[nn.Module]:
    """The outermost modules that come before a path; without one, the module itself."""
    if path is None:
        yield module
        return
    first, _, rest = path.partition(".")
    for name, child in module.named_children():
        if name == first:
            if rest:
                yield from _modules_before(child, rest)
            return
        yield child


def _ancestors(module: nn.Module, path: str | None) -> Iterator[nn.Module]:
    """The modules that contain a path, outermost first: their own tensors (a class token) precede their children."""
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


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor of any type, without a copy where it is on the CPU."""
    flat = tensor.detach().cpu().contiguous()
    # a tensor of one number or none is contiguous whatever its stride, and `view` wants a stride of 1
    data: memoryview = flat.as_strided((flat.numel(),), (1,)).view(torch.uint8).numpy().data
    return data


def _sha256(tensor: Tensor) -> str:
    return hashlib.sha256(tensor_bytes(tensor)).hexdigest()
