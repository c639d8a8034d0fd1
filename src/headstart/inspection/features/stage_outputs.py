"""What the stages of a subject put out: their maps as they pass, or pooled to one vector for each image."""

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

_BY_SHAPE = {4: "map", 3: "tokens-mean", 2: "vector"}


def places_of(subject: InspectedModel) -> dict[str, Stage | None]:
    """Stage → where it is taken and how it is pooled; None for the children of a plain module, told by their shape."""
    row = None if subject.backbone is None else subject.backbone.spec
    return {name: None if row is None else row.stage(name) for name in subject.stages}


@contextmanager
def watch_stages(subject: InspectedModel, look: HookFunction) -> Iterator[None]:
    """Show what each stage gives to a function, as soon as it is there: a later in-place layer writes into it."""
    places = places_of(subject)
    modules = {name: subject.network.get_submodule(path) for name, path in subject.stages.items()}
    inputs = {name for name, place in places.items() if place is not None and place.side == "input"}

    def seen(name: str, value: Tensor) -> None:
        if isinstance(value, Tensor):  # a user's own module may give anything
            look(name, value)

    with (
        watch_inputs({name: module for name, module in modules.items() if name in inputs}, seen),
        watch_outputs({name: module for name, module in modules.items() if name not in inputs}, seen),
    ):
        yield


def pooled(subject: InspectedModel, name: str, value: Tensor) -> Tensor:
    """One vector for each image, N×D float32, as a classifier's head would take it.

    A child of a plain module is pooled by its shape: maps and tokens take their mean, anything else is laid flat.
    """
    place = places_of(subject)[name]
    kind = place.pool if place is not None else _BY_SHAPE.get(value.ndim)
    return (POOL[kind](value) if kind else value.reshape(len(value), -1)).float()


def is_map(subject: InspectedModel, name: str, value: Tensor) -> bool:
    """Whether a stage gives maps N×C×H×W of more than one place."""
    place = places_of(subject)[name]
    first = place is None or place.pool == "map"
    return first and value.ndim == 4 and value.shape[2] * value.shape[3] > 1


@torch.inference_mode()
def stage_features(subject: InspectedModel, images: InspectedImages) -> dict[str, Tensor]:
    """Stage → pooled features N×D of all images, raw, in forward order; stages that never run are left out.

    To be called inside `subject.eval_mode()`.
    """
    parts: dict[str, list[Tensor]] = {}
    with watch_stages(subject, lambda name, value: parts.setdefault(name, []).append(pooled(subject, name, value))):
        for pixels in images.batches():
            subject.network(pixels)
    return {name: torch.cat(parts[name]) for name in subject.stages if name in parts}
