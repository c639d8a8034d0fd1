"""Rules about dropout: the variance that a later batch norm keeps, and dropout that is active in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination, NotApplicableError
from headstart.best_practices.head import RESHAPING
from headstart.best_practices.rule import Issue, register_rule
from headstart.hooks import watch_inputs
from headstart.inspection.graph import DROPOUTS

_LOW, _HIGH = 0.8, 1.25  # of the variance; beyond, a layer's outputs are off by more than a tenth
_IMAGES, _DRAWS = 16, 4
_MOST_DROPPED = 0.9  # papers use up to 0.8, at the input of a few; beyond, gradients come from single units


@register_rule(
    "dropout before batch norm",
    "warning",
    why="Dropout raises the variance in training, (c² + v)/p - c² for mean c, variance v and kept share p; batch norm "
    "stores it and divides by it in eval mode, where it is v.",
    source="Li et al. 2018, arXiv:1801.05134, section 3",
    fix="Move dropout after the last batch norm, or recalibrate the statistics with dropout off after training.",
    only_with=(_BatchNorm,),
)
def dropout_before_batch_norm(examination: Examination) -> Iterator[Issue]:
    """Measured at each batch norm after dropout: variance of its inputs in eval mode over that with dropout."""
    _require_dropout(examination)
    after = _norms_after_dropout(examination)
    if not after:
        return
    ratios = _variance_ratios(examination, after)
    off = {path: ratio for path, ratio in ratios.items() if not _LOW <= ratio <= _HIGH}
    if off:
        worst = min(off.values(), key=lambda ratio: min(ratio, 1 / ratio))
        yield Issue(tuple(off), f"variance in eval mode is {worst:.2f} of that in training (allowed {_LOW} to {_HIGH})")


def _require_dropout(examination: Examination) -> None:
    if not any(examination.graph.operations[index].p > 0 for index in examination.graph.find(*DROPOUTS)):
        raise NotApplicableError("no dropout")


def _norms_after_dropout(examination: Examination) -> dict[str, set[str]]:
    """Path of a batch norm → modules whose dropout reaches it with no batch norm in between."""
    reach: list[set[str]] = []
    found: dict[str, set[str]] = {}
    for operation in examination.graph.operations:
        owners = {owner for made in operation.inputs if made >= 0 for owner in reach[made]}
        if operation.function == "batch_norm":
            if owners and operation.module in examination.batch_norms:
                found.setdefault(operation.module, set()).update(owners)
            owners = set()
        elif operation.function in DROPOUTS and operation.p > 0 and operation.from_pixels:
            owners = owners | {operation.module}
        reach.append(owners)
    return found


def _variance_ratios(examination: Examination, after: dict[str, set[str]]) -> dict[str, float]:
    """Path → variance without dropout / variance with it, over images, positions and draws, mean over channels."""
    pixels = examination.sample_pixels(_IMAGES)
    norms = {path: examination.modules[path] for path in after}
    sums: dict[str, float] = {}

    def add(path: str, x: Tensor) -> None:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        sums[path] = sums.get(path, 0.0) + float(x.double().var(axes, correction=0).mean())

    with torch.inference_mode(), watch_inputs(norms, add):
        examination.network(pixels)
        without, sums = sums, {}
        owners = {owner for modules in after.values() for owner in modules}
        torch.manual_seed(0)  # restored with all random numbers
        with _in_train_mode(examination, owners):
            for _ in range(_DRAWS):
                examination.network(pixels)
    return {path: without[path] * _DRAWS / sums[path] for path in without if sums.get(path)}


@contextmanager
def _in_train_mode(examination: Examination, paths: set[str]) -> Iterator[None]:
    """These modules alone in train mode, not their children: a batch norm inside keeps its statistics."""
    with ExitStack() as after:
        for module in (examination.modules[path] for path in paths):
            after.callback(setattr, module, "training", module.training)
            module.training = True
        yield


@register_rule(
    "dropout in eval mode",
    "error",
    why="Predictions in eval mode are random: the default of a functional dropout is training=True.",
    source="torch.nn.functional.dropout",
    fix="Write F.dropout(x, p, training=self.training), or use nn.Dropout.",
)
def dropout_in_eval_mode(examination: Examination) -> Iterator[Issue]:
    """Dropout that is active although the network is in eval mode."""
    _require_dropout(examination)
    dropouts = [examination.graph.operations[index] for index in examination.graph.find(*DROPOUTS)]
    places = tuple(dict.fromkeys(one.module for one in dropouts if one.trains and one.p > 0))
    if places:
        yield Issue(places, f"modules with active dropout in eval mode: {len(places)}")


@register_rule(
    "dropout out of range",
    "warning",
    why="The rate is the share that is dropped, not the share that is kept: at 0.9 and more hardly any unit is left, "
    "and training sees noise.",
    source="torch.nn.Dropout; Srivastava et al. 2014, Dropout, section A.4",
    fix="Use 0.1 to 0.5.",
)
def dropout_out_of_range(examination: Examination) -> Iterator[Issue]:
    """Dropout on something of the images with a rate of 0.9 or more, or in a recurrent network of one layer."""
    one_layer = [
        path for path, one in examination.modules.items() if isinstance(one, nn.RNNBase) and one.num_layers < 2
    ]
    if idle := tuple(path for path in one_layer if examination.modules[path].dropout):
        yield Issue(idle, "dropout between the layers of a recurrent network that has one: it has no effect")
    if not one_layer:
        _require_dropout(examination)
    dropouts = [examination.graph.operations[index] for index in examination.graph.find(*DROPOUTS)]
    rates = {one.module: one.p for one in dropouts if one.from_pixels and one.p >= _MOST_DROPPED}
    if rates:
        yield Issue(tuple(rates), f"rates of up to {max(rates.values()):g}")


@register_rule(
    "dropout on the output",
    "warning",
    why="A dropped logit is 0, which is not 'no answer' but an answer: the loss punishes the network for what chance "
    "did, also for the true class.",
    source="Srivastava et al. 2014, Dropout, section 4: input and hidden units",
    fix="Put dropout before the last linear layer.",
)
def dropout_on_the_output(examination: Examination) -> Iterator[Issue]:
    """Dropout after the last layer, for an output N×C."""
    _require_dropout(examination)
    graph, at = examination.graph, examination.graph.output
    while at >= 0 and graph.operations[at].function in RESHAPING:
        one = graph.operations[at]
        if one.function in DROPOUTS and one.p > 0 and len(graph.output_shape) == 2:
            yield Issue((one.module,), f"dropout with p={one.p:g} on {graph.output_shape[1]} outputs")
            return
        at = graph.first_input(at)
