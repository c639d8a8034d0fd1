"""Parameters in groups for the optimiser: each once, later stages faster than earlier ones, no decay where it harms."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from headstart.backbones.backbone import Backbone
from headstart.finetune.network_with_head import HeadedNetwork

Group = dict[str, Any]

_LEAST = 1e-3  # of a head that begins at zero; Adafactor's second epsilon


def parameter_groups(
    network: HeadedNetwork, backbone: Backbone, lr: float, *, stage_decay: float, weight_decay: float
) -> list[Group]:
    """Groups for the trained parameters of a headed network.

    Rates are relative: a step of Adam moves each weight by about its rate, and a rate that hardly changes weights of
    0.08 (the last stage of a CIFAR ResNet-20) replaces weights of 0.005 in a few steps (that of an ImageNet
    ResNet-18). So a group learns at `lr` times the root mean square of its weights, and a stage that lies L stages
    before the head at `stage_decay^L` of that. The head learns at `lr` times `step_scales`, so that a step moves a
    score by at most `lr` of the scores' standard deviation. Biases and the scales of normalisation layers are
    not decayed: decay would pull a scale to zero, not to its neutral 1.

    Args:
        stage_decay: 1 for the same rate everywhere.

    Returns:
        Groups with `params`, `lr`, `weight_decay`, `name`; every trained parameter in exactly one.

    Source: relative steps: Shazeer and Stern 2018, arXiv:1804.04235, section 8; by stage: Howard and Ruder 2018,
    arXiv:1801.06146, section 3.2 (there 1/2.6).
    """
    first = [backbone.child_of(stage.name) for stage in backbone.spec.stages]
    own = [name for name, _ in backbone.network.named_parameters()]
    order = {id(parameter): i for i, parameter in enumerate(backbone.network.parameters())}
    starts = [min((i for i, name in enumerate(own) if name.startswith(path + ".")), default=-1) for path in first]
    groups: dict[tuple[str, bool], Group] = {}
    seen: set[int] = set()
    for parameter in network.parameters():
        if not parameter.requires_grad or id(parameter) in seen:
            continue
        seen.add(id(parameter))
        stage = (
            len(first)
            if id(parameter) not in order
            else max((i for i, s in enumerate(starts) if 0 <= s <= order[id(parameter)]), default=0)
        )
        label = "head" if stage == len(first) else backbone.spec.stages[stage].name
        decays = parameter.ndim > 1
        group = groups.setdefault(
            (label, decays),
            {
                "params": [],
                "lr": lr * stage_decay ** (len(first) - stage),
                "weight_decay": weight_decay if decays else 0.0,
                "name": f"{label}, {'weights' if decays else 'biases and scales'}",
            },
        )
        group["params"].append(parameter)
    for (label, decays), group in groups.items():
        scale = max(_root_mean_square(group["params"]), _LEAST)
        if label == "head" and network.step_scales is not None:
            scale = network.step_scales[0 if decays else 1]
        group["lr"] *= scale
    return list(groups.values())


def _root_mean_square(parameters: list[nn.Parameter]) -> float:
    total = sum(float(parameter.detach().double().square().sum()) for parameter in parameters)
    return math.sqrt(total / sum(parameter.numel() for parameter in parameters))


def batch_norms(network: nn.Module) -> tuple[str, ...]:
    """Paths of the batch-norm layers that keep running statistics."""
    return tuple(
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None
    )
