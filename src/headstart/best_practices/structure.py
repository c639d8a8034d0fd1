"""Rules about how layers follow each other: what adds nothing, and what lets nothing through."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import nn

from headstart.best_practices.examination import Examination, NotCheckedError
from headstart.best_practices.rule import Issue, register_rule
from headstart.inspection.graph import CONVOLUTIONS, PIXELS, Graph, Operation

_MOVING = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "contiguous", "float", "to", "type_as", "clone")
_DROPPING = ("dropout", "dropout1d", "dropout2d", "dropout3d")
_AVERAGING = ("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "mean", "interpolate")
_SCALING = ("add", "sub", "mul", "div", "truediv")  # by a constant
_AFFINE = (*_MOVING, *_DROPPING, *_AVERAGING, "batch_norm")  # what leaves a linear map linear, in eval mode
_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm")


@register_rule(
    "no activation between layers",
    "warning",
    why="Two linear maps in a row are one linear map: the second layer costs weights and time and adds nothing that "
    "the first could not learn.",
    source="Goodfellow, Bengio and Courville 2016, Deep Learning, section 6.1",
    fix="Put an activation between them, and use its result: x = F.relu(x); or remove one of the layers.",
)
def no_activation_between(examination: Examination) -> Iterator[Issue]:
    """Dense layers with only linear operations between them that do not pass through fewer units on purpose."""
    graph = examination.graph
    slopes = _slopes_of_one(examination)
    pairs = [(source, layer) for layer in _dense(graph) if (source := _linear_source(graph, layer, slopes)) is not None]
    found = [pair for pair in pairs if not _is_meant(graph, *pair)]
    if found:
        one, other = (graph.operations[index].module for index in found[0])
        places = tuple(dict.fromkeys(graph.operations[layer].module for _, layer in found))
        yield Issue(places, f"layers without an activation before them: {len(found)}, first {one} to {other}")


def _dense(graph: Graph) -> list[int]:
    """Convolutions and linear layers in use that are not depthwise or grouped."""
    return [
        index
        for index in graph.find(*CONVOLUTIONS, "linear")
        if index in graph.used and graph.operations[index].groups == 1 and graph.operations[index].weight_shape
    ]


def _slopes_of_one(examination: Examination) -> frozenset[str]:
    """Paths of leaky ReLUs that change nothing: the slope is that for negative values, 0.01 by default."""
    found = {path: one for path, one in examination.modules.items() if isinstance(one, nn.LeakyReLU)}
    return frozenset(path for path, one in found.items() if one.negative_slope == 1)


def _linear_source(graph: Graph, index: int, slopes: frozenset[str]) -> int | None:
    """The dense layer whose result, changed by linear operations alone, is all that a layer takes."""
    dense, at = set(_dense(graph)), graph.first_input(index)
    while at >= 0 and sum(user in graph.used for user in graph.users[at]) == 1:
        if at in dense:
            return at
        one = graph.operations[at]
        own = [made for made in one.inputs if made == PIXELS or (made >= 0 and graph.operations[made].from_pixels)]
        bends = one.function not in (*_AFFINE, *_SCALING) and not (
            one.function == "leaky_relu" and one.module in slopes
        )
        if len(own) != 1 or bends:
            return None
        at = own[0]
    return None


def _is_meant(graph: Graph, first: int, second: int) -> bool:
    """Whether two layers in a row save weights: through fewer units, in two directions, or after a depthwise one."""
    one, other = graph.operations[first], graph.operations[second]
    units, taken, given = _width(one), one.input_shape, _width(other)
    before = taken[-1] if one.function == "linear" else taken[1]
    if units < min(before, given):
        return True  # a bottleneck: one map of low rank
    kernels = one.weight_shape[2:], other.weight_shape[2:]
    if any(1 in kernel and max(kernel) > 1 for kernel in kernels if kernel):
        return True  # 1×k and k×1
    return _follows_grouped(graph, first) or (kernels[1] == kernels[0] == (1, 1) and _follows_grouped(graph, second))


def _width(one: Operation) -> int:
    return one.weight_shape[1] if one.function.startswith("conv_transpose") else one.weight_shape[0]


def _follows_grouped(graph: Graph, index: int) -> bool:
    """Whether the last layer with weights on some way to this one is grouped, as in separable convolutions."""
    waiting, seen = list(graph.operations[index].inputs), set[int]()
    while waiting:
        at = waiting.pop()
        if at in seen or at < 0:
            continue
        seen.add(at)
        one = graph.operations[at]
        if one.groups > 1:
            return True
        if not one.weight_shape:
            waiting += one.inputs
    return False


@register_rule(
    "softmax between layers",
    "warning",
    why="A softmax makes all units of a layer share a sum of 1: with many units each is nearly 0, and so is the "
    "gradient of the layers before. It belongs to attention and to the output.",
    source="Goodfellow, Bengio and Courville 2016, Deep Learning, section 6.2.2.3",
    fix="Use a ReLU between layers.",
)
def softmax_between_layers(examination: Examination) -> Iterator[Issue]:
    """A softmax of what one dense layer gives, whose only user is another; attention multiplies it with values."""
    graph, found, dense = examination.graph, [], set(_dense(examination.graph))
    for layer in dense:
        at = _before(graph, graph.first_input(layer))
        flat = at >= 0 and len(graph.operations[at].shape) == 2  # of maps it may be over places
        if flat and graph.operations[at].function == "softmax":
            source = _before(graph, graph.first_input(at))
            if source in dense and sum(user in graph.used for user in graph.users[at]) == 1:
                found.append(graph.operations[at].module)
    if found:
        yield Issue(tuple(dict.fromkeys(found)), f"softmax between two layers: {len(found)}")


def _before(graph: Graph, at: int) -> int:
    """The operation whose numbers these are, whatever their shape."""
    while at >= 0 and graph.operations[at].function in (*_MOVING, *_DROPPING):
        at = graph.first_input(at)
    return at


@register_rule(
    "one-unit bottleneck",
    "error",
    "warning",
    why="All that the later layers know of an image has to pass through one number (or one channel): several classes "
    "cannot be told apart by it.",
    source="the data processing inequality: Cover and Thomas 2006, section 2.8",
    fix="Give this layer as many units as its neighbours; most often a number is wrong.",
)
def one_unit_bottleneck(examination: Examination) -> Iterator[Issue]:
    """Layers with one unit that no path goes around, before a layer that gives several; a warning for one channel."""
    graph = examination.graph
    if graph.output < 0:
        raise NotCheckedError("an output that is a tensor")
    weighted = [i for i in sorted(graph.used) if graph.operations[i].weight_shape]
    last = next((i for i in reversed(weighted) if _units(graph.operations[i].shape) > 1), PIXELS)
    severity = {}
    for index in graph.bottlenecks:
        one = graph.operations[index]
        if index not in weighted or index >= last:
            continue
        if _units(one.shape) == 1:
            severity[one.module] = "error"
        elif len(one.shape) == 4 and one.shape[1] == 1 and one.function != "linear":
            severity[one.module] = "warning"
    for wanted, what in (("error", "unit"), ("warning", "channel")):
        places = tuple(module for module, found in severity.items() if found == wanted)
        if places:
            yield Issue(places, f"layers with one {what} through which everything passes: {len(places)}", wanted)


def _units(shape: tuple[int, ...]) -> int:
    return math.prod(shape[1:])


@register_rule(
    "normalised twice",
    "warning",
    why="The second normalisation undoes scale and shift of the first, which then learn nothing; it costs time.",
    source="Ioffe and Szegedy 2015, arXiv:1502.03167, section 3",
    fix="Remove one of them; most often it is built both in a block and around it.",
)
def normalised_twice(examination: Examination) -> Iterator[Issue]:
    """Two of a kind, or one of them batch norm, with nothing but reshapes and dropout between, and no other user."""
    graph, found = examination.graph, []
    for index in graph.find(*_NORMS):
        at = graph.first_input(index)
        while at >= 0 and sum(user in graph.used for user in graph.users[at]) == 1 and index in graph.used:
            one = graph.operations[at]
            both = {one.function, graph.operations[index].function}
            if both <= {*_NORMS} and (len(both) == 1 or "batch_norm" in both):
                found.append(graph.operations[index].module)
            if one.function not in (*_MOVING, *_DROPPING):
                break
            at = graph.first_input(at)
    if found:
        yield Issue(tuple(dict.fromkeys(found)), f"normalisations right after another: {len(found)}")


@register_rule(
    "convolution on maps of one pixel",
    "warning",
    why="On a map of 1×1 all of a kernel but its centre meets the padding: most weights never see data. The network "
    "shrinks its maps too early, or the images are too small for it.",
    source="torch.nn.Conv2d; He et al. 2016, arXiv:1512.03385, table 6 (a stem for small images)",
    fix="Remove a pooling or a stride before it, use larger images, or a kernel of 1×1.",
)
def convolution_on_one_pixel(examination: Examination) -> Iterator[Issue]:
    """Convolutions with a kernel above 1×1 whose input has one pixel."""
    graph = examination.graph
    found = [
        one.module
        for one in (graph.operations[index] for index in graph.find("conv1d", "conv2d", "conv3d"))
        if max(one.weight_shape[2:], default=1) > 1 and one.from_pixels and max(one.input_shape[2:], default=2) == 1
    ]
    if found:
        yield Issue(tuple(dict.fromkeys(found)), f"convolutions that see one pixel and padding: {len(found)}")


@register_rule(
    "constant normalisation",
    "error",
    "warning",
    why="A normalisation over a single value gives 0 whatever the value is: nothing passes it but its own shift.",
    source="torch.nn.LayerNorm, torch.nn.GroupNorm, torch.nn.InstanceNorm2d",
    fix="Normalise over more values: fewer groups, before the pooling, or batch norm.",
)
def constant_normalisation(examination: Examination) -> Iterator[Issue]:
    """Layer, group and instance norms that compute their mean over one value; a warning where a path goes around."""
    graph = examination.graph
    found = [index for index in graph.find("layer_norm", "group_norm", "instance_norm") if _is_constant(graph, index)]
    places = tuple(dict.fromkeys(graph.operations[index].module for index in found))
    if found:
        blocks = any(index in found for index in graph.bottlenecks)
        text = f"normalisations over a single value: {len(found)}"
        yield Issue(places, text, "error" if blocks else "warning")


def _is_constant(graph: Graph, index: int) -> bool:
    return graph.operations[index].from_pixels and graph.operations[index].normalised == 1
