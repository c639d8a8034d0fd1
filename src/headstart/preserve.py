"""All that a look at a network could change, kept and put back: tensors, gradients, optimiser, modes, chance."""

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
    """Leave modules, optimiser and random numbers as they were, whatever happens inside, also when it fails.

    Tensors are written back in place, so that everybody who holds a parameter still holds the right one.

    Args:
        modules: each with all that lies in it: parameters, buffers, gradients, `requires_grad`, modes.
        optimizer: its state, its groups, and its `step`, which a scheduler wraps.
        generators: random number generators besides the global ones of torch, numpy and Python.
        weights: False where weights and buffers cannot change (a forward pass in eval mode): saves a copy of them.
    """
    with ExitStack() as after:
        after.callback(keep_random(generators))
        if optimizer is not None:
            after.callback(_keep_optimizer(optimizer))
        for module in modules:
            after.callback(_keep_module(module, weights))
        yield


@dataclass(frozen=True)
class RandomState:
    """Where all random numbers stand; plain values and tensors, so that a checkpoint can hold it.

    Args:
        cpu: torch's. gpus: torch's of every GPU. arrays: numpy's kind, keys, position, and its waiting normal number.
        python: as `random.getstate` gives it. generators: of those that were named, in their order.
    """

    cpu: Tensor
    gpus: tuple[Tensor, ...]
    arrays: tuple[str, Tensor, int, int, float]
    python: tuple[Any, ...]
    generators: tuple[Tensor, ...]

    @classmethod
    def now(cls, generators: Sequence[torch.Generator] = ()) -> RandomState:
        """The present state of the global generators and of the named ones."""
        used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # to ask an unused GPU would start it
        gpus = tuple(torch.cuda.get_rng_state_all()) if used else ()
        kind, keys, position, has_gauss, gauss = cast(_Arrays, np.random.get_state(legacy=True))
        arrays = (kind, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss))
        own = tuple(generator.get_state() for generator in generators)
        return cls(torch.get_rng_state(), gpus, arrays, random.getstate(), own)

    def restore(self, generators: Sequence[torch.Generator] = ()) -> None:
        """Put all generators back to this state; GPUs that are not here are left out."""
        torch.set_rng_state(self.cpu)
        if self.gpus and torch.cuda.device_count() == len(self.gpus):
            torch.cuda.set_rng_state_all(list(self.gpus))
        kind, keys, position, has_gauss, gauss = self.arrays
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
        random.setstate(self.python)
        for generator, state in zip(generators, self.generators, strict=False):
            generator.set_state(state)


def keep_random(generators: Sequence[torch.Generator] = ()) -> Callable[[], None]:
    """Remember where the random numbers stand; calling the answer puts them back there."""
    state = RandomState.now(generators)
    return lambda: state.restore(generators)


def _keep_module(module: nn.Module, weights: bool) -> Callable[[], None]:
    modes = [(part, part.training) for part in module.modules()]
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in module.parameters()]
    grads = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    tensors = [*module.parameters(), *module.buffers()] if weights else []
    copies = [(tensor, tensor.detach().clone()) for tensor in (*tensors, *grads)]

    def put_back() -> None:
        with torch.no_grad():
            for tensor, value in copies:
                tensor.copy_(value)
            for parameter, wanted, grad in parameters:
                parameter.requires_grad_(wanted)
                parameter.grad = grad
        for part, mode in modes:
            part.training = mode  # not .train(): it would reach into children, and a frozen part answers for itself

    return put_back


def _keep_optimizer(optimizer: Optimizer) -> Callable[[], None]:
    state = copy.deepcopy(optimizer.state_dict())
    own: dict[str, Any] = {name: vars(optimizer)[name] for name in ("step", "_opt_called") if name in vars(optimizer)}

    def put_back() -> None:
        optimizer.load_state_dict(state)
        for name in ("step", "_opt_called"):
            vars(optimizer).pop(name, None)  # a scheduler that came meanwhile had wrapped it
        vars(optimizer).update(own)

    return put_back
