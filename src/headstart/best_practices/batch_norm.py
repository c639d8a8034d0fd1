"""Rules about batch norm in training: statistics that move, that never moved, that rest on too few images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, rule
from headstart.inspection.graph import CONVOLUTIONS

_IOFFE = "Ioffe and Szegedy 2015, arXiv:1502.03167"
_FEW = 16  # images: Wu and He's figure 1 has the error begin to rise below it
_OLD = 0.05  # weight that old statistics may keep; at momentum 0.1 this takes 29 steps
_HASTY = 0.5  # PyTorch's momentum is the weight of the new batch; Keras' and TensorFlow's 0.99 is that of the old


@rule(
    "bias before batch norm",
    "advice",
    why="Batch norm subtracts the mean of each channel, and a bias with it: it costs memory and time and learns "
    "nothing.",
    source=_IOFFE + ", section 3.2",
    fix="Build the convolution or linear layer with bias=False; batch norm has a shift of its own.",
    only_with=(_BatchNorm,),
)
def bias_before_batch_norm(case: Examination) -> Iterator[Issue]:
    """A convolution or linear layer with a bias whose only reader is batch norm."""
    trace = case.trace
    made = [trace.source(place) for place in trace.of("batch_norm")]
    layers = [
        trace.steps[place].module
        for place in made
        if place >= 0
        and trace.steps[place].function in (*CONVOLUTIONS, "linear")
        and trace.steps[place].has_bias
        and trace.users[place] == 1
    ]
    if layers:
        yield Issue(_each(layers), f"{len(_each(layers))} layers whose bias is subtracted again")


@rule(
    "frozen weights with live statistics",
    "error",
    "warning",
    why="requires_grad=False stops the optimiser only: in train mode running mean and variance go on moving, so the "
    "frozen part changes and the weights behind it no longer fit.",
    source="pytorch/pytorch issue 86590",
    fix="Freeze with headstart.freeze, or call .eval() on these layers after every .train().",
    only_with=(_BatchNorm,),
)
def frozen_with_live_statistics(case: Examination) -> Iterator[Issue]:
    """An error where it happens now; a warning where the next `.train()` of a partly trained network begins it."""
    frozen = [path for path, norm in case.batch_norms.items() if norm.track_running_stats and _is_frozen(case, path)]
    now = tuple(path for path in frozen if case.modes[path])
    soon = tuple(path for path in frozen if path in case.live and path not in now and case.trained)
    if now:
        yield Issue(now, f"batch norms in train mode whose weights are frozen: {len(now)}", "error")
    if soon:
        yield Issue(soon, f"batch norms with frozen weights follow the network's .train(): {len(soon)}", "warning")


def _is_frozen(case: Examination, path: str) -> bool:
    """By its own scale and shift; without them, by the parameters of the module that holds it."""
    own = list(case.modules[path].parameters(recurse=False))
    around = own or list(case.modules[path.rpartition(".")[0]].parameters())
    return bool(around) and not any(parameter.requires_grad for parameter in around)


@rule(
    "batches too small for batch norm",
    "warning",
    "error",
    needs=("batch_size",),
    why="Mean and variance of a few images are noise, and differ from the running ones used later; with one image and "
    "a map of one pixel there is no variance at all.",
    source="Wu and He 2018, Group Normalization, arXiv:1803.08494, figure 1",
    fix="Freeze the statistics (headstart.freeze), take larger batches, or group norm; drop a last batch of one.",
    only_with=(_BatchNorm,),
)
def batches_too_small(case: Examination) -> Iterator[Issue]:
    """Fewer than 16 images a step for batch norms that follow `.train()`; an error where one value is normalised."""
    live = _live(case)
    size = case.batch_size or 0
    if not live or size >= _FEW:
        return
    if size == 1:
        alone = tuple(path for path in live if _values_for_each_image(case).get(path) == 1)
        if alone:
            yield Issue(alone, "one value for each channel: PyTorch refuses to normalise it", "error")
            return
    yield Issue(live, f"{size} images a step, and the error begins to rise below {_FEW}; live batch norms: {len(live)}")


def _values_for_each_image(case: Examination) -> dict[str, int]:
    """Path of a batch norm → values of a channel that one image has."""
    shapes = {case.trace.steps[place].module: case.trace.steps[place].shape for place in case.trace.of("batch_norm")}
    return {path: int(torch.Size(shape[2:]).numel()) for path, shape in shapes.items()}


@rule(
    "old statistics outlive training",
    "warning",
    needs=("steps",),
    why="After k steps running statistics still hold (1 - momentum)^k of the old ones: in eval mode the new weights "
    "meet statistics of the old data.",
    source="torch.nn.BatchNorm2d, note on momentum",
    fix="Train longer, raise the momentum, freeze the statistics, or estimate them anew after training "
    "(headstart.backbones.recalibrate).",
    only_with=(_BatchNorm,),
)
def old_statistics_outlive_training(case: Examination) -> Iterator[Issue]:
    """Live batch norms in which the old statistics keep more than 5 % after the steps to come."""
    old = {path: _weight_of_old(case.batch_norms[path], case.steps or 0) for path in _live(case)}
    kept = {path: weight for path, weight in old.items() if weight > _OLD}
    if kept:
        worst = max(kept.values())
        yield Issue(tuple(kept), f"after {case.steps} steps old statistics keep {worst:.1%}; {_OLD:.0%} is allowed")


def _weight_of_old(norm: _BatchNorm, steps: int) -> float:
    if norm.momentum is not None:
        return float((1 - norm.momentum) ** steps)
    before = norm.num_batches_tracked  # without a momentum all batches weigh the same, those of the past too
    count = 0 if before is None or before.is_meta else int(before)
    return count / max(count + steps, 1)


@rule(
    "momentum of another framework",
    "warning",
    why="PyTorch's momentum is the weight of the newest batch (0.1), Keras' that of the past (0.99): at 0.5 or more "
    "running statistics are those of the last batch or two.",
    source="torch.nn.BatchNorm2d, note on momentum",
    fix="Set momentum to 1 minus the value meant for Keras or TensorFlow, usually 0.1 or 0.01.",
    only_with=(_BatchNorm,),
)
def momentum_of_another_framework(case: Examination) -> Iterator[Issue]:
    """Batch norms with a momentum of 0.5 or more."""
    hasty = {p: norm.momentum for p, norm in case.batch_norms.items() if norm.momentum is not None}
    found = tuple(path for path in hasty if hasty[path] >= _HASTY and case.batch_norms[path].track_running_stats)
    if found:
        yield Issue(found, f"momentum {max(hasty.values()):g}")


@rule(
    "statistics never updated",
    "error",
    "warning",
    "advice",
    why="Mean 0 and variance 1 in every channel are what batch norm begins with: in eval mode it normalises nothing.",
    source=_IOFFE + ", section 3.1",
    fix="Train it, or estimate the statistics on images (headstart.backbones.recalibrate); check that the weights' "
    "file holds running_mean and running_var.",
    only_with=(_BatchNorm,),
)
def statistics_never_updated(case: Examination) -> Iterator[Issue]:
    """An error where the layer's own scale or shift was trained, or within a Classifier; advice in a new layer."""
    _ = case.tensors
    unused = _never_run(case)
    fresh = [path for path, norm in case.batch_norms.items() if _is_fresh(norm) and path not in unused]
    finished = case.subject.classifier is not None
    kinds = {path: case.affine_moved(path) for path in fresh}
    wrong = tuple(path for path, moved in kinds.items() if moved or finished)
    unsure = tuple(path for path, moved in kinds.items() if moved is None and not finished)
    new = tuple(path for path in fresh if path not in wrong and path not in unsure)
    if wrong:
        yield Issue(wrong, f"batch norms with mean 0 and variance 1 in a trained network: {len(wrong)}", "error")
    if unsure:
        yield Issue(
            unsure, f"batch norms, without a scale that would tell if they were trained: {len(unsure)}", "warning"
        )
    if new:
        yield Issue(new, f"of no use in eval mode or frozen; batch norms as they begin: {len(new)}", "advice")


def _is_fresh(norm: _BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    return bool((mean == 0).all()) and bool((variance == 1).all())


def _never_run(case: Examination) -> set[str]:
    """Batch norms of auxiliary branches, which nobody meets in eval mode; none where that is not known."""
    calls = case.calls
    return set() if calls is None else {path for path in case.batch_norms if not calls.get(path)}


@rule(
    "shared batch norm",
    "warning",
    why="A batch norm that runs at several places averages their statistics: in eval mode they fit none of them.",
    source="Wu and Johnson 2021, arXiv:2105.07576, table 5 (a head shared by five levels)",
    fix="Give each place a batch norm of its own; the weights before it may stay shared.",
    only_with=(_BatchNorm,),
)
def shared_batch_norm(case: Examination) -> Iterator[Issue]:
    """Batch norms that run more than once in one forward pass."""
    calls = case.trace.calls
    shared = tuple(path for path in case.batch_norms if calls.get(path, 0) > 1)
    if shared:
        yield Issue(shared, f"it runs {max(calls[path] for path in shared)} times in a forward pass")


@rule(
    "batch statistics in eval mode",
    "warning",
    why="Without running statistics every prediction depends on the other images in its batch, and one image alone "
    "gives another answer.",
    source=_IOFFE + ", section 3.1",
    fix="Build it with track_running_stats=True; a functional call takes training=self.training.",
)
def batch_statistics_in_eval(case: Examination) -> Iterator[Issue]:
    """Batch norms that take the statistics of the batch although the network is in eval mode."""
    called = [case.trace.steps[place] for place in case.trace.of("batch_norm")]
    found = _each([one.module for one in called if one.trains and one.from_pixels])  # not those of weights
    if found:
        yield Issue(found, f"batch norms use the batch they are given: {len(found)}")


_SMALL = 1e-3  # of a deviation of 1: what batch norm lets through is then a constant


@rule(
    "scales near zero",
    "advice",
    "warning",
    why="A channel whose scale is near zero is a constant: it is paid for and says nothing; in a layer of them a whole "
    "branch is dead.",
    source="Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming, arXiv:1708.06519",
    fix="Nothing, if accuracy is good: the channels may be pruned. Many of them: less weight decay on the scales, or "
    "a smaller learning rate.",
    only_with=(_BatchNorm,),
)
def scales_near_zero(case: Examination) -> Iterator[Issue]:
    """Trained batch norms with |scale| < 0.001; a warning for layers in which most channels are such."""
    scales = {path: _scales(norm) for path, norm in case.batch_norms.items() if case.affine_moved(path)}
    shares = {path: float((scale.abs() < _SMALL).float().mean()) for path, scale in scales.items()}
    most = tuple(path for path, share in shares.items() if share > 0.5)
    some = tuple(path for path, share in shares.items() if 0.05 < share <= 0.5)  # single ones are found everywhere
    if most:
        yield Issue(most, f"up to {max(shares[p] for p in most):.0%} of the channels of a layer are dead", "warning")
    if some:
        yield Issue(some, f"up to {max(shares[p] for p in some):.0%} of the channels of a layer are dead", "advice")


def _scales(norm: nn.Module) -> Tensor:
    weight = norm.weight
    return weight.detach().float() if isinstance(weight, Tensor) else torch.ones(1)


def _live(case: Examination) -> tuple[str, ...]:
    """Batch norms whose statistics move in the training to come."""
    return tuple(p for p, norm in case.batch_norms.items() if norm.track_running_stats and p in case.live)


def _each(paths: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths))
