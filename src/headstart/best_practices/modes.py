"""Rules about train and eval mode, and about what requires a gradient."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, register_rule

_MISSPELT = ("require_grad", "required_grad", "requires_gradient", "requires_grads", "require_grads", "trainable")
_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@register_rule(
    "mixed train and eval mode",
    "error",
    "warning",
    "advice",
    why="A layer in train mode inside a network in eval mode changes with every prediction, or makes it random; a "
    "trained layer in eval mode keeps old statistics and drops nothing.",
    source="torch.nn.Module.eval",
    fix="Call .eval() or .train() on the whole network, then freeze what should stay; set modes last.",
)
def mixed_modes(examination: Examination) -> Iterator[Issue]:
    """Batch norm and dropout, whose output depends on the mode, against the mode of the whole network."""
    modules, modes = examination.modules, examination.modes
    kinds = {path: module for path, module in modules.items() if isinstance(module, (_BatchNorm, *_DROPOUT))}
    other = [path for path in kinds if modes[path] != modes[""]]
    norms = tuple(path for path in other if isinstance(kinds[path], _BatchNorm))
    dropouts = tuple(path for path in other if path not in norms)
    if not modes[""]:
        moving = tuple(path for path in norms if examination.batch_norms[path].track_running_stats)
        if moving:
            yield Issue(moving, f"batch norms in train mode in a network in eval mode: {len(moving)}", "error")
        if dropouts:
            yield Issue(dropouts, f"dropout layers in train mode in a network in eval mode: {len(dropouts)}", "warning")
        return
    trained = tuple(path for path in norms if any(p.requires_grad for p in kinds[path].parameters()))
    if trained:
        yield Issue(trained, f"batch norms in eval mode whose scales are trained: {len(trained)}", "advice")


@register_rule(
    "no trainable parameters",
    "warning",
    "error",
    why="Without a parameter that requires a gradient there is nothing to learn: backward() fails, or the loss never "
    "changes.",
    source="torch.Tensor.requires_grad",
    fix="Unfreeze layers (headstart.thaw), or add a new head; do not train inside torch.no_grad().",
)
def no_trainable_parameters(examination: Examination) -> Iterator[Issue]:
    """All parameters frozen in a network that is in train mode (a warning) or has an optimiser (an error)."""
    parameters = list(examination.network.parameters())
    if not parameters or examination.trained:
        return
    if examination.optimizers:
        yield Issue((), f"all {len(parameters)} parameters are frozen, and there is an optimiser", "error")
    elif examination.modes[""]:
        yield Issue((), f"all {len(parameters)} parameters are frozen, and the network is in train mode", "warning")


@register_rule(
    "freezing without effect",
    "error",
    why="requires_grad of a module is an attribute without meaning, and so is a misspelt one of a tensor: every "
    "parameter is still trained.",
    source="torch.nn.Module.requires_grad_",
    fix="Call module.requires_grad_(False), or headstart.freeze, which keeps batch norm still as well.",
)
def freezing_without_effect(examination: Examination) -> Iterator[Issue]:
    """Attributes `requires_grad`, `trainable` … that somebody set on a module, or near misses on a parameter."""
    modules = {f"{path}.{name}".lstrip(".") for path, module in examination.modules.items() for name in _set_on(module)}
    parameters = {
        f"{path}.{name}" for path, one in examination.trained.items() for name in vars(one) if name in _MISSPELT
    }
    places = tuple(sorted(modules | parameters))
    if places:
        yield Issue(places, f"attributes that freeze nothing: {len(places)}")


def _set_on(module: nn.Module) -> list[str]:
    """Such attributes of a module in which something is still trained."""
    named = [name for name in ("requires_grad", *_MISSPELT) if vars(module).get(name) is False]
    return named if any(one.requires_grad for one in module.parameters()) else []


@register_rule(
    "trained in eval mode",
    "warning",
    why="In eval mode dropout drops nothing and batch norm uses old statistics that no longer follow the weights: "
    "training runs, and the result is worse without an error.",
    source="torch.nn.Module.train",
    fix="Call network.train() before the training steps; a train() of your own must return super().train(mode).",
)
def trained_in_eval_mode(examination: Examination) -> Iterator[Issue]:
    """A network in eval mode that has an optimiser, or whose own `.train()` leaves trained layers in eval mode."""
    kinds = {
        path: module for path, module in examination.modules.items() if isinstance(module, (_BatchNorm, *_DROPOUT))
    }
    trained = {path: m for path, m in kinds.items() if isinstance(m, _BatchNorm) and _is_trained(m)}
    stuck = tuple(path for path in trained if path not in examination.live)
    if stuck and not examination.live & kinds.keys():
        yield Issue(stuck, f"trained batch norms that .train() leaves in eval mode: {len(stuck)}")
    elif "" not in examination.live and kinds and examination.trained:
        yield Issue(tuple(kinds), "the network's own .train() leaves it in eval mode")
    elif examination.optimizers and not examination.modes[""] and kinds and examination.trained:
        yield Issue((), "the network is in eval mode, and there is an optimiser that trains it")


def _is_trained(module: nn.Module) -> bool:
    return any(one.requires_grad for one in module.parameters())
