"""Residual sums: the operations of a network's graph that add a branch to its shortcut.

Every addition of two maps of one shape is followed back to the last result that both come from. The operand with fewer
layers of weights on its way is the shortcut (none, or one projection), the other the branch. So any code is understood
that adds with `+`, `+=` or torch.add: torchvision's and timm's networks, transformers, your own. Where that is not
enough, a module names the operand of its additions that is the shortcut: `residual_shortcut = 0` (the left) or 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from torch import Tensor, nn

from headstart.inspection.graph import PIXELS, Graph, GraphFollower

_MOST_ON_SHORTCUT = 1  # layers of weights: a projection; with more, two branches are summed and none is the shortcut


@dataclass(frozen=True)
class ResidualSum:
    """One addition of a branch to its shortcut.

    Args:
        name: path of the module that adds; with a number where it adds several times.
        module: that path.
        index: of the addition in the graph.
        shortcut: which operand is the shortcut, 0 or 1.
        branch: index of the operation that computes the other operand.
        source: index of the operation that both come from, or PIXELS.
        is_identity: whether the shortcut is that result itself.
        carries_gradient: whether a gradient flows through the shortcut.
    """

    name: str
    module: str
    index: int
    shortcut: int
    branch: int
    source: int
    is_identity: bool
    carries_gradient: bool


Join = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(shortcut, branch, what both come from) → the sum; the source is None unless it was asked for."""


def find_residual_sums(graph: Graph, network: nn.Module) -> tuple[ResidualSum, ...]:
    """The residual sums of a recorded graph, in their order; `network` is asked for `residual_shortcut`."""
    modules = dict(network.named_modules())
    weighted = sum(1 << (index + 1) for index, one in enumerate(graph.operations) if one.has_weights)
    found = []
    for index, one in enumerate(graph.operations):
        if one.adds_maps and all(map(graph.ancestors, one.inputs)):
            named = getattr(modules.get(one.module), "residual_shortcut", None)
            found.append(_residual_sum(graph, index, weighted, named if named in (0, 1) else None))
    return _numbered([one for one in found if one is not None])


@contextmanager
def joining(
    graph: Graph, sums: Sequence[ResidualSum], join: Join, *, sources_from: Tensor | None = None
) -> Iterator[None]:
    """Inside, a function computes every residual sum; it may read the operands, or leave the branch out.

    For one forward pass.

    Args:
        sources_from: the pixels of that pass: the function also gets what shortcut and branch come from.
    """
    sources: dict[int, Tensor] = {} if sources_from is None else {PIXELS: sources_from}

    def joined(one: ResidualSum) -> Callable[[Tensor, Tensor], Tensor]:
        def add(*operands: Tensor) -> Tensor:
            return join(operands[one.shortcut], operands[1 - one.shortcut], sources.get(one.source))

        return add

    watched = () if sources_from is None else [one.source for one in sums]
    replaced = {one.index: joined(one) for one in sums}
    with GraphFollower(graph, watched=watched, on_result=sources.__setitem__, replace=replaced):
        yield


# an addition of the graph, and what was computed or said once for all of them
def _residual_sum(graph: Graph, index: int, weighted: int, named: int | None) -> ResidualSum | None:
    """The residual sum that an addition is; None for one of two branches, or of a result to itself.

    Args:
        weighted: the layers of weights, as the bits of `Graph.ancestors`.
        named: the operand that the module says is the shortcut.
    """
    one = graph.operations[index]
    left, right = (graph.ancestors(made) for made in one.inputs)
    source = (left & right).bit_length() - 2  # the last of the common ancestors
    if source < PIXELS:
        return None
    since = weighted & ~graph.ancestors(source)
    layers = [(left & since).bit_count(), (right & since).bit_count()]
    shortcut = int(layers[1] < layers[0]) if named is None else named
    clear = layers[shortcut] <= _MOST_ON_SHORTCUT and layers[1 - shortcut] > layers[shortcut]
    if named is None and not clear:
        return None
    return ResidualSum(
        name=one.module or "(network)",
        module=one.module,
        index=index,
        shortcut=shortcut,
        branch=one.inputs[1 - shortcut],
        source=source,
        is_identity=one.inputs[shortcut] == source,
        carries_gradient=one.carries_gradient[shortcut],
    )


def _numbered(found: Sequence[ResidualSum]) -> tuple[ResidualSum, ...]:
    """Each with a name of its own: where a module adds several times they get numbers."""
    often, met = Counter(one.name for one in found), Counter[str]()
    sums = []
    for one in found:
        met[one.name] += 1
        sums.append(replace(one, name=f"{one.name} #{met[one.name]}") if often[one.name] > 1 else one)
    return tuple(sums)
