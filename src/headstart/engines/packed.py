"""Convolutions of a folded graph in oneDNN's own layout, with activation and shortcut computed in the same pass.

A plain convolution of torch reorders its weights in every call and writes its output, which activation and shortcut
then read and write again. torch.compile avoids that with operations of torch's oneDNN part, which need no compiler;
they are used here. Their names begin with an underscore, so they may change: without them the plain graph runs, and
their results are compared with the eager network before use. Why they stay: docs/decisions/packed-convolutions.md.
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
"""The operation on a sum of products before it is written: oneDNN's name for it, and its numbers."""

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
    """One convolution with its weights in oneDNN's layout for an input shape, and the operations after it.

    Args:
        shape: N, C, H, W of the input that the layout is made for; others work too, but slower.
        post: applied to the result, after the sum if there is one.
    """

    def __init__(self, conv: nn.Conv2d, shape: Sequence[int], post: Post) -> None:
        super().__init__()
        padding = [int(width) for width in conv.padding]
        self._settings = (padding, list(conv.stride), list(conv.dilation), conv.groups)
        self._post = (post[0], list(post[1]))
        # plain attributes, not buffers: this layout can be neither copied nor moved
        self._bias = None if conv.bias is None else conv.bias.detach()
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *self._settings, list(shape))

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Convolution of x N×C×H×W, plus the shortcut, then the activation."""
        run, (post, numbers) = torch.ops.mkldnn._convolution_pointwise, self._post
        result: Tensor
        if shortcut is None:
            result = run(x, self._weight, self._bias, *self._settings, post, numbers, "")
        else:  # not written over the shortcut: others may still need it
            after = None if post == "none" else post
            result = run.binary(x, shortcut, self._weight, self._bias, *self._settings, "add", 1.0, after, numbers, "")
        return result


def measure_shapes(body: fx.GraphModule, side: int) -> int:
    """Store the shape of every value for one image in the graph.

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
        # exactly this kind: a subclass may pad or change its weights in each call
        if type(conv) is not nn.Conv2d or not _packable(conv) or not isinstance(node.args[0], fx.Node):
            continue
        last, shortcut = _sum_after(node)
        last, post = _post_after(body, last)
        packed = PackedConv(conv, (batch, *_shape(node.args[0])[1:]), post)
        name = f"packed_{node.name}"
        body.add_submodule(name, packed)
        with body.graph.inserting_before(last):
            inputs = (node.args[0],) if shortcut is None else (node.args[0], shortcut)
            new = body.graph.call_module(name, inputs)
        new.meta = dict(last.meta)
        last.replace_all_uses_with(new)
    body.graph.eliminate_dead_code()
    body.delete_all_unused_submodules()
    body.graph.lint()
    body.recompile()


def _packable(conv: nn.Conv2d) -> bool:
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and conv.weight.dtype == torch.float32


def _sum_after(node: fx.Node) -> tuple[fx.Node, fx.Node | None]:
    """The sum that is the only user of a convolution's output, and its other operand, if that has the same shape."""
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
