"""The only file that places hooks. Each is a context manager: whatever happens inside, its hooks are gone after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

Look = Callable[[str, Tensor], None]
"""Called with the name of a module and the tensor that is looked at; it must not change the tensor."""


@contextmanager
def watch_inputs(modules: Mapping[str, nn.Module], look: Look) -> Iterator[None]:
    """Show the first input of the named modules to a function, each time just before the module runs."""
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_pre_hook(_before(name, look)).remove)
        yield


@contextmanager
def watch_outputs(modules: Mapping[str, nn.Module], look: Look) -> Iterator[None]:
    """Show the output of the named modules to a function, each time just after the module has run."""
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_hook(_after(name, look)).remove)
        yield


@contextmanager
def capture(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of the named modules: name → output of its latest forward pass.

    The tensors are those of the network itself: a later in-place layer writes into them.
    """
    outputs: dict[str, Tensor] = {}
    with watch_outputs(modules, outputs.__setitem__):
        yield outputs


@contextmanager
def capture_inputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Collect the first inputs of the named modules: name → input of its latest forward pass, not a copy."""
    inputs: dict[str, Tensor] = {}
    with watch_inputs(modules, inputs.__setitem__):
        yield inputs


def _before(name: str, look: Look) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda module, inputs: look(name, inputs[0])


def _after(name: str, look: Look) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    return lambda module, inputs, output: look(name, output)
