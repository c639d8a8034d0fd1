"""InspectedModel: a Classifier, a Backbone or any module in one form, with its stages, classes and logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.backbones.backbone import Backbone
from headstart.backbones.feature_extractor import POOL
from headstart.backbones.preprocess import Preprocess
from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError
from headstart.hooks import watch_inputs, watch_outputs
from headstart.inspection.graph import tensors_in
from headstart.inspection.inspected_images import InspectedImages
from headstart.preserve import preserve
from headstart.wording import counted

Model = Classifier | Backbone | nn.Module


@dataclass(frozen=True, eq=False)
class InspectedModel:
    """The model that an analysis runs on.

    Args:
        name: of the backbone, or of the module's class.
        network: module paths are relative to it; it includes the pretrained head of a backbone.
        stages: name of a stage → path of its module, in forward order; a plain module's stages are its children.
        classes: names of the logits' columns; empty where they are unknown.
        preprocess: of its images; None for a plain module.
        backbone: None for a plain module.
        classifier: whose head computes the logits; None without one.
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
        """Whether it outputs class scores; a backbone whose weights have no pretrained head does not."""
        return self.classifier is not None or self.backbone is None or self.backbone.has_pretrained_head

    def logits(self, pixels: Tensor) -> Tensor:
        """Logits N×C of the images without flip TTA, calibrated for a Classifier; differentiable.

        Raises:
            BackboneError: it has no logits.
        """
        if self.classifier is not None:
            return self._head_logits(pixels, self.classifier)
        if not self.has_logits:
            raise BackboneError(
                expected="a network that outputs class scores",
                found="weights without a classification head",
                where=self.name,
                hint="Train a classifier on this backbone and inspect that.",
            )
        return self._scores_in(self.network(pixels), len(pixels))

    def _scores_in(self, output: object, images: int) -> Tensor:
        """The logits in what a network returns: itself, what is called `logits`, or the one tensor in it."""
        named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
        found = list(tensors_in(output if named is None else named))
        if len(found) == 1 and found[0].ndim >= 2 and len(found[0]) == images and found[0].is_floating_point():
            return found[0]
        shapes = ", ".join("×".join(map(str, one.shape)) or "one number" for one in found)
        raise BackboneError(
            expected=f"class scores N×C as the output of {self.name}, for {counted(images, 'image')}",
            found=f"a {type(output).__name__}" + (f" of {shapes}" if shapes else ""),
            where=self.name,
            hint="Return the logits alone or under the name logits; or train a classifier on this backbone and inspect "
            "that.",
        )

    def tta_logits(self, pixels: Tensor) -> Tensor:
        """Logits N×C that the model predicts with: a Classifier with flip TTA averages both views, in one pass.

        Raises:
            BackboneError: it has no logits.
        """
        views = self.views(pixels)
        return torch.stack(self.logits(torch.cat(views)).chunk(len(views))).mean(0)

    def targets(self, images: InspectedImages, logits: Tensor) -> Tensor | None:
        """Labels N as column indices of the logits N×C; None without labels, or with classes unknown to the model.

        A network without class names accepts labels of exactly as many classes as it has columns, in their order.
        """
        own, theirs, labels = self.classes, images.classes, images.labels
        if labels is None or not theirs or (not set(theirs) <= set(own) if own else len(theirs) != logits.shape[1]):
            return None
        columns = [own.index(name) for name in theirs] if own else list(range(len(theirs)))
        return torch.tensor(columns, device=logits.device)[labels.to(logits.device)]

    def views(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """What `tta_logits` averages over: the pixels, and their horizontal flip for a Classifier with flip TTA."""
        flips = self.classifier is not None and self.classifier.head.flip_tta
        return (pixels, pixels.flip(-1)) if flips else (pixels,)

    @contextmanager
    def eval_mode(self, *, weights: bool = False) -> Iterator[None]:
        """Put the network in eval mode; afterwards everything is restored, also after an error.

        Args:
            weights: also restore weights and buffers, from a copy; needed where the block changes them.
        """
        with preserve(self.network, weights=weights):
            self.network.eval()
            yield

    def _head_logits(self, pixels: Tensor, classifier: Classifier) -> Tensor:
        """The head on the stages' outputs of the network itself: its blocks stay visible, unlike in a traced graph."""
        head = classifier.head
        stages = [classifier.backbone.spec.stage(name) for name in head.stages]
        pooled: dict[str, Tensor] = {}

        def modules(kind: str) -> dict[str, nn.Module]:
            return {stage.name: self.network.get_submodule(stage.module) for stage in stages if stage.side == kind}

        def pool(name: str, value: Tensor) -> None:
            pooled[name] = POOL[classifier.backbone.spec.stage(name).pool](value).float()  # at once: in-place layers

        with watch_inputs(modules("input"), pool), watch_outputs(modules("output"), pool):
            self.network(pixels)
        blocks = [pooled[stage.name] for stage in stages]
        features = torch.cat([F.normalize(block, dim=1) for block in blocks] if head.unit else blocks, 1)
        weight, bias = (torch.from_numpy(array).to(features) for array in (head.weight, head.bias))
        inputs = features if head.kernel is None else head.kernel.similarities_of(features)
        return (inputs @ weight + bias) / head.temperature


def inspected_model(model: Model) -> InspectedModel:
    """Bring a Classifier, a Backbone or any module into one form; nothing is copied."""
    if isinstance(model, Classifier):
        return replace(inspected_model(model.backbone), classes=model.classes, classifier=model)
    if isinstance(model, Backbone):
        stages = {stage.name: stage.module for stage in model.spec.stages}
        return InspectedModel(
            model.spec.name, model.network, stages=stages, preprocess=model.preprocess, backbone=model
        )
    stages = {name: name for name, _ in model.named_children()}
    return InspectedModel(type(model).__name__, model, stages=stages)
