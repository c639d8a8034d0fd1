"""Convolutions of a folded graph as oneDNN runs them best: weights laid out once, activation and sum done on the way.

A plain convolution of torch lays its weights out anew in every call, writes its output, and lets the activation and the
sum with the shortcut read and write all of it again. torch.compile avoids that with operations of torch's oneDNN part,
which need no compiler; they are used here. Their names begin with an underscore, so they may change one day: without
them the plain graph is run, and whatever they give is compared with the eager network before it is used.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata
from torch.nn import functional

Post = tuple[str, tuple[float, ...]]
"""What is done to a sum of products before it is written: oneDNN's name for it, and its numbers."""

_NOTHING: Post = ("none", ())
_POSTS: dict[object, Post] = {
    nn.ReLU: ("relu", ()),
    functional.relu: ("relu", ()),
    torch.relu: ("relu", ()),
    nn.ReLU6: ("hardtanh", (0.0, 6.0)),
    nn.Hardswish: ("hardswish", ()),
    functional.hardswish: ("hardswish", ()),
    nn.SiLU: ("swish", ()),
    functional.silu: ("swish", ()),
    nn.Sigmoid: ("sigmoid", ()),
    torch.sigmoid: ("sigmoid", ()),
}
_SUMS = (operator.add, operator.iadd, torch.add)


def can_pack() -> bool:
    """Whether this build of torch has oneDNN and the operations."""
    names = ("_reorder_convolution_weight", "_convolution_pointwise")
    available = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return available and all(hasattr(torch.ops.mkldnn, name) for name in names)


class PackedConv(nn.Module):
    """One convolution with its weights in oneDNN's layout for a given input, and what follows it.

    Args:
        shape: N, C, H, W of the input the layout is made for; others are right too, but slower.
        post: done to the result, after the sum where there is one.
    """

    def __init__(self, conv: nn.Conv2d, shape: Sequence[int], post: Post) -> None:
        super().__init__()
        padding = [int(width) for width in conv.padding]
        self._how = (padding, list(conv.stride), list(conv.dilation), conv.groups)
        self._post = (post[0], list(post[1]))
        # plain attributes, not buffers: this layout can be neither copied nor moved
        self._bias = None if conv.bias is None else conv.bias.detach()
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *self._how, list(shape))

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Convolution of x N×C×H×W, plus the shortcut, then the activation."""
        run, (post, numbers) = torch.ops.mkldnn._convolution_pointwise, self._post
        result: Tensor
        if shortcut is None:
            result = run(x, self._weight, self._bias, *self._how, post, numbers, "")
        else:  # written beside the shortcut, not over it: others may still need that
            after = None if post == "none" else post
            result = run.binary(x, shortcut, self._weight, self._bias, *self._how, "add", 1.0, after, numbers, "")
        return result


def measure_shapes(body: fx.GraphModule, side: int) -> int:
    """Note the shape of every value for one image in the graph.

    Returns:
        Bytes of the largest float32 value.
    """
    ShapeProp(body).propagate(torch.zeros(1, 3, side, side))
    return max(4 * math.prod(shape) for shape in map(_shape, body.graph.nodes) if shape)


def pack(body: fx.GraphModule, batch: int) -> None:
    """Replace the convolutions of a graph whose shapes are known, in place; see `measure_shapes`.

    Args:
        batch: images in a batch the layout is made for.
    """
    for node in list(body.graph.nodes):
        conv = body.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(conv, nn.Conv2d) or not _packable(conv) or not isinstance(node.args[0], fx.Node):
            continue
        last, shortcut = _sum_after(node)
        last, post = _post_after(body, last)
        packed = PackedConv(conv, (batch, *_shape(node.args[0])[1:]), post)
        _replace(body, node, last, shortcut, packed)
    body.graph.eliminate_dead_code()
    body.delete_all_unused_submodules()
    body.graph.lint()
    body.recompile()


def _replace(body: fx.GraphModule, conv: fx.Node, last: fx.Node, shortcut: fx.Node | None, packed: PackedConv) -> None:
    name = f"packed_{conv.name}"
    body.add_submodule(name, packed)
    with body.graph.inserting_before(last):
        node = body.graph.call_module(name, (conv.args[0],) if shortcut is None else (conv.args[0], shortcut))
    node.meta = dict(last.meta)
    last.replace_all_uses_with(node)


def _packable(conv: nn.Conv2d) -> bool:
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and conv.weight.dtype == torch.float32


def _sum_after(node: fx.Node) -> tuple[fx.Node, fx.Node | None]:
    """The sum that alone takes a convolution's output, and its other side, when that has the same shape."""
    user = _only_user(node)
    if user is None or user.op != "call_function" or user.target not in _SUMS or user.kwargs or len(user.args) != 2:
        return node, None
    other = user.args[0] if user.args[1] is node else user.args[1]
    if not isinstance(other, fx.Node) or other is node or _shape(other) != _shape(node):
        return node, None
    return user, other


def _post_after(body: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, Post]:
    user = _only_user(node)
    if user is None or user.op not in ("call_module", "call_function"):
        return node, _NOTHING
    kind = type(body.get_submodule(str(user.target))) if user.op == "call_module" else user.target
    post = _POSTS.get(kind)
    return (node, _NOTHING) if post is None else (user, post)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _shape(node: fx.Node) -> tuple[int, ...]:
    meta = node.meta.get("tensor_meta")
    return tuple(meta.shape) if isinstance(meta, TensorMetadata) else ()
