"""Junctions: the places where a residual network adds a branch to its shortcut, found by watching it run.

Every addition of two maps of one shape is followed back to where both come from. The operand with fewer layers of
weights on its way is the shortcut (none, or one projection), the other the branch. So any code is understood that adds
with `+`, `+=` or torch.add: torchvision's and timm's networks, transformers, a user's own. Where that is not enough, a
module says which operand of the additions in its own forward is the shortcut: `residual_shortcut = 0` (the left) or 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from headstart.hooks import watch_calls

_ADDITIONS: tuple[object, ...] = (
    torch.add,
    Tensor.add,
    Tensor.add_,
    Tensor.__add__,
    Tensor.__radd__,
    Tensor.__iadd__,
)
_MOST_ON_SHORTCUT = 1  # layers of weights: a projection; with more, two branches are summed and none is the shortcut


@dataclass(frozen=True)
class Junction:
    """One place where a branch is added to its shortcut.

    Args:
        name: path of the module that adds; with its number where it adds several times.
        place: which addition of two maps of one shape it is, counted through the forward pass.
        shortcut: which operand is the shortcut, 0 or 1.
        source: the step of the forward pass whose result both come from. straight: the shortcut is that result itself.
    """

    name: str
    place: int
    shortcut: int
    source: int
    straight: bool


Join = Callable[[Junction, Tensor, Tensor, Tensor | None], Tensor]
"""(junction, shortcut, branch, what both come from) → what goes on; the source is None unless it was asked for."""


def find_junctions(network: nn.Module, run: Callable[[Tensor], object], pixels: Tensor) -> tuple[Junction, ...]:
    """The junctions that a forward pass of the network comes by, in their order.

    Args:
        run: makes that pass. pixels: of two images or more: with one, a bias may have the shape of a map.
    """
    walk = _Walk({}, None, pixels)
    modules = {name: module for name, module in network.named_modules() if name}
    with watch_calls(modules, walk.enter, walk.leave), walk:
        run(pixels)
    return _named([_judged(found, walk.steps, modules.get(found.module)) for found in walk.additions])


@contextmanager
def joining(junctions: Sequence[Junction], join: Join, *, sources_from: Tensor | None = None) -> Iterator[None]:
    """Inside, every junction's sum is made by a function, which may look at its parts or leave the branch out.

    For one forward pass.

    Args:
        sources_from: the pixels of that pass: hand over what shortcut and branch come from; all maps are kept then.
    """
    with _Walk({junction.place: junction for junction in junctions}, join, sources_from):
        yield


@dataclass(frozen=True)
class _Step:
    """A call that made a map from others: the steps it took, and whether weights were in it."""

    parents: tuple[int, ...]
    weighs: bool


@dataclass(frozen=True)
class _Addition:
    place: int
    operands: tuple[int, int]
    module: str


class _Walk(TorchFunctionMode):
    """Watches torch's functions: counts additions, follows maps from step to step, and lets sums be made by another."""

    def __init__(self, junctions: dict[int, Junction], join: Join | None, pixels: Tensor | None) -> None:
        super().__init__()
        self._junctions, self._join, self._follow = junctions, join, pixels is not None
        self._count = -1
        self._step_of: dict[int, int] = {}
        self._maps: list[Tensor] = []  # of each step: kept, so that the id of a map stays its own
        self._inside: list[str] = []  # modules that are running, the innermost last
        self.steps: list[_Step] = []
        self.additions: list[_Addition] = []
        if pixels is not None:
            self._add_step(pixels, _Step((), False))

    def enter(self, name: str) -> None:
        """A module begins."""
        self._inside.append(name)

    def leave(self, name: str) -> None:
        """A module ends."""
        self._inside.remove(name)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = [self._number(value) for value in _tensors((args, kwargs))] if self._follow else []
        output = self._sum(args) if _is_sum(func, args, kwargs) else None
        output = func(*args, **kwargs) if output is None else output
        if self._follow:
            known = tuple(step for step in inputs if step is not None)  # none: made of weights alone
            weighs = any(value.ndim > 1 for value in _tensors((args, kwargs)) if isinstance(value, nn.Parameter))
            for value in _tensors(output):
                if value.is_floating_point() and known:
                    self._add_step(value, _Step(known, weighs))
        return output

    def _sum(self, args: tuple[Any, ...]) -> Tensor | None:
        """The sum of a junction, made by `join`; None: an addition like any other."""
        self._count += 1
        left, right = (self._number(value) for value in args[:2]) if self._follow else (None, None)
        if left is not None and right is not None:
            self.additions.append(_Addition(self._count, (left, right), self._inside[-1] if self._inside else ""))
        junction = self._junctions.get(self._count)
        if junction is None or self._join is None:
            return None
        shortcut, branch = args[junction.shortcut], args[1 - junction.shortcut]
        return self._join(junction, shortcut, branch, self._maps[junction.source] if self._follow else None)

    def _number(self, value: Tensor) -> int | None:
        """The step that made a map; None for weights, and for what is made of them alone."""
        return self._step_of.get(id(value))

    def _add_step(self, value: Tensor, step: _Step) -> None:
        self._step_of[id(value)] = len(self.steps)
        self.steps.append(step)
        self._maps.append(value)


def _is_sum(func: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether two maps of one shape are added; kept free of what only one pass knows, so that counts agree."""
    if not any(func is one for one in _ADDITIONS) or len(args) != 2 or kwargs:
        return False
    maps = [value for value in args if isinstance(value, Tensor) and not isinstance(value, nn.Parameter)]
    return len(maps) == 2 and maps[0].shape == maps[1].shape and maps[0].ndim > 1 and maps[0].is_floating_point()


def _tensors(values: object) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))


def _judged(found: _Addition, steps: list[_Step], module: nn.Module | None) -> Junction | None:
    """The junction that an addition is; None for one of two branches, or of a thing to itself."""
    before = [_before(operand, steps) for operand in found.operands]
    common = before[0] & before[1]
    source = common.bit_length() - 1
    if source < 0:
        return None
    past = _before(source, steps)
    layers = [sum(steps[i].weighs for i in _bits(way & ~past)) for way in before]
    said = getattr(module, "residual_shortcut", None)
    shortcut = said if said in (0, 1) else int(layers[1] < layers[0])
    clear = layers[shortcut] <= _MOST_ON_SHORTCUT and layers[1 - shortcut] > layers[shortcut]
    if said is None and not clear:
        return None
    straight = found.operands[shortcut] == source
    return Junction(found.module, found.place, int(shortcut), source, straight)


def _before(step: int, steps: list[_Step]) -> int:
    """All steps that a step needs, itself too, as the bits of a number."""
    seen, waiting = 0, [step]
    while waiting:
        one = waiting.pop()
        if not seen >> one & 1:
            seen |= 1 << one
            waiting.extend(steps[one].parents)
    return seen


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def _named(found: list[Junction | None]) -> tuple[Junction, ...]:
    """Junctions with names of their own: where a module adds several times they get numbers."""
    kept = [one for one in found if one is not None]
    often, met = Counter(one.name for one in kept), Counter[str]()
    junctions = []
    for one in kept:
        met[one.name] += 1
        name = one.name or "(network)"
        junctions.append(replace(one, name=f"{name} #{met[one.name]}" if often[one.name] > 1 else name))
    return tuple(junctions)
