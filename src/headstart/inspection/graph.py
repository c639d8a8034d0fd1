"""Graph recorder: the operations of one forward pass, in order, and which results each of them takes.

The network is run, its source is not read: its own branches and loops are no obstacle. `on_meta` runs it on torch's
meta device, where tensors have shapes and no values: milliseconds and no memory. A recorded graph can be followed while
the network runs once more (`GraphFollower`), to read or to replace the results of single operations.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from headstart.hooks import watch_calls
from headstart.inspection.module_attributes import attributes_kept

PIXELS, CONSTANT = -1, -2  # in place of an operation: the network's input; a parameter, buffer, or other constant

DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
WEIGHTED = (*CONVOLUTIONS, "linear", "multi_head_attention_forward", "scaled_dot_product_attention", "matmul", "bmm")

_FORWARD = ("conv1d", "conv2d", "conv3d")  # of the others, groups stand elsewhere
_SAME = {"iadd": "add", "radd": "add"}


OnOperation = Callable[[int, str, "list[Tensor]", Tensor], None]
"""Called with the index of an operation, its function, the tensors it took, and its result."""


@dataclass(frozen=True)
class Operation:
    """One tensor that a torch function computed.

    Args:
        function: `conv2d`, `batch_norm`, `add` …: one word for a function, its method and its in-place form.
        module: path of the innermost module that was running.
        inputs: for each tensor it took, the index of the operation that computed it, or PIXELS or CONSTANT.
        tensors: names of the parameters and buffers among them.
        shape: of the result.
        from_pixels: whether the result depends on the network's input.
        carries_gradient: for each input, whether a gradient flows through it.
        has_weights: whether it is a layer with weights: one of WEIGHTED, or any with a parameter of two axes or more.
        adds_maps: whether it is the plain sum of two maps of one shape.
        has_bias: for a convolution or linear layer, whether a bias is added.
        trains: the argument `training` of dropout and batch norm.
        p: of dropout.
        input_shape: of the first tensor it took.
        weight_shape: of a convolution's or linear layer's weight; of others ().
        groups: of a convolution.
        normalised: of a layer, group or instance norm, over how many values it computes a mean.
    """

    function: str
    module: str
    inputs: tuple[int, ...]
    tensors: tuple[str, ...]
    shape: tuple[int, ...]
    from_pixels: bool
    carries_gradient: tuple[bool, ...]
    has_weights: bool = False
    adds_maps: bool = False
    has_bias: bool = False
    trains: bool = False
    p: float = 0.0
    input_shape: tuple[int, ...] = ()
    weight_shape: tuple[int, ...] = ()
    groups: int = 1
    normalised: int = 0


@dataclass(frozen=True)
class Graph:
    """One forward pass.

    Args:
        operations: in order; `inputs` of an operation are indices into it.
        output: index of the operation that computed the network's output; CONSTANT where that is not known.
        output_shape: of the output's first tensor.
        calls: path of a module → how often it ran.
    """

    operations: tuple[Operation, ...]
    output: int
    output_shape: tuple[int, ...]
    calls: Mapping[str, int] = field(default_factory=dict)

    def find(self, *functions: str) -> list[int]:
        """Indices of the operations that call one of these functions."""
        return [index for index, one in enumerate(self.operations) if one.function in functions]

    def first_input(self, index: int) -> int:
        """Index of the operation whose result an operation takes first."""
        inputs = self.operations[index].inputs
        return inputs[0] if inputs else CONSTANT

    @cached_property
    def used(self) -> frozenset[int]:
        """Indices of the operations on which the output depends, among those that depend on the pixels.

        All of these where it is not known which operation computed the output.
        """
        every = [index for index, one in enumerate(self.operations) if one.from_pixels]
        if self.output < 0:
            return frozenset(every)
        mask = self.ancestors(self.output)
        return frozenset(index for index in every if mask >> (index + 1) & 1)

    @cached_property
    def bottlenecks(self) -> tuple[int, ...]:
        """Indices of the operations that every path from the pixels to the output passes, in order."""
        reaches: dict[int, int] = {}  # index → the last operation that takes its result
        for index in sorted(self.used):
            for made in self.operations[index].inputs:
                if made == PIXELS or made in self.used:
                    reaches[made] = index
        found, open_until = [], reaches.get(PIXELS, PIXELS)
        for index in sorted(self.used):
            if open_until <= index:
                found.append(index)
            open_until = max(open_until, reaches.get(index, index))
        return tuple(found)

    @cached_property
    def users(self) -> dict[int, list[int]]:
        """Index of an operation → the operations that take its result, in order."""
        found: dict[int, list[int]] = {index: [] for index in range(len(self.operations))}
        for user, one in enumerate(self.operations):
            for index in dict.fromkeys(one.inputs):
                if index >= 0:
                    found[index].append(user)
        return found

    def ancestors(self, index: int) -> int:
        """What a result depends on, itself included, as bits: bit i + 1 for operation i, bit 0 for the pixels.

        What is computed from weights alone is left out.
        """
        return self._ancestors[index + 1] if index >= PIXELS else 0

    @cached_property
    def _ancestors(self) -> tuple[int, ...]:
        masks = [1]
        for index, one in enumerate(self.operations):
            mask = 1 << (index + 1) if one.from_pixels else 0
            for made in one.inputs:
                mask |= masks[made + 1] if made >= PIXELS else 0
            masks.append(mask)
        return tuple(masks)


def record_graph(
    network: nn.Module,
    pixels: Tensor,
    *,
    on_meta: bool,
    run: Callable[[Tensor], object] | None = None,
    on_operation: OnOperation | None = None,
) -> Graph:
    """Run a network once, in the mode it is in, and note every operation.

    Args:
        pixels: N×3×S×S, or whatever it takes; of two images or more: with one, a bias can have the shape of a map.
        on_meta: run on shapes alone; a network that asks for values cannot do so and raises.
        run: runs the network; None: `network(pixels)`.
        on_operation: called with each operation's index, function, tensors and result, none of which it may change.

    Raises:
        Exception: whatever the network's own forward raises.
    """
    with ExitStack() as after:
        if on_meta:
            after.enter_context(attributes_kept(network))  # tables that it makes now have no values
            after.enter_context(_without_values(network))
        pixels = torch.empty_like(pixels, device="meta") if on_meta else pixels
        after.enter_context(torch.enable_grad())
        # a copy: a network may write into its input, which a leaf that asks for a gradient does not allow
        pixels = pixels.detach().requires_grad_(pixels.is_floating_point()).clone()
        recorder = _Recorder(
            {**dict(network.named_parameters()), **dict(network.named_buffers())}, pixels, on_operation
        )
        with watch_calls(dict(network.named_modules()), recorder.enter, recorder.leave), recorder:
            output = (run or network)(pixels)
    found = next(tensors_in(output), None)
    index = CONSTANT if found is None else recorder.made.get(id(found), CONSTANT)
    shape = () if found is None else tuple(found.shape)
    return Graph(tuple(recorder.operations), index, shape, recorder.calls)


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
    def __init__(self, tensors: Mapping[str, Tensor], pixels: Tensor, on_operation: OnOperation | None) -> None:
        super().__init__()
        self.on_operation = on_operation
        self.operations: list[Operation] = []
        self.names = {id(value): name for name, value in tensors.items()}
        self.made = {id(pixels): PIXELS}
        self.held: list[object] = [tensors, pixels]  # an id identifies a tensor only while the tensor lives
        self.calls: Counter[str] = Counter()
        self.running: list[str] = []

    def enter(self, name: str) -> None:
        self.calls[name] += 1
        self.running.append(name)

    def leave(self, name: str) -> None:
        self.running.pop()

    def __torch_function__(  # as torch calls it
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        taken = list(tensors_in((args, kwargs)))
        inputs = tuple(self.made.get(id(value), CONSTANT) for value in taken)  # now: in-place calls give new ones
        carries = tuple(value.requires_grad for value in taken)
        adds, shape = _adds_maps(func, args, kwargs), tuple(taken[0].shape) if taken else ()
        result = func(*args, **kwargs)
        for value in tensors_in(result):  # several results, as of chunk, are an operation each
            self.operations.append(
                Operation(
                    function_name(func),
                    self.running[-1] if self.running else "",
                    inputs,
                    tuple(self.names[id(one)] for one in taken if id(one) in self.names),
                    shape=tuple(value.shape),
                    from_pixels=any(i == PIXELS or (i >= 0 and self.operations[i].from_pixels) for i in inputs),
                    carries_gradient=carries,
                    adds_maps=adds,
                    input_shape=shape,
                    **_arguments_of(func, args, kwargs, taken),
                )
            )
            self.held.append(value)
            self.made[id(value)] = len(self.operations) - 1
            if self.on_operation is not None:
                self.on_operation(len(self.operations) - 1, self.operations[-1].function, taken, value)
        return result


class GraphFollower(TorchFunctionMode):
    """Recognises the operations of a recorded graph while the network runs once more, in the same mode, with values.

    An operation is recognised by how many of its function came before it.

    Args:
        on_result: called with the index of each watched operation and its result, which it must not change.
        watched: indices of these operations.
        replace: index of an operation with one result → function of its arguments that computes it instead.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        watched: Iterable[int] = (),
        on_result: Callable[[int, Tensor], None] | None = None,
        replace: Mapping[int, Callable[..., Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self._watched, self._on_result, self._replace = set(watched), on_result, replace or {}
        self._counts: Counter[str] = Counter()
        met: Counter[str] = Counter()
        self._indices: dict[tuple[str, int], int] = {}
        for index, one in enumerate(graph.operations):
            if index in self._watched or index in self._replace:
                self._indices[one.function, met[one.function]] = index
            met[one.function] += 1

    def __torch_function__(  # as torch calls it
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = function_name(func)
        instead = self._replace.get(self._indices.get((name, self._counts[name]), CONSTANT))
        result = func(*args, **(kwargs or {})) if instead is None else instead(*args)
        for value in tensors_in(result):
            index = self._indices.get((name, self._counts[name]), CONSTANT)
            self._counts[name] += 1
            if index in self._watched and self._on_result is not None:
                self._on_result(index, value)
        return result


def function_name(func: Callable[..., Any]) -> str:
    """One word for a torch function, its method and its in-place form."""
    name = str(getattr(func, "__name__", "")).strip("_")
    return _SAME.get(name, name)


def _adds_maps(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether two maps of one shape are added, with no factor and no output tensor of their own."""
    if function_name(func) != "add" or len(args) != 2 or kwargs:
        return False
    maps = [value for value in args if isinstance(value, Tensor) and not isinstance(value, nn.Parameter)]
    return len(maps) == 2 and maps[0].shape == maps[1].shape and maps[0].ndim > 1 and maps[0].is_floating_point()


def _arguments_of(  # a call as torch makes it, and the tensors in it
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], taken: Iterable[Tensor]
) -> dict[str, Any]:
    """What an operation says of its arguments besides the tensors."""
    name = function_name(func)
    weighted = name in WEIGHTED or any(isinstance(value, nn.Parameter) and value.ndim > 1 for value in taken)
    found: dict[str, Any] = {"has_weights": weighted}
    if name in (*CONVOLUTIONS, "linear"):
        weight = _argument(args, kwargs, 1, "weight", None)
        found["has_bias"] = _argument(args, kwargs, 2, "bias", None) is not None
        found["weight_shape"] = tuple(weight.shape) if isinstance(weight, Tensor) else ()
        found["groups"] = int(_argument(args, kwargs, 6, "groups", 1)) if name in _FORWARD else 1
    elif name in DROPOUTS:
        found["p"] = float(_argument(args, kwargs, 1, "p", 0.5))
        found["trains"] = bool(_argument(args, kwargs, 2, "training", "alpha" not in name))
    elif name in ("layer_norm", "group_norm", "instance_norm"):
        found["normalised"] = _normalised(name, args, kwargs)
    elif name == "batch_norm":
        found["trains"] = bool(_argument(args, kwargs, 5, "training", False))
    return found


def _normalised(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    shape: tuple[int, ...] = tuple(_argument(args, kwargs, 0, "input", torch.empty(0)).shape)
    if name == "layer_norm":
        sides: Sequence[int] = _argument(args, kwargs, 1, "normalized_shape", ())
        return math.prod(sides)
    if name == "instance_norm":
        return math.prod(shape[2:])
    return math.prod(shape[1:]) // int(_argument(args, kwargs, 1, "num_groups", 1))


# the arguments of a call, the position and the name of one, and its default
def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str, default: object) -> Any:
    return kwargs.get(name, args[position] if len(args) > position else default)


def tensors_in(value: object) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists, dictionaries and dataclasses (the outputs of some libraries), in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors_in(inner)
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from tensors_in(inner)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for one in dataclasses.fields(value):
            yield from tensors_in(getattr(value, one.name))
