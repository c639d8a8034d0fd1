"""The only file that places hooks.

Looks (`watch_…`, `capture…`) are context managers: whatever happens inside, their hooks are gone after them. What is
placed (`place_…`) stays for a whole training and gives its handle: who places it removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

Handle = RemovableHandle
"""What a placed hook leaves behind: `remove()` takes it away, also twice."""

HookFunction = Callable[[str, Tensor], None]
"""Called with the name of a module and the tensor that is looked at; it must not change the tensor."""


@contextmanager
def watch_inputs(modules: Mapping[str, nn.Module], look: HookFunction) -> Iterator[None]:
    """Show the first input of the named modules to a function, each time just before the module runs."""
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_pre_hook(_before(name, look)).remove)
        yield


@contextmanager
def watch_outputs(modules: Mapping[str, nn.Module], look: HookFunction) -> Iterator[None]:
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


@contextmanager
def watch_calls(
    modules: Mapping[str, nn.Module], enter: Callable[[str], None], leave: Callable[[str], None]
) -> Iterator[None]:
    """Tell when each of the named modules begins and ends a forward pass, whatever it takes and gives."""
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_pre_hook(_telling(name, enter)).remove)
            hooks.callback(module.register_forward_hook(_telling(name, leave), always_call=True).remove)
        yield


def place_gradient_hooks(parameters: Iterable[nn.Parameter], look: Callable[[Tensor], None]) -> list[Handle]:
    """Call a function with each trained parameter once its gradient is summed; whoever places them removes them."""
    trained = (parameter for parameter in parameters if parameter.requires_grad)
    return [parameter.register_post_accumulate_grad_hook(look) for parameter in trained]  # type: ignore[no-untyped-call]


def place_output_hook(module: nn.Module, look: Callable[[nn.Module, Any, Any], Any]) -> Handle:
    """Call a function with (module, inputs, outputs) after each forward pass; what it gives, unless None, is output."""
    return module.register_forward_hook(look)


def place_arrival_hook(parameter: nn.Parameter, look: Callable[[Tensor], Tensor | None]) -> Handle:
    """Call a function with what each backward pass is about to add to a parameter's gradient."""
    handle: Handle = parameter.register_hook(look)  # type: ignore[no-untyped-call]
    return handle


def place_step_hook(optimizer: Optimizer, look: Callable[[], None]) -> Handle:
    """Call a function just before each step of an optimiser: gradients are summed, unscaled and clipped by then."""
    return optimizer.register_step_pre_hook(lambda _optimizer, _args, _kwargs: look())


def _telling(name: str, look: Callable[[str], None]) -> Callable[..., None]:
    return lambda *_: look(name)


def _before(name: str, look: HookFunction) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda module, inputs: look(name, inputs[0])


def _after(name: str, look: HookFunction) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    return lambda module, inputs, output: look(name, output)
