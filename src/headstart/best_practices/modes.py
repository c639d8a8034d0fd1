"""Rules about train and eval mode, and about what asks for a gradient."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, rule

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@rule(
    "train and eval mode mixed",
    "error",
    "warning",
    "advice",
    why="A part in train mode inside a network in eval mode changes with every prediction or makes it by chance; a "
    "part in eval mode that is trained keeps old statistics and drops nothing.",
    source="torch.nn.Module.eval",
    fix="Call .eval() or .train() on the whole network, then freeze what is to stay; set modes last.",
)
def modes_mixed(case: Examination) -> Iterator[Issue]:
    """Batch norm and dropout, whose answer depends on the mode, against the mode of the whole network."""
    kinds = {path: module for path, module in case.modules.items() if isinstance(module, (_BatchNorm, *_DROPOUT))}
    other = [path for path in kinds if case.modes[path] != case.modes[""]]
    norms = tuple(path for path in other if isinstance(kinds[path], _BatchNorm))
    dropouts = tuple(path for path in other if path not in norms)
    if not case.modes[""]:
        moving = tuple(path for path in norms if case.batch_norms[path].track_running_stats)
        if moving:
            yield Issue(moving, f"batch norms in train mode in a network in eval mode: {len(moving)}", "error")
        if dropouts:
            yield Issue(dropouts, f"dropouts in train mode in a network in eval mode: {len(dropouts)}", "warning")
        return
    trained = tuple(path for path in norms if any(p.requires_grad for p in kinds[path].parameters()))
    if trained:
        yield Issue(trained, f"batch norms in eval mode whose scales are trained: {len(trained)}", "advice")


@rule(
    "nothing trains",
    "warning",
    "error",
    why="Without a parameter that asks for a gradient there is nothing to learn: backward() fails, or a loss that "
    "stays where it is goes unnoticed.",
    source="torch.Tensor.requires_grad",
    fix="Thaw a part (headstart.thaw), or put a new head on the network; do not train inside torch.no_grad().",
)
def nothing_trains(case: Examination) -> Iterator[Issue]:
    """No parameter with a gradient in a network that is in train mode (a warning) or has an optimiser (an error)."""
    parameters = list(case.network.parameters())
    if not parameters or case.trained:
        return
    if case.optimizers:
        yield Issue((), f"all {len(parameters)} parameters are frozen, and there is an optimiser", "error")
    elif case.modes[""]:
        yield Issue((), f"all {len(parameters)} parameters are frozen, and the network is in train mode", "warning")
