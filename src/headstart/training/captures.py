"""Captures: outputs of layers, their gradients and parameters, collected while a network runs or trains.

Hooks are in a dict that the caller keeps: name → Hook. Attaching again replaces the hooks of that kind only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from headstart.errors import TrainingError, near
from headstart.hooks import Handle, place_arrival_hook, place_output_hook, place_step_hook
from headstart.training.batch import main_output
from headstart.training.layers import layers_named
from headstart.training.recent import Recent, room_for

Layers = str | Iterable[str]
Outputs = dict[str, NDArray[Any] | None]
HookFunction = Callable[[nn.Module, Any, Any], Any]
Captured = dict[str, dict[str, Recent]]


class Hook:
    """A registered hook; while it is paused it does nothing.

    Args:
        kind: `outputs`, `gradients` or `parameters`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.paused = False
        self._handle: Handle | None = None

    def place(self, place: Callable[[Callable[..., Any]], Handle], function: Callable[..., Any]) -> Hook:
        """Register a function by one of the functions of `headstart.hooks`."""
        self._handle = place(lambda *values: None if self.paused else function(*values))
        return self

    def remove(self) -> None:
        """Remove it; a second call does nothing."""
        if self._handle is not None:
            self._handle.remove()


Handles = MutableMapping[str, Any]
"""Hooks by name; a user may put handles of torch beside them, which are removed with the rest."""


def attach_outputs(
    model: nn.Module, layers: Layers, handles: Handles, *, hook_fn: HookFunction | None = None
) -> Outputs:
    """Gather the outputs of layers: name → array of all samples that have passed, None until one has.

    Of a layer with several outputs the first tensor is taken. Cost: on average at most three copies of a sample.

    Args:
        layers: names as in `named_modules`; `''` is the model.
        hook_fn: function of (layer, inputs, outputs) that is called instead.

    Raises:
        TrainingError: there is no such layer, or `hook_fn` is no function; nothing was changed.
    """
    modules = layers_named(model, layers)
    if hook_fn is not None and not callable(hook_fn):
        raise TrainingError(
            expected="a function of (layer, inputs, outputs)", found=f"{hook_fn!r:.60}", where="attach_hooks"
        )
    _remove(handles, "outputs")
    gathered: Outputs = dict.fromkeys(modules)
    for name, module in modules.items():
        handles[name] = Hook("outputs").place(_placing(module), hook_fn or _gather(name, gathered))
    return gathered


def attach_gradients(
    model: nn.Module,
    layers: Layers,
    handles: Handles,
    *,
    keep: int | None = None,
    optimizer: Optimizer | None = None,
    scale: Callable[[], float] | None = None,
) -> Captured:
    """Keep gradients of the trained parameters of layers: {layer: {parameter: Recent}}.

    Args:
        keep: see `recent.room_for`.
        optimizer: gradients as its steps take them, clipped and summed; None: as each backward pass adds them.
        scale: by which the loss was multiplied (half precision); gradients that arrive are divided by it.

    Raises:
        TrainingError: there is no such layer; nothing was changed.
    """
    modules = layers_named(model, layers)
    captured, found = _empty(modules, keep, trained=True)
    _remove(handles, "gradients")
    for (layer, name), parameter in found.items():
        hook, recent = Hook("gradients"), captured[layer][name]
        if optimizer is None:
            hook.place(_arriving(parameter), _add_arriving(recent, scale))
        else:
            hook.place(_stepping(optimizer), _add_gradient(recent, parameter))
        handles[".".join(filter(None, (layer, name, "grad")))] = hook
    return captured


def attach_parameters(model: nn.Module, layers: Layers, handles: Handles, *, keep: int | None = None) -> Captured:
    """Keep the parameters of layers in each forward pass of training: {layer: {parameter: Recent}}.

    A pass counts as training when the model is in train mode and gradients are recorded.

    Raises:
        TrainingError: there is no such layer; nothing was changed.
    """
    modules = layers_named(model, layers)
    captured, _ = _empty(modules, keep, trained=False)
    _remove(handles, "parameters")
    for layer, module in modules.items():
        function = _add_parameters(model, captured[layer])
        key = f"{layer}.parameters".lstrip(".")  # no module has that name: torch refuses it
        handles[key] = Hook("parameters").place(_placing(module), function)
    return captured


def remove_hooks(handles: Handles) -> None:
    """Remove all hooks; what they captured stays."""
    for hook in handles.values():
        hook.remove()
    handles.clear()


@contextmanager
def paused(handles: Handles) -> Iterator[None]:
    """Pause hooks inside the block, such as during a learning-rate range test."""
    before = [(hook, hook.paused) for hook in handles.values() if isinstance(hook, Hook)]  # a user's own cannot pause
    try:
        for hook, _ in before:
            hook.paused = True
        yield
    finally:
        for hook, was in before:
            hook.paused = was


@contextmanager
def captured(model: nn.Module, layers: Layers, hook_fn: HookFunction | None = None) -> Iterator[Outputs]:
    """Gather outputs as `attach_outputs` does, and leave no hook behind.

    Raises:
        TrainingError: there is no such layer.
    """
    handles: dict[str, Hook] = {}
    try:
        yield attach_outputs(model, layers, handles, hook_fn=hook_fn)
    finally:
        remove_hooks(handles)


def outputs_of(gathered: Mapping[str, NDArray[Any] | None], layers: Layers) -> dict[str, NDArray[Any]]:
    """What was gathered of layers, in the order in which they are named.

    Raises:
        TrainingError: no hook is attached to a layer, or nothing has passed it yet.
    """
    chosen: dict[str, NDArray[Any]] = {}
    for name in [layers] if isinstance(layers, str) else layers:
        if name not in gathered:
            hint = "Call attach_hooks first." + (f" {near(name, gathered)}" if gathered else "")
            raise TrainingError(expected="a layer with a hook", found=repr(name), where="outputs", hint=hint)
        values = gathered[name]
        if values is None:
            hint = "Run predict first, so that images pass through it."
            raise TrainingError(expected=f"outputs of {name!r}", found="none yet", where="outputs", hint=hint)
        chosen[name] = values
    return chosen


class _Rows:
    """Rows with spare capacity, doubled when it is used up: joining n batches one by one would cost O(n²)."""

    def __init__(self) -> None:
        self._buffer: NDArray[Any] = np.empty(0)
        self._given: NDArray[Any] | None = None

    def joined(self, before: NDArray[Any] | None, rows: NDArray[Any]) -> NDArray[Any]:
        """The rows of before, which the user may have replaced, followed by the new ones."""
        if before is None:
            before = self._buffer = rows[:0]
        elif before is not self._given:
            self._buffer = before = np.asarray(before)
        kept, kind = len(before), np.result_type(before, rows)
        if kept + len(rows) > len(self._buffer) or kind != self._buffer.dtype:
            buffer = np.empty((max(kept + len(rows), 2 * kept), *rows.shape[1:]), kind)
            buffer[:kept] = before
            self._buffer = buffer
        self._buffer[kept : kept + len(rows)] = rows
        self._given = self._buffer[: kept + len(rows)]
        return self._given


def _gather(name: str, gathered: Outputs) -> HookFunction:
    store = _Rows()

    def hook(_layer: nn.Module, _inputs: Any, outputs: Any) -> None:
        tensor = _first_tensor(outputs, name).detach().cpu()
        rows = np.atleast_1d((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
        before = gathered.get(name)
        if before is not None and before.shape[1:] != rows.shape[1:]:
            raise TrainingError(
                expected=f"outputs of {before.shape[1:]} as before",
                found=f"{rows.shape[1:]}",
                where=name,
                hint="Inputs of several sizes cannot be collected together: call attach_hooks again between them.",
            )
        gathered[name] = store.joined(before, rows)

    return hook


def _first_tensor(outputs: Any, name: str) -> Tensor:
    value: Any = main_output(outputs)
    while not isinstance(value, Tensor):
        inner = list(
            value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
        )
        if not inner:
            raise TrainingError(expected="a layer that gives a tensor", found=type(value).__name__, where=name)
        value = inner[0]
    return value


def _empty(
    modules: Mapping[str, nn.Module], keep: int | None, *, trained: bool
) -> tuple[Captured, dict[tuple[str, str], nn.Parameter]]:
    found = {
        (layer, name): parameter
        for layer, module in modules.items()
        for name, parameter in module.named_parameters(remove_duplicate=False)
        if parameter.requires_grad or not trained
    }
    size = room_for(found.values(), keep)
    captured: Captured = {layer: {} for layer in modules}
    for layer, name in found:
        captured[layer][name] = Recent(size)
    return captured, found


def _placing(module: nn.Module) -> Callable[[HookFunction], Handle]:
    return lambda function: place_output_hook(module, function)


def _arriving(parameter: nn.Parameter) -> Callable[[Callable[..., Any]], Handle]:
    return lambda function: place_arrival_hook(parameter, function)


def _stepping(optimizer: Optimizer) -> Callable[[Callable[..., Any]], Handle]:
    return lambda function: place_step_hook(optimizer, function)


def _add_arriving(recent: Recent, scale: Callable[[], float] | None) -> Callable[[Tensor], None]:
    return lambda gradient: recent.add(gradient if scale is None else gradient / scale())


def _add_gradient(recent: Recent, parameter: nn.Parameter) -> Callable[[], None]:
    return lambda: None if parameter.grad is None else recent.add(parameter.grad)


def _add_parameters(model: nn.Module, recents: Mapping[str, Recent]) -> HookFunction:
    def hook(layer: nn.Module, _inputs: Any, _outputs: Any) -> None:
        if model.training and torch.is_grad_enabled():
            for name, parameter in layer.named_parameters(remove_duplicate=False):
                if name in recents:
                    recents[name].add(parameter)

    return hook


def _remove(handles: Handles, kind: str) -> None:
    for name in [name for name, hook in handles.items() if isinstance(hook, Hook) and hook.kind == kind]:
        handles.pop(name).remove()
