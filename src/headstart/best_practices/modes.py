"""Rules about train and eval mode, and about what requires a gradient."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, register_rule

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
