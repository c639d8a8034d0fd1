"""preserve: modules, gradients, optimizer and random numbers, saved and restored around an analysis."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

_Arrays = tuple[str, NDArray[np.uint32], int, int, float]


@contextmanager
def preserve(
    *modules: nn.Module,
    optimizer: Optimizer | None = None,
    generators: Sequence[torch.Generator] = (),
    weights: bool = True,
) -> Iterator[None]:
    """Restore modules, optimizer and random numbers at the end, whatever happens inside, also after an error.

    Tensors are restored in place, so that references to a parameter stay valid.

    Args:
        modules: each with everything in it: parameters, buffers, gradients, `requires_grad`, modes.
        optimizer: its state, its groups, and its `step`, which a scheduler wraps.
        generators: random number generators besides the global ones of torch, numpy and Python.
        weights: False if weights and buffers cannot change (a forward pass in eval mode): no copy of them is needed.
    """
    with ExitStack() as after:
        after.callback(keep_random(generators))
        if optimizer is not None:
            after.callback(_keep_optimizer(optimizer))
        for module in modules:
            after.callback(keep_module(module, weights))
        yield


@contextmanager
def torch_settings_kept() -> Iterator[None]:
    """torch's global switches that code from outside may leave turned: gradients, and the type of new tensors."""
    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)


@dataclass(frozen=True)
class RandomState:
    """The state of all random number generators, as plain values and tensors that a checkpoint can hold.

    Args:
        cpu: torch's. gpus: torch's of every GPU. arrays: numpy's kind, keys, position, and its cached normal number.
        python: of `random.getstate`. generators: of the given ones, in their order.
    """

    cpu: Tensor
    gpus: tuple[Tensor, ...]
    arrays: tuple[str, Tensor, int, int, float]
    python: tuple[Any, ...]
    generators: tuple[Tensor, ...]

    @classmethod
    def now(cls, generators: Sequence[torch.Generator] = ()) -> RandomState:
        """The present state of the global generators and of the given ones."""
        used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # a query would initialize an unused GPU
        gpus = tuple(torch.cuda.get_rng_state_all()) if used else ()
        kind, keys, position, has_gauss, gauss = cast(_Arrays, np.random.get_state(legacy=True))
        arrays = (kind, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss))
        own = tuple(generator.get_state() for generator in generators)
        return cls(cpu=torch.get_rng_state(), gpus=gpus, arrays=arrays, python=random.getstate(), generators=own)

    def restore(self, generators: Sequence[torch.Generator] = ()) -> None:
        """Set all generators to this state; GPUs that are not here are left out."""
        torch.set_rng_state(self.cpu)
        if self.gpus and torch.cuda.device_count() == len(self.gpus):
            torch.cuda.set_rng_state_all(list(self.gpus))
        kind, keys, position, has_gauss, gauss = self.arrays
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
        random.setstate(self.python)
        for generator, state in zip(generators, self.generators, strict=False):
            generator.set_state(state)


def keep_random(generators: Sequence[torch.Generator] = ()) -> Callable[[], None]:
    """Save the state of the random numbers; the returned function restores it."""
    state = RandomState.now(generators)
    return lambda: state.restore(generators)


def keep_module(module: nn.Module, weights: bool = True) -> Callable[[], None]:
    """Save a module, see `preserve`; the returned function restores it."""
    modes = [(inner, inner.training) for inner in module.modules()]
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in module.parameters()]
    grads = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    tensors = [*module.parameters(), *module.buffers()] if weights else []
    copies = [(tensor, tensor.detach().clone()) for tensor in (*tensors, *grads)]

    def restore() -> None:
        with torch.no_grad():
            for tensor, value in copies:
                tensor.copy_(value)
            for parameter, wanted, grad in parameters:
                if parameter.requires_grad != wanted:  # weights of inference mode cannot be asked to stay as they are
                    parameter.requires_grad_(wanted)
                parameter.grad = grad
        for inner, mode in modes:
            inner.training = mode  # not .train(): it would reach into children, and a frozen module has its own

    return restore


def _keep_optimizer(optimizer: Optimizer) -> Callable[[], None]:
    state = copy.deepcopy(optimizer.state_dict())
    own: dict[str, Any] = {name: vars(optimizer)[name] for name in ("step", "_opt_called") if name in vars(optimizer)}

    def restore() -> None:
        optimizer.load_state_dict(state)
        for name in ("step", "_opt_called"):
            vars(optimizer).pop(name, None)  # a scheduler made inside has wrapped it
        vars(optimizer).update(own)

    return restore
