"""Outputs of a model's stages: as they pass, or pooled to one vector per image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from headstart.backbones.feature_extractor import POOL
from headstart.backbones.spec import Stage
from headstart.hooks import HookFunction, watch_inputs, watch_outputs
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel

_BY_DIMENSIONS = {4: "map", 3: "tokens-mean", 2: "vector"}


def stage_of(inspected: InspectedModel, name: str) -> Stage | None:
    """How a stage of a backbone is taken and pooled; None for the children of a plain module."""
    return None if inspected.backbone is None else inspected.backbone.spec.stage(name)


@contextmanager
def watch_stages(inspected: InspectedModel, hook: HookFunction) -> Iterator[None]:
    """Call a function with each stage's name and output, at once, before a later in-place layer overwrites it."""
    modules = {name: inspected.network.get_submodule(path) for name, path in inspected.stages.items()}
    stages = {name: stage_of(inspected, name) for name in modules}
    inputs = {name for name, stage in stages.items() if stage is not None and stage.side == "input"}

    def call(name: str, value: Tensor) -> None:
        if isinstance(value, Tensor):  # a user's own module may return anything
            hook(name, value)

    with (
        watch_inputs({name: module for name, module in modules.items() if name in inputs}, call),
        watch_outputs({name: module for name, module in modules.items() if name not in inputs}, call),
    ):
        yield


def pooled(inspected: InspectedModel, name: str, value: Tensor) -> Tensor:
    """One vector per image, N×D float32, pooled as for a classifier's head.

    A child of a plain module is pooled by its dimensions: maps and tokens by their mean, anything else is flattened.
    """
    stage = stage_of(inspected, name)
    kind = stage.pool if stage is not None else _BY_DIMENSIONS.get(value.ndim)
    return (POOL[kind](value) if kind else value.reshape(len(value), -1)).float()


def is_map(inspected: InspectedModel, name: str, value: Tensor) -> bool:
    """Whether a stage's output is N×C×H×W with more than one position."""
    stage = stage_of(inspected, name)
    channels_first = stage is None or stage.pool == "map"
    return channels_first and value.ndim == 4 and value.shape[2] * value.shape[3] > 1


@torch.inference_mode()
def stage_features(inspected: InspectedModel, images: InspectedImages) -> dict[str, Tensor]:
    """Stage → pooled features N×D of all images, unscaled, in forward order; stages that never run are left out.

    Call it inside `inspected.eval_mode()`.
    """
    batches: dict[str, list[Tensor]] = {}

    def keep(name: str, value: Tensor) -> None:
        batches.setdefault(name, []).append(pooled(inspected, name, value))

    with watch_stages(inspected, keep):
        for pixels in images.batches():
            inspected.network(pixels)
    return {name: torch.cat(batches[name]) for name in inspected.stages if name in batches}
