"""Rules about a first training step: the signal must reach the output, and the gradient the first layer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import Issue, register_rule
from headstart.best_practices.training_pass import TrainingPass
from headstart.inspection.graph import CONVOLUTIONS, WEIGHTED
from headstart.wording import percent

_LARGE = 1e4  # root mean square of a layer's output; 100 healthy networks stay below, see docs/doctor.md
_LOUD = 100.0  # of the logits: a softmax over such numbers is 0 and 1
_QUIET = 1e-4  # difference between images at the last layer
_FAINT = 1e-7  # gradient at the input over that at the last layer, root mean squares
_SATURATED = 0.9
_SMALL_SCALE = 0.1  # of a learned scale per channel that is to begin small (layer scale)


@register_rule(
    "exploding activations",
    "error",
    why="Each layer multiplies the scale of what it gets: after some layers the logits are so large that the softmax "
    "is 0 or 1, the loss is huge, and the first steps destroy the weights.",
    source="He et al. 2015, Delving Deep into Rectifiers, arXiv:1502.01852, section 2.2",
    fix="Initialise with nn.init.kaiming_normal_ (or PyTorch's default), or put batch norm between the layers.",
)
def exploding_activations(examination: Examination) -> Iterator[Issue]:
    """Root mean square of each layer's output, and of the logits, in train mode."""
    passed = _passed(examination)
    operations = passed.graph.operations
    large = {operations[i].module: size for i, size in passed.sizes.items() if _LARGE < size < float("inf")}
    bad = [operations[i].module for i, size in passed.sizes.items() if not size < float("inf")]
    logits = max((float(one.float().square().mean().sqrt()) for one in passed.outputs), default=0.0)
    if bad or large:
        text = f"up to {max(large.values()):.3g}" if large else "nan or infinity"
        yield Issue(tuple(dict.fromkeys([*large, *bad])), f"outputs of layers have a root mean square of {text}")
    elif logits > _LOUD and _is_classifier(passed):
        yield Issue((), f"logits of the size {logits:.3g}: the softmax of them is 0 or 1")


def _is_classifier(passed: TrainingPass) -> bool:
    return any(one.ndim == 2 and one.shape[1] > 1 for one in passed.outputs)


@register_rule(
    "vanishing activations",
    "error",
    why="Each layer shrinks what it gets: the last one sees almost the same numbers for every image, and the first "
    "layers get almost no gradient.",
    source="He et al. 2015, Delving Deep into Rectifiers, arXiv:1502.01852, section 2.2",
    fix="Initialise with nn.init.kaiming_normal_ (or PyTorch's default); replace sigmoid and tanh by ReLU; put batch "
    "norm between the layers, or add shortcuts.",
)
def vanishing_activations(examination: Examination) -> Iterator[Issue]:
    """How much images differ at the last layer with weights, and the gradient at the input, in train mode."""
    passed = _passed(examination)
    weighted = [i for i in passed.graph.find(*WEIGHTED) if i in passed.graph.used]
    if not weighted:
        raise NotApplicableError("no layer with weights")
    if _starts_small(examination, passed):
        raise NotApplicableError("it has learned scales that begin near zero on purpose")
    last = weighted[-1]
    spread = passed.last_spread
    if spread < _QUIET:
        place = passed.graph.operations[last].module
        yield Issue((place,), f"different images differ by {spread:.1e} at the last layer")
        return
    if _is_zero(examination, passed, last):
        raise NotCheckedError("a last layer whose weights are not all zero: it passes no gradient yet")
    # not at the pixels: what rounds or thresholds them is no obstacle, they are not trained
    first, end = passed.at_operations.get(weighted[0]), passed.at_operations.get(last)
    if first is not None and end and first / end < _FAINT:
        yield Issue((), f"the gradient at the first layer is {first / end:.1e} of that at the last layer")


@register_rule(
    "output independent of the images",
    "error",
    why="The output is the same for all images: it cannot be trained to tell them apart.",
    source="measured on different images",
    fix="Look for dead layers, dropout with p=1, a normalisation or a softmax over one value, weights of zero.",
)
def output_independent(examination: Examination) -> Iterator[Issue]:
    """Outputs in train mode for different images, unless the last layer begins with zeros."""
    passed = _passed(examination)
    weighted = [i for i in passed.graph.find(*WEIGHTED) if i in passed.graph.used]
    if weighted and _is_zero(examination, passed, weighted[-1]):
        raise NotCheckedError("a last layer whose weights are not all zero")
    outputs = [one for one in passed.outputs if one.ndim > 1 and len(one) == passed.images]
    if outputs and all(bool((one == one[:1]).all()) for one in outputs):
        yield Issue((), f"the same output for {passed.images} different images")


@register_rule(
    "symmetric initialisation",
    "error",
    "warning",
    why="Units that begin with the same weights compute the same and get the same gradient: they stay one unit for "
    "ever. Zeros everywhere pass no gradient at all.",
    source="Goodfellow, Bengio and Courville 2016, Deep Learning, section 8.4",
    fix="Draw weights at random (PyTorch's default, nn.init.kaiming_normal_); only biases, and the last layer of a "
    "branch or of the network, may begin with zeros.",
)
def symmetric_initialisation(examination: Examination) -> Iterator[Issue]:
    """Layers whose units have equal weights: an error where their gradients are equal too, else a warning."""
    tensors, graph = examination.tensors, examination.graph
    dense = [graph.operations[i] for i in graph.find(*CONVOLUTIONS, "linear") if i in graph.used]
    names = [name for one in dense if one.groups == 1 for name in one.tensors if tensors[name].ndim > 1]
    alike = [name for name in dict.fromkeys(names) if _are_alike(tensors[name])]
    alike = [name for name in alike if name in examination.trained]
    if not alike:
        return
    gradients = examination.gradients(alike, opened=True)  # a branch that ends in a scale of 0 passes none yet
    stuck = tuple(name for name in alike if (one := gradients.get(name)) is None or _are_alike(one))
    mild = tuple(name for name in alike if name not in stuck and bool(tensors[name].any()))
    for places, severity in ((stuck, "error"), (mild, "warning")):
        if places:
            paths = tuple(name.rpartition(".")[0] or name for name in places)
            yield Issue(paths, f"layers whose units are all alike: {len(paths)}", severity)


def _are_alike(weight: Tensor) -> bool:
    """Whether most rows are copies of others."""
    rows = weight.detach().flatten(1)
    if len(rows) < 2 or (not torch.equal(rows[0], rows[1]) and not _has_copies(rows)):
        return False
    return len(torch.unique(rows, dim=0)) <= len(rows) // 2


def _has_copies(rows: Tensor) -> bool:
    """A quick look before all rows are compared: sums repeat."""
    return len(torch.unique(rows.double().sum(1))) <= len(rows) // 2


@register_rule(
    "saturated activations",
    "warning",
    why="A sigmoid or tanh far from 0 has almost no slope: no gradient comes through, and the layers before it learn "
    "nothing.",
    source="Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward networks, section 3",
    fix="Normalise the images, initialise with smaller weights (nn.init.xavier_normal_), or use ReLU.",
)
def saturated_activations(examination: Examination) -> Iterator[Issue]:
    """Share of the values of each sigmoid and tanh near a limit, in train mode."""
    passed = _passed(examination)
    found = {passed.graph.operations[i].module: share for i, share in passed.saturated.items() if share > _SATURATED}
    if found:
        yield Issue(tuple(found), f"up to {percent(max(found.values()))} of the values are near a limit")


def _passed(examination: Examination) -> TrainingPass:
    if examination.non_finite:
        raise NotCheckedError("finite weights")
    return examination.training_pass


def _starts_small(examination: Examination, passed: TrainingPass) -> bool:
    """Whether branches are multiplied by a small learned scale per channel, as in CaiT and ConvNeXt."""
    tensors = examination.tensors
    scales = [
        tensors[name]
        for i in passed.graph.find("mul")
        for name in passed.graph.operations[i].tensors
        if name in tensors
    ]
    learned = [one.detach() for one in scales if one.numel() > 1 and one.is_floating_point()]
    return any(0 < float(one.abs().max()) < _SMALL_SCALE for one in learned)


def _is_zero(examination: Examination, passed: TrainingPass, index: int) -> bool:
    names = [name for name in passed.graph.operations[index].tensors if examination.tensors[name].ndim > 1]
    return bool(names) and not any(bool(examination.tensors[name].any()) for name in names)
