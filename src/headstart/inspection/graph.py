"""Trace: what a network calls in one forward pass in eval mode, in order, and what each call takes from which.

Recorded by running it, not by reading its source: branches and loops of its own are no hindrance. Mostly on torch's
meta device, where tensors have shapes and no values, so that it costs milliseconds and no memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from headstart.hooks import watch_calls
from headstart.inspection.module_attributes import attributes_kept

PIXELS, CONSTANT = -1, -2  # in place of a step: the network's input; a parameter, a buffer, anything not computed

DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
WEIGHING = (*CONVOLUTIONS, "linear", "multi_head_attention_forward", "scaled_dot_product_attention", "matmul", "bmm")

_SAME = {"iadd": "add", "radd": "add"}


@dataclass(frozen=True)
class Step:
    """One call of a torch function that gave a tensor.

    Args:
        function: `conv2d`, `batch_norm`, `add` …, the same word for a function, a method and its in-place form.
        module: path of the innermost module that was running.
        inputs: for each tensor it took, the step that made it, or PIXELS or CONSTANT.
        tensors: names of the parameters and buffers among them.
        shape: of its first tensor.
        from_pixels: whether the network's input has a part in it.
        carries: for each input, whether a gradient flows through it.
        has_bias: for a convolution or linear layer, whether a bias is added.
        trains: the argument `training` of dropout and batch norm. p: of dropout.
    """

    function: str
    module: str
    inputs: tuple[int, ...]
    tensors: tuple[str, ...]
    shape: tuple[int, ...]
    from_pixels: bool
    carries: tuple[bool, ...]
    has_bias: bool = False
    trains: bool = False
    p: float = 0.0


@dataclass(frozen=True)
class Trace:
    """One forward pass.

    Args:
        steps: in order; `inputs` of a step are places in it.
        end: the step that made the output; CONSTANT where it cannot be told.
        output: shape of the output's first tensor.
        calls: path of a module → how often it ran.
    """

    steps: tuple[Step, ...]
    end: int
    output: tuple[int, ...]
    calls: Mapping[str, int] = field(default_factory=dict)

    def of(self, *functions: str) -> list[int]:
        """Places of the steps that call one of these."""
        return [place for place, step in enumerate(self.steps) if step.function in functions]

    def source(self, place: int) -> int:
        """The step whose result a step takes first."""
        inputs = self.steps[place].inputs
        return inputs[0] if inputs else CONSTANT

    @cached_property
    def users(self) -> Counter[int]:
        """How many times the result of each step is taken."""
        return Counter(made for step in self.steps for made in set(step.inputs) if made >= 0)

    def rests_on(self, made: int) -> int:
        """The steps that a result rests on, itself included, as bits: bit i + 1 for step i, bit 0 for the pixels."""
        return self._rests[made + 1] if made >= PIXELS else 0

    @cached_property
    def _rests(self) -> tuple[int, ...]:
        masks = [1]
        for place, step in enumerate(self.steps):
            mask = 1 << (place + 1)
            for made in step.inputs:
                mask |= masks[made + 1] if made >= PIXELS else 0
            masks.append(mask)
        return tuple(masks)


def record(network: nn.Module, pixels: Tensor, *, on_meta: bool) -> Trace:
    """Run a network once, in the mode it is in, and note every call.

    Args:
        pixels: N×3×S×S, or whatever it takes.
        on_meta: run on shapes alone; a network that asks for values cannot do so and raises.

    Raises:
        Exception: whatever the network's own forward raises.
    """
    with ExitStack() as after:
        if on_meta:
            after.enter_context(attributes_kept(network))  # tables that it makes now have no values
            after.enter_context(_without_values(network))
        pixels = torch.empty_like(pixels, device="meta") if on_meta else pixels
        pixels = pixels.detach().requires_grad_(pixels.is_floating_point())
        recorder = _Recorder({**dict(network.named_parameters()), **dict(network.named_buffers())}, pixels)
        modules = dict(network.named_modules())
        with torch.enable_grad(), watch_calls(modules, recorder.enter, recorder.leave), recorder:
            output = network(pixels)
    found = next(_tensors_in(output), None)
    end = CONSTANT if found is None else recorder.made.get(id(found), CONSTANT)
    shape = () if found is None else tuple(found.shape)
    return Trace(tuple(recorder.steps), end, shape, recorder.calls)


@contextmanager
def _without_values(network: nn.Module) -> Iterator[None]:
    """Every tensor of a network has a twin on the meta device in its place; afterwards it is back itself.

    Not torch.func.functional_call, which (2.15) leaves the twins behind in modules that are registered twice.
    """
    twins: dict[int, Tensor] = {}
    own: list[tuple[dict[str, Any], str, Tensor]] = []
    try:
        for module in network.modules():
            stores: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
            for tensors in stores:
                for name, value in tensors.items():
                    if value is not None:
                        twin = twins.setdefault(id(value), _twin(value))
                        tensors[name] = twin
                        own.append((tensors, name, value))
        yield
    finally:
        for tensors, name, value in own:
            tensors[name] = value


def _twin(value: Tensor) -> Tensor:
    twin = torch.empty_like(value, device="meta", requires_grad=False)
    return nn.Parameter(twin, requires_grad=False) if isinstance(value, nn.Parameter) else twin


class _Recorder(TorchFunctionMode):
    def __init__(self, tensors: Mapping[str, Tensor], pixels: Tensor) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.names = {id(value): name for name, value in tensors.items()}
        self.made = {id(pixels): PIXELS}
        self.held: list[object] = [tensors, pixels]  # an id is of use while its tensor lives
        self.calls: Counter[str] = Counter()
        self.running: list[str] = []

    def enter(self, name: str) -> None:
        self.calls[name] += 1
        self.running.append(name)

    def leave(self, name: str) -> None:
        self.running.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        taken = list(_tensors_in((args, kwargs)))
        inputs = tuple(self.made.get(id(value), CONSTANT) for value in taken)  # now: in-place calls give new ones
        carries = tuple(value.requires_grad for value in taken)
        result = func(*args, **kwargs)
        given = list(_tensors_in(result))
        if given:
            names = tuple(self.names[id(value)] for value in taken if id(value) in self.names)
            self.steps.append(self._step(func, args, kwargs, (inputs, names, carries), given[0]))
            self.held += given
            self.made |= {id(value): len(self.steps) - 1 for value in given}
        return result

    def _step(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        taken: tuple[tuple[int, ...], tuple[str, ...], tuple[bool, ...]],
        given: Tensor,
    ) -> Step:
        inputs, names, carries = taken
        name = word_of(func)
        module = self.running[-1] if self.running else ""
        from_pixels = any(made == PIXELS or (made >= 0 and self.steps[made].from_pixels) for made in inputs)
        has_bias, trains, p = False, False, 0.0
        if name in (*CONVOLUTIONS, "linear"):
            has_bias = _argument(args, kwargs, 2, "bias", None) is not None
        elif name in DROPOUTS:
            p = float(_argument(args, kwargs, 1, "p", 0.5))
            trains = bool(_argument(args, kwargs, 2, "training", "alpha" not in name))
        elif name == "batch_norm":
            trains = bool(_argument(args, kwargs, 5, "training", False))
        return Step(name, module, inputs, names, tuple(given.shape), from_pixels, carries, has_bias, trains, p)


class StepWatcher(TorchFunctionMode):
    """Shows the results of some steps while the network runs once more, in the same mode, with values."""

    def __init__(self, trace: Trace, places: Iterable[int], look: Callable[[int, Tensor], None]) -> None:
        super().__init__()
        self._steps, self._places, self._look = trace.steps, set(places), look
        self._count = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        found = next(_tensors_in(result), None)
        if found is not None:
            place, self._count = self._count, self._count + 1
            if place in self._places and self._steps[place].function == word_of(func):
                self._look(place, found)
        return result


def word_of(func: Callable[..., Any]) -> str:
    """One word for a torch function, its method and its in-place form."""
    name = str(getattr(func, "__name__", "")).strip("_")
    return _SAME.get(name, name)


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], place: int, name: str, default: object) -> Any:
    return kwargs.get(name, args[place] if len(args) > place else default)


def _tensors_in(value: object) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dictionaries (the outputs of some libraries), in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors_in(inner)
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from _tensors_in(inner)
