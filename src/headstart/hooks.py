"""The only file that registers hooks.

`watch_…` and `capture…` are context managers that remove their hooks at the end, also after an error. `place_…`
registers a hook for a whole training and returns its handle: the caller removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

Handle = RemovableHandle
"""The handle of a hook: `remove()` removes it, and may be called twice."""

HookFunction = Callable[[str, Tensor], None]
"""Called with the name of a module and a tensor, which it must not change."""


@contextmanager
def watch_inputs(modules: Mapping[str, nn.Module], function: HookFunction) -> Iterator[None]:
    """Call a function with the first input of the named modules, each time just before the module runs."""
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_pre_hook(_before(name, function)).remove)
        yield


@contextmanager
def watch_outputs(modules: Mapping[str, nn.Module], function: HookFunction) -> Iterator[None]:
    """Call a function with the output of the named modules, each time just after the module has run."""
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_hook(_after(name, function)).remove)
        yield


@contextmanager
def capture(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of the named modules: name → output of its latest forward pass.

    The tensors are not copies: a later in-place layer writes into them.
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


@contextmanager
def watch_calls(
    modules: Mapping[str, nn.Module], enter: Callable[[str], None], leave: Callable[[str], None]
) -> Iterator[None]:
    """Call two functions when each of the named modules begins and ends a forward pass, whatever its inputs."""
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_pre_hook(_named(name, enter)).remove)
            hooks.callback(module.register_forward_hook(_named(name, leave), always_call=True).remove)
        yield


def place_gradient_hooks(parameters: Iterable[nn.Parameter], function: Callable[[Tensor], None]) -> list[Handle]:
    """Call a function with each trained parameter as soon as its gradient is accumulated."""
    trained = (parameter for parameter in parameters if parameter.requires_grad)
    return [parameter.register_post_accumulate_grad_hook(function) for parameter in trained]  # type: ignore[no-untyped-call]


def place_output_hook(module: nn.Module, function: Callable[[nn.Module, Any, Any], Any]) -> Handle:
    """Call a function with (module, inputs, output) after each forward pass; a result replaces the output."""
    return module.register_forward_hook(function)


def place_arrival_hook(parameter: nn.Parameter, function: Callable[[Tensor], Tensor | None]) -> Handle:
    """Call a function with the gradient that each backward pass is about to add to that of a parameter."""
    handle: Handle = parameter.register_hook(function)  # type: ignore[no-untyped-call]
    return handle


def place_step_hook(optimizer: Optimizer, function: Callable[[], None]) -> Handle:
    """Call a function just before each step of an optimizer: its gradients are final by then."""
    return optimizer.register_step_pre_hook(lambda _optimizer, _args, _kwargs: function())


def _named(name: str, function: Callable[[str], None]) -> Callable[..., None]:
    return lambda *_: function(name)


def _before(name: str, function: HookFunction) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda module, inputs: function(name, inputs[0]) if inputs else None  # none: all inputs have keywords


def _after(name: str, function: HookFunction) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    return lambda module, inputs, output: function(name, output)
