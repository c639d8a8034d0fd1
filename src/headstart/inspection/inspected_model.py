"""Subject: whatever is looked into (a Classifier, a Backbone, any module), with its stages, classes and logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.backbones.backbone import Backbone
from headstart.backbones.feature_extractor import POOL
from headstart.backbones.preprocess import Preprocess
from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError
from headstart.hooks import watch_inputs, watch_outputs
from headstart.inspection.inspected_images import InspectedImages
from headstart.preserve import preserve

Model = Classifier | Backbone | nn.Module


@dataclass(frozen=True, eq=False)
class InspectedModel:
    """What is looked into.

    Args:
        name: of the backbone, or of the module's class.
        network: the network itself; paths of modules are paths in it. A backbone's own top is part of it.
        stages: name of a stage → path of its module, in forward order; a plain module's stages are its children.
        classes: names of the logits' columns; empty where nobody said.
        preprocess: how images are brought to it; None for a plain module.
        backbone: whose network it is; None for a plain module.
        classifier: whose head gives the logits; None without one.
    """

    name: str
    network: nn.Module
    stages: dict[str, str]
    classes: tuple[str, ...] = ()
    preprocess: Preprocess | None = None
    backbone: Backbone | None = None
    classifier: Classifier | None = None

    @property
    def has_logits(self) -> bool:
        """Whether it answers with scores of classes: not a backbone whose weights came without a top."""
        return self.classifier is not None or self.backbone is None or self.backbone.has_pretrained_head

    def logits(self, pixels: Tensor) -> Tensor:
        """Logits N×C, calibrated for a Classifier; gradients flow to pixels and maps where they are asked for.

        They are of the images as they are, since looks follow each image through the network; see `answers`.

        Raises:
            BackboneError: it has no logits.
        """
        if self.classifier is not None:
            return self._head_logits(pixels, self.classifier)
        if not self.has_logits:
            raise BackboneError(
                expected="a network that names classes",
                found="weights without a top",
                where=self.name,
                hint="Train a classifier on it first, and look into that.",
            )
        logits: Tensor = self.network(pixels)
        return logits

    def answers(self, pixels: Tensor) -> Tensor:
        """Logits N×C as the model answers: for a Classifier with mirror images, their mean over both, in one pass.

        Raises:
            BackboneError: it has no logits.
        """
        views = self.views(pixels)
        return torch.stack(self.logits(torch.cat(views)).chunk(len(views))).mean(0)

    def columns(self, images: InspectedImages, logits: Tensor) -> Tensor | None:
        """Labels N as columns of the logits N×C; None where there are none, or where they name no classes of the model.

        Nobody told the classes of a network's own top, so that labels of as many classes as it has columns are taken
        for these.
        """
        own, theirs, labels = self.classes, images.classes, images.labels
        if labels is None or not theirs or (not set(theirs) <= set(own) if own else len(theirs) != logits.shape[1]):
            return None
        places = [own.index(name) for name in theirs] if own else list(range(len(theirs)))
        return torch.tensor(places, device=logits.device)[labels.to(logits.device)]

    def views(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """What an answer is the mean over: the pixels, and their mirror images for a Classifier that takes these in."""
        mirrors = self.classifier is not None and self.classifier.head.flip_tta
        return (pixels, pixels.flip(-1)) if mirrors else (pixels,)

    @contextmanager
    def looking(self, *, weights: bool = False) -> Iterator[None]:
        """Inside, the network is in eval mode; after it, everything is as it was, also when the look fails.

        Args:
            weights: True where weights or buffers are changed inside: a copy of them is kept.
        """
        with preserve(self.network, weights=weights):
            self.network.eval()
            yield

    def _head_logits(self, pixels: Tensor, classifier: Classifier) -> Tensor:
        """The head on the stages' outputs of the network itself: its blocks stay visible, unlike in a traced graph."""
        head = classifier.head
        wanted = [classifier.backbone.spec.stage(name) for name in head.stages]
        pooled: dict[str, Tensor] = {}

        def keep(kind: str) -> dict[str, nn.Module]:
            return {one.name: self.network.get_submodule(one.module) for one in wanted if one.side == kind}

        def pool(name: str, value: Tensor) -> None:
            pooled[name] = POOL[classifier.backbone.spec.stage(name).pool](value).float()  # at once: in-place layers

        with watch_inputs(keep("input"), pool), watch_outputs(keep("output"), pool):
            self.network(pixels)
        parts = [pooled[one.name] for one in wanted]
        features = torch.cat([F.normalize(part, dim=1) for part in parts] if head.unit else parts, 1)
        weight, bias = (torch.from_numpy(array).to(features) for array in (head.weight, head.bias))
        return (features @ weight + bias) / head.temperature


def inspected_model(model: Model) -> InspectedModel:
    """What a look needs to know of a Classifier, a Backbone or any module; nothing is copied."""
    if isinstance(model, Classifier):
        backbone = model.backbone
        stages = {stage.name: stage.module for stage in backbone.spec.stages}
        return InspectedModel(
            backbone.spec.name, backbone.network, stages, model.classes, backbone.preprocess, backbone, model
        )
    if isinstance(model, Backbone):
        stages = {stage.name: stage.module for stage in model.spec.stages}
        return InspectedModel(model.spec.name, model.network, stages, (), model.preprocess, model)
    return InspectedModel(type(model).__name__, model, {name: name for name, _ in model.named_children()})
