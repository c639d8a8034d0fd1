"""Rules about dropout: the variance that batch norm behind it keeps, and dropout that never stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination, NotApplicableError
from headstart.best_practices.rule import Issue, rule
from headstart.hooks import watch_inputs
from headstart.inspection.graph import DROPOUTS

_LOW, _HIGH = 0.8, 1.25  # of the variance; beyond, a layer's outputs are off by more than a tenth
_IMAGES, _DRAWS = 16, 4


@rule(
    "dropout before batch norm",
    "warning",
    why="Dropout raises the variance in training, (c² + v)/p - c² for mean c, variance v and kept share p; batch norm "
    "keeps it and divides by it in eval mode, where it is v.",
    source="Li et al. 2018, arXiv:1801.05134, section 3",
    fix="Put dropout behind the last batch norm, or recalibrate the statistics with dropout off after training.",
    only_with=(_BatchNorm,),
)
def dropout_before_batch_norm(case: Examination) -> Iterator[Issue]:
    """Measured at each batch norm behind dropout: variance of its inputs in eval mode over that with dropout."""
    _ask_for_dropout(case)
    behind = _behind_dropout(case)
    if not behind:
        return
    ratios = _measured(case, behind)
    off = {path: ratio for path, ratio in ratios.items() if not _LOW <= ratio <= _HIGH}
    if off:
        worst = min(off.values(), key=lambda ratio: min(ratio, 1 / ratio))
        yield Issue(tuple(off), f"variance in eval mode is {worst:.2f} of that in training (allowed {_LOW} to {_HIGH})")


def _ask_for_dropout(case: Examination) -> None:
    if not any(case.trace.steps[place].p > 0 for place in case.trace.of(*DROPOUTS)):
        raise NotApplicableError("no dropout")


def _behind_dropout(case: Examination) -> dict[str, set[str]]:
    """Path of a batch norm → modules whose dropout reaches it with no batch norm in between."""
    trace = case.trace
    reach: list[set[str]] = []
    found: dict[str, set[str]] = {}
    for step in trace.steps:
        owners = {owner for made in step.inputs if made >= 0 for owner in reach[made]}
        if step.function == "batch_norm":
            if owners and step.module in case.batch_norms:
                found.setdefault(step.module, set()).update(owners)
            owners = set()
        elif step.function in DROPOUTS and step.p > 0 and step.from_pixels:
            owners = owners | {step.module}
        reach.append(owners)
    return found


def _measured(case: Examination, behind: dict[str, set[str]]) -> dict[str, float]:
    """Path → variance without dropout / variance with it, over images, places and draws, mean over channels."""
    pixels = case.some_pixels(_IMAGES)
    norms = {path: case.modules[path] for path in behind}
    sums: dict[str, float] = {}

    def look(path: str, x: Tensor) -> None:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        sums[path] = sums.get(path, 0.0) + float(x.double().var(axes, correction=0).mean())

    with torch.inference_mode(), watch_inputs(norms, look):
        case.network(pixels)
        still, sums = sums, {}
        owners = {owner for those in behind.values() for owner in those}
        torch.manual_seed(0)  # put back with all random numbers
        with _training(case, owners):
            for _ in range(_DRAWS):
                case.network(pixels)
    return {path: still[path] * _DRAWS / sums[path] for path in still if sums.get(path)}


@contextmanager
def _training(case: Examination, paths: set[str]) -> Iterator[None]:
    """These modules alone in train mode, not what they hold: a batch norm inside keeps its statistics."""
    with ExitStack() as after:
        for module in (case.modules[path] for path in paths):
            after.callback(setattr, module, "training", module.training)
            module.training = True
        yield


@rule(
    "dropout that never stops",
    "error",
    why="Predictions in eval mode are drawn by chance: a functional dropout takes training=True unless told otherwise.",
    source="torch.nn.functional.dropout",
    fix="Write F.dropout(x, p, training=self.training), or use nn.Dropout.",
)
def dropout_that_never_stops(case: Examination) -> Iterator[Issue]:
    """Dropout that is active although the network is in eval mode."""
    _ask_for_dropout(case)
    steps = case.trace.steps
    found = [steps[place] for place in case.trace.of(*DROPOUTS)]
    places = tuple(dict.fromkeys(step.module for step in found if step.trains and step.p > 0))
    if places:
        yield Issue(places, f"modules drop numbers in eval mode: {len(places)}")
