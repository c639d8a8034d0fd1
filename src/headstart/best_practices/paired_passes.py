"""PairedPasses: two images in eval mode, and the first of them alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from headstart.errors import kind_and_line
from headstart.hooks import watch_calls
from headstart.inspection.graph import function_name, tensors_in

_CLOSE = {torch.float32: 1e-3, torch.float64: 1e-6}  # of the largest output: other batches are summed in other orders
_CLOSE_IN_HALF = 0.1
_REPEATS = 4  # a dropout on a few features may draw the same twice, but not five times


@dataclass(frozen=True)
class Overwritten:
    """A tensor that an in-place operation changed and that was read again under its old name.

    Args:
        writer: path of the module that changed it. function: which it called.
        reader: path of the module that read it. reading: function by which.
    """

    writer: str
    function: str
    reader: str
    reading: str


@dataclass(frozen=True)
class PairedPasses:
    """What two passes show.

    Args:
        mixes: whether the output for the first or the last image depends on the others; a recurrent layer that takes
            images for time steps passes on only from the earlier ones.
        random: whether the same images give another output each time.
        images: how many went in. rows: along the first axis of the output; None where it is no tensor.
        alone: what goes wrong with one image alone: an error, or a lost axis; empty if nothing.
        overwritten: tensors that were changed in place and read again.
    """

    mixes: bool
    random: bool
    images: int
    rows: int | None
    alone: str
    overwritten: tuple[Overwritten, ...]


def run_paired_passes(network: nn.Module, pixels: Tensor) -> PairedPasses:
    """Run a network in the mode it is in, on two images or more and on the first alone.

    Raises:
        Exception: whatever the network's own forward raises on all images.
    """
    with torch.inference_mode(False), torch.no_grad():
        tracker = _Tracker()
        with watch_calls(dict(network.named_modules()), tracker.running.append, tracker.leave), tracker:
            output = network(pixels.clone())  # a network may write into its input
        found, alone, mixes = next(tensors_in(output), None), "", False
        again = network(pixels.clone())
        random = any(_differ(output, again, row) for row in (0, -1))
        rows = None if found is None or not found.ndim else len(found)
        try:
            single = network(pixels[:1].clone())
        except Exception as error:  # a foreign forward may raise anything
            alone = kind_and_line(error)
        else:
            alone = _lost_axis(found, next(tensors_in(single), None))
            if not alone and not random and rows == len(pixels):
                mixes = _differ(output, single) or _differ(output, network(pixels[-1:].clone()), -1)
            for _ in range(_REPEATS if mixes else 0):  # random seldom enough to agree once
                random = random or _differ(output, network(pixels.clone()))
    return PairedPasses(
        mixes and not random, random, len(pixels), rows=rows, alone=alone, overwritten=tracker.overwritten()
    )


def _lost_axis(several: Tensor | None, one: Tensor | None) -> str:
    if several is None or one is None or several.ndim == one.ndim:
        return ""
    return f"an output with {one.ndim} axes; with more images it has {several.ndim}"


def _differ(one: object, other: object, row: int = 0) -> bool:
    """Whether two outputs differ in the row of the first (or last) image, beyond rounding."""
    pairs = zip(tensors_in(one), tensors_in(other), strict=False)
    return any(not _close(a[row], b[row]) for a, b in pairs if a.ndim and b.ndim and len(a) and len(b))


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    limit, a, b = _CLOSE.get(a.dtype, _CLOSE_IN_HALF), a.double(), b.double()
    finite = [bool(torch.isfinite(one).all()) for one in (a, b)]
    if not a.numel() or not all(finite):
        return finite[0] == finite[1]  # nan in both is another rule's; a deviation of one image alone is nan, too
    return float((a - b).abs().max()) <= limit * float(a.abs().max())


class _Tracker(TorchFunctionMode):
    """Gives the result of each in-place operation its own tensor object, to distinguish the old name from the new.

    `identity = x; out = relu_(x)` then reads `identity`, which has lost its negative values. In `x = relu_(x)` nobody
    reads the old name, and in the statement `relu_(x)` nobody reads the new one: both are meant.
    """

    def __init__(self) -> None:
        super().__init__()
        self.running: list[str] = []
        self._old: dict[int, list[tuple[int, str, str]]] = {}  # id of an old name → (id of the new one, who wrote)
        self._used: set[int] = set()
        self._reads: list[tuple[int, Overwritten]] = []
        self._held: list[object] = []  # an id identifies a tensor only while it lives

    def leave(self, _: str) -> None:
        self.running.pop()

    def __torch_function__(  # as torch calls it
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, module = function_name(func), self.running[-1] if self.running else ""
        taken = [] if name in _LOOKS else list(tensors_in((args, kwargs or {})))
        for value in taken:
            self._used.add(id(value))
            for new, writer, function in self._old.get(id(value), ()):
                self._reads.append((new, Overwritten(writer, function, module, name)))
        before = [one._version for one in taken]
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor):
            return result
        written = [one for one, version in zip(taken, before, strict=True) if one is result and one._version > version]
        if not written:
            return result
        self._held += [result, alias := result.view_as(result)]
        self._used.discard(id(alias))  # of a tensor that lived there before
        self._old.setdefault(id(result), []).append((id(alias), module, name))
        return alias

    def overwritten(self) -> tuple[Overwritten, ...]:
        """What was read under its old name, where the new one is used too."""
        return tuple(dict.fromkeys(found for new, found in self._reads if new in self._used))


_LOOKS = ("size", "dim", "shape", "get", "numel", "stride", "is_floating_point", "len", "device", "dtype", "ndim")
"""What asks for no values; attributes are `__get__`."""
