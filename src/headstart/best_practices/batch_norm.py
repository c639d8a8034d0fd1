"""Rules about batch norm in training: statistics that move, that never moved, that rest on too few images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, register_rule
from headstart.inspection.graph import CONVOLUTIONS
from headstart.wording import percent

_IOFFE = "Ioffe and Szegedy 2015, arXiv:1502.03167"
_FEW = 16  # images: Wu and He's figure 1 has the error begin to rise below it
_OLD = 0.05  # weight that old statistics may keep; at momentum 0.1 this takes 29 steps
_HASTY = 0.5  # PyTorch's momentum is the weight of the new batch; Keras' and TensorFlow's 0.99 is that of the old
_LARGE = 0.1  # usual are 1e-5 to 1e-3
_SMALL = 1e-3  # of a scale of 1: what batch norm passes on is then a constant


@register_rule(
    "bias before batch norm",
    "advice",
    why="Batch norm subtracts the mean of each channel, and a bias with it: the bias costs memory and time and learns "
    "nothing.",
    source=_IOFFE + ", section 3.2",
    fix="Build the convolution or linear layer with bias=False; batch norm has a shift of its own.",
    only_with=(_BatchNorm,),
)
def bias_before_batch_norm(examination: Examination) -> Iterator[Issue]:
    """A convolution or linear layer with a bias whose output only batch norm takes."""
    graph = examination.graph
    layers = [
        graph.operations[index].module
        for index in map(graph.first_input, graph.find("batch_norm"))
        if index >= 0
        and graph.operations[index].function in (*CONVOLUTIONS, "linear")
        and graph.operations[index].has_bias
        and len(graph.users[index]) == 1
    ]
    if layers:
        yield Issue(_unique(layers), f"layers whose bias is subtracted again: {len(_unique(layers))}")


@register_rule(
    "frozen weights with moving statistics",
    "error",
    "warning",
    why="requires_grad=False stops only the optimiser: in train mode running mean and variance keep moving, so the "
    "frozen layers change and the weights after them no longer fit.",
    source="pytorch/pytorch issue 86590",
    fix="Freeze with headstart.freeze, or call .eval() on these layers after every .train().",
    only_with=(_BatchNorm,),
)
def frozen_with_moving_statistics(examination: Examination) -> Iterator[Issue]:
    """An error where it happens now; a warning where the next `.train()` of a partly trained network starts it."""
    norms = examination.batch_norms
    frozen = [path for path, norm in norms.items() if norm.track_running_stats and _is_frozen(examination, path)]
    now = tuple(path for path in frozen if examination.modes[path])
    soon = tuple(path for path in frozen if path in examination.live and path not in now and examination.trained)
    if now:
        yield Issue(now, f"batch norms in train mode with frozen weights: {len(now)}", "error")
    if soon:
        yield Issue(soon, f"batch norms with frozen weights that .train() puts in train mode: {len(soon)}", "warning")


def _is_frozen(examination: Examination, path: str) -> bool:
    """By its own scale and shift; without them, by the parameters of the module that holds it."""
    own = list(examination.modules[path].parameters(recurse=False))
    around = own or list(examination.modules[path.rpartition(".")[0]].parameters())
    return bool(around) and not any(parameter.requires_grad for parameter in around)


@register_rule(
    "batches too small for batch norm",
    "warning",
    "error",
    needs=("batch_size",),
    why="Mean and variance of a few images are noise, and differ from the running ones used later; with one image and "
    "a map of one pixel there is no variance at all.",
    source="Wu and He 2018, Group Normalization, arXiv:1803.08494, figure 1",
    fix="Freeze the statistics (headstart.freeze), use larger batches or group norm; drop a last batch of one image.",
    only_with=(_BatchNorm,),
)
def batches_too_small(examination: Examination) -> Iterator[Issue]:
    """Fewer than 16 images per step for batch norms that follow `.train()`; an error where one value is normalised."""
    live = _live(examination)
    size = examination.batch_size or 0
    if not live or size >= _FEW:
        return
    if size == 1:
        single = tuple(path for path in live if _values_per_image(examination).get(path) == 1)
        if single:
            yield Issue(single, "one value per channel, which PyTorch refuses to normalise", "error")
            return
    yield Issue(live, f"batches of {size}, below {_FEW} the error starts to rise; live batch norms: {len(live)}")


def _values_per_image(examination: Examination) -> dict[str, int]:
    """Path of a batch norm → values of a channel that one image has."""
    norms = [examination.graph.operations[index] for index in examination.graph.find("batch_norm")]
    return {norm.module: int(torch.Size(norm.shape[2:]).numel()) for norm in norms}


@register_rule(
    "outdated statistics after training",
    "warning",
    needs=("steps",),
    why="After k steps running statistics still contain (1 - momentum)^k of the old ones: in eval mode the new weights "
    "are used with statistics of the old data.",
    source="torch.nn.BatchNorm2d, note on momentum",
    fix="Train longer, raise the momentum, freeze the statistics, or re-estimate them after training "
    "(headstart.recalibrate_batch_norm).",
    only_with=(_BatchNorm,),
)
def outdated_statistics(examination: Examination) -> Iterator[Issue]:
    """Live batch norms in which the old statistics keep more than 5 % after the steps to come."""
    steps = examination.steps or 0
    old = {path: _weight_of_old(examination.batch_norms[path], steps) for path in _live(examination)}
    kept = {path: weight for path, weight in old.items() if weight > _OLD}
    if kept:
        worst = percent(max(kept.values()))
        yield Issue(tuple(kept), f"after {steps} steps old statistics keep {worst}; {percent(_OLD)} is the limit")


def _weight_of_old(norm: _BatchNorm, steps: int) -> float:
    if norm.momentum is not None:
        return float((1 - norm.momentum) ** steps)
    before = norm.num_batches_tracked  # without a momentum all batches weigh the same, those of the past too
    count = 0 if before is None or before.is_meta else int(before)
    return count / max(count + steps, 1)


@register_rule(
    "momentum of another framework",
    "warning",
    why="PyTorch's momentum is the weight of the newest batch (0.1), Keras' that of the past (0.99): at 0.5 or more "
    "running statistics are those of the last batch or two.",
    source="torch.nn.BatchNorm2d, note on momentum",
    fix="Set momentum to 1 minus the value for Keras or TensorFlow, usually 0.1 or 0.01.",
    only_with=(_BatchNorm,),
)
def momentum_of_another_framework(examination: Examination) -> Iterator[Issue]:
    """Batch norms with a momentum of 0.5 or more, or of 0, with which statistics stay what they are."""
    norms = examination.batch_norms
    momenta = {path: norm.momentum for path, norm in norms.items() if norm.momentum is not None}
    found = tuple(path for path in momenta if momenta[path] >= _HASTY and norms[path].track_running_stats)
    if found:
        yield Issue(found, f"momentum {max(momenta.values()):g}")
    still = tuple(path for path in momenta if momenta[path] == 0 and norms[path].track_running_stats)
    trained = tuple(path for path in still if any(one.requires_grad for one in norms[path].parameters()))
    if trained := tuple(path for path in trained if path in examination.live):
        yield Issue(trained, "momentum 0: running statistics never change, whatever training sees")


@register_rule(
    "statistics never updated",
    "error",
    "warning",
    "advice",
    why="Mean 0 and variance 1 in every channel are the initial values: in eval mode such a batch norm normalises "
    "nothing.",
    source=_IOFFE + ", section 3.1",
    fix="Train it, or estimate the statistics on images (headstart.recalibrate_batch_norm); check that the file of the "
    "weights contains running_mean and running_var.",
    only_with=(_BatchNorm,),
)
def statistics_never_updated(examination: Examination) -> Iterator[Issue]:
    """An error where the layer's own scale or shift was trained, or in a Classifier; advice in a new layer."""
    _ = examination.tensors
    unused = _never_run(examination)
    initial = [p for p, norm in examination.batch_norms.items() if _has_initial_statistics(norm) and p not in unused]
    finished = examination.inspected.classifier is not None
    moved = {path: examination.affine_moved(path) for path in initial}
    if not finished and any(moved.values()) and examination.looks_untrained:
        yield Issue(
            tuple(initial), f"batch norms with mean 0 and variance 1, and random weights: {len(initial)}", "warning"
        )
        return
    wrong = tuple(path for path, one in moved.items() if one or finished)
    unsure = tuple(path for path, one in moved.items() if one is None and not finished)
    new = tuple(path for path in initial if path not in wrong and path not in unsure)
    if wrong:
        yield Issue(wrong, f"batch norms with mean 0 and variance 1 in a trained network: {len(wrong)}", "error")
    if unsure:
        yield Issue(unsure, f"batch norms without a scale, perhaps of a trained network: {len(unsure)}", "warning")
    if new:
        yield Issue(new, f"new batch norms, without effect in eval mode or frozen: {len(new)}", "advice")


def _has_initial_statistics(norm: _BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    return bool((mean == 0).all()) and bool((variance == 1).all())


def _never_run(examination: Examination) -> set[str]:
    """Batch norms of auxiliary branches, which do not run in eval mode; none where that is not known."""
    calls = examination.calls
    return set() if calls is None else {path for path in examination.batch_norms if not calls.get(path)}


@register_rule(
    "shared batch norm",
    "warning",
    why="A batch norm that runs several times averages the statistics of all inputs: in eval mode they fit none.",
    source="Wu and Johnson 2021, arXiv:2105.07576, table 5 (a head shared by five levels)",
    fix="Give each place a batch norm of its own; the weights before it may stay shared.",
    only_with=(_BatchNorm,),
)
def shared_batch_norm(examination: Examination) -> Iterator[Issue]:
    """Batch norms that run more than once in one forward pass."""
    calls = examination.graph.calls
    shared = tuple(path for path in examination.batch_norms if calls.get(path, 0) > 1)
    if shared:
        yield Issue(shared, f"it runs {max(calls[path] for path in shared)} times in a forward pass")


@register_rule(
    "batch statistics in eval mode",
    "warning",
    why="Without running statistics every prediction depends on the other images in its batch, and a single image is "
    "predicted differently.",
    source=_IOFFE + ", section 3.1",
    fix="Build it with track_running_stats=True; in a functional call pass training=self.training.",
)
def batch_statistics_in_eval(examination: Examination) -> Iterator[Issue]:
    """Batch norms that use the statistics of the batch although the network is in eval mode."""
    norms = [examination.graph.operations[index] for index in examination.graph.find("batch_norm")]
    found = _unique([one.module for one in norms if one.trains and one.from_pixels])  # not those of weights
    if found:
        yield Issue(found, f"batch norms that use the statistics of the batch: {len(found)}")


@register_rule(
    "scales near zero",
    "advice",
    "warning",
    why="A channel whose scale is near zero is a constant: it costs time and carries no information; in a layer of "
    "such channels a whole branch is dead.",
    source="Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming, arXiv:1708.06519",
    fix="Nothing if accuracy is good: the channels can be pruned. If there are many: less weight decay on the scales, "
    "or a smaller learning rate.",
    only_with=(_BatchNorm,),
)
def scales_near_zero(examination: Examination) -> Iterator[Issue]:
    """Trained batch norms with |scale| < 0.001; a warning for layers in which most channels are such."""
    norms = examination.batch_norms
    scales = {path: _scales(norm) for path, norm in norms.items() if examination.affine_moved(path)}
    shares = {path: float((scale.abs() < _SMALL).float().mean()) for path, scale in scales.items()}
    by_severity = {
        "warning": tuple(path for path, share in shares.items() if share > 0.5),
        "advice": tuple(path for path, share in shares.items() if 0.05 < share <= 0.5),  # few are common everywhere
    }
    for severity, paths in by_severity.items():
        if paths:
            worst = percent(max(shares[path] for path in paths))
            yield Issue(paths, f"up to {worst} of the channels of a layer are dead", severity)


@register_rule(
    "batch norm out of range",
    "warning",
    why="Batch norm divides by the root of variance + eps: an eps far above the variance makes the output small, and a "
    "running variance of 0 makes it, in eval mode, hundreds of times too large.",
    source=_IOFFE + ", algorithm 1",
    fix="Use eps=1e-5 (1e-3 is usual too), and estimate the statistics on images (headstart.recalibrate_batch_norm).",
    only_with=(_BatchNorm,),
)
def batch_norm_out_of_range(examination: Examination) -> Iterator[Issue]:
    """An eps above 0.1, or a running variance of 0 in every channel while the scale is not."""
    _ = examination.tensors
    norms = examination.batch_norms
    if large := tuple(path for path, norm in norms.items() if norm.eps > _LARGE):
        yield Issue(large, f"eps of up to {max(norms[path].eps for path in large):g}")
    if still := tuple(path for path, norm in norms.items() if _has_no_variance(norm)):
        yield Issue(still, f"a running variance of 0 in every channel: {len(still)}")


def _has_no_variance(norm: _BatchNorm) -> bool:
    variance = norm.running_var
    if variance is None or not variance.numel():
        return False
    return bool((variance == 0).all()) and bool((_scales(norm) != 0).any())


def _scales(norm: nn.Module) -> Tensor:
    weight = norm.weight
    return weight.detach().float() if isinstance(weight, Tensor) else torch.ones(1)


def _live(examination: Examination) -> tuple[str, ...]:
    """Batch norms whose statistics move in the training to come."""
    norms = examination.batch_norms
    return tuple(path for path, norm in norms.items() if norm.track_running_stats and path in examination.live)


def _unique(paths: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths))
