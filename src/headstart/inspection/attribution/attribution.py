"""Attribution: what in an image an answer rests on, whether that can be believed, and which training images are alike.

Three checks stand beside each map: hiding what it shows must cost more than hiding as much elsewhere; a network with
shuffled weights must give another map; and integrated gradients must sum to the difference they explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import DataError, RecipeError, near
from headstart.figures.images import as_images
from headstart.inspection.attribution.explanation import Explanation, HeatMap, SimilarImage
from headstart.inspection.attribution.saliency import METHODS, Heat, Saliency, draw_weights, last_maps, saliency
from headstart.inspection.features.stage_outputs import stage_features
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model

HIDDEN = 0.2  # share of the image that is hidden: the part that the map shows hottest
_CELLS = 7  # squares of a side that are hidden or not
_SHIFTS = tuple((y, x) for y in (0, 1, 2) for x in (0, 1, 2) if (y, x) != (0, 0))  # thirds of the image


def explain(
    model: Model,
    images: InspectedImages | Tensor,
    *,
    methods: Sequence[str] = ("grad-cam",),
    class_name: str | None = None,
    alike: Sequence[Sequence[SimilarImage]] = (),
    sanity: bool = True,
    seed: int = 0,
) -> tuple[Explanation, ...]:
    """What in each image its answer rests on, one Explanation for each image, in their order.

    Args:
        methods: of `grad-cam`, `integrated-gradients`, `occlusion`.
        class_name: the class to be explained; None: each image's most probable one.
        alike: for each image the training images most alike, which only a run's folder knows.
        sanity: whether each map is made again with shuffled weights (twice the time).

    Raises:
        RecipeError: a method or class is unknown.
        BackboneError: the model names no classes, or Grad-CAM finds no maps in it.
        DataError: `alike` is not for as many images.
    """
    subject, images = inspected_model(model), InspectedImages.of(images)
    if alike and len(alike) != len(images):
        raise DataError(expected=f"{len(images)} lists of training images", found=f"{len(alike)}", where="alike")
    for name in methods:
        if name not in METHODS:
            raise RecipeError(expected="a method", found=repr(name), where="method", hint=near(name, METHODS))
    with subject.eval_mode(weights=True):
        subject.network.requires_grad_(False)  # gradients of the maps are wanted, not of the weights
        look = _Look(subject, images, class_name, methods)
        first = look.saliencies()
        checks = look.hide(first)
        shares = look.shares()
        again: list[list[Saliency]] = []
        if sanity:
            draw_weights(subject, images.pixels, seed)
            again = look.saliencies(coarse=True)
    return tuple(
        Explanation(
            subject.name,
            images.names[i],
            look.names[int(look.probabilities[i].argmax())],
            look.names[target],
            float(look.probabilities[i, target]),
            look.picture(i),
            tuple(
                HeatMap(name, one.heat, *checks[i][m], _alike(one.heat, again[i][m].heat) if sanity else None, one.off)
                for m, (name, one) in enumerate(zip(methods, first[i], strict=True))
            ),
            look.stage,
            tuple(alike[i]) if alike else (),
            shares[i],
        )
        for i, target in enumerate(look.targets)
    )


class _Look:
    """Answers, targets and maps of some images."""

    def __init__(
        self, subject: InspectedModel, images: InspectedImages, class_name: str | None, methods: Sequence[str]
    ) -> None:
        self.subject, self.images, self.methods = subject, images, methods
        with torch.no_grad():
            logits = torch.cat([subject.tta_logits(pixels) for pixels in images.batches()])
        self.probabilities = logits.double().softmax(1)
        known = subject.classes or images.classes
        self.names = known if len(known) == logits.shape[1] else tuple(f"class {i}" for i in range(logits.shape[1]))
        if class_name is not None and class_name not in self.names:
            hint = near(class_name, self.names)
            raise RecipeError(expected="a class of the model", found=repr(class_name), where="class", hint=hint)
        chosen = logits.argmax(1).tolist()
        self.targets: list[int] = chosen if class_name is None else [self.names.index(class_name)] * len(images)
        self.stage = last_maps(subject, images.pixels) if "grad-cam" in methods else ""

    def saliencies(self, *, coarse: bool = False) -> list[list[Saliency]]:
        """For each image the maps of all methods."""
        with torch.enable_grad():
            return [
                [saliency(name, self.subject, self._one(i), target, self.stage, coarse=coarse) for name in self.methods]
                for i, target in enumerate(self.targets)
            ]

    def _one(self, image: int) -> Tensor:
        return self.images.pixels[image : image + 1]

    @torch.no_grad()
    def hide(self, saliencies: list[list[Saliency]]) -> list[list[tuple[float | None, float | None]]]:
        """Probability with the hottest part hidden, and the mean with as much hidden elsewhere."""
        return [[self._hidden(i, target, one.heat) for one in saliencies[i]] for i, target in enumerate(self.targets)]

    def _hidden(self, image: int, target: int, heat: Heat) -> tuple[float | None, float | None]:
        mask = hottest(heat)
        if mask is None:
            return None, None
        height, width = mask.shape
        moved = [np.roll(mask, (y * height // 3, x * width // 3), (0, 1)) for y, x in ((0, 0), *_SHIFTS)]
        covers = torch.from_numpy(np.stack(moved))[:, None]
        pixels = self.images.pixels[image] * ~covers  # zero is the mean colour of normalised pixels
        probabilities = self.subject.tta_logits(pixels).double().softmax(1)[:, target]
        return float(probabilities[0]), float(probabilities[1:].mean())

    def shares(self) -> list[dict[str, float]]:
        """For each image and stage of the head its share of the score against the mean of all classes."""
        classifier = self.subject.classifier
        if classifier is None or len(classifier.head.stages) < 2:
            return [{} for _ in self.targets]
        head = classifier.head
        views = [replace(self.images, pixels=pixels) for pixels in self.subject.views(self.images.pixels)]
        features = [stage_features(self.subject, one) for one in views]
        parts: dict[str, NDArray[np.float64]] = {}
        begin = 0
        for stage in head.stages:
            seen = [one[stage].double() for one in features]
            x = torch.stack([F.normalize(one, dim=1) for one in seen] if head.unit else seen).mean(0).numpy()
            weight = head.weight[begin : begin + x.shape[1]]
            begin += x.shape[1]
            parts[stage] = np.abs((x @ (weight - weight.mean(1, keepdims=True)))[range(len(x)), self.targets])
        total = sum(parts.values(), np.zeros(len(self.targets)))
        return [
            {s: float(part[i] / total[i]) if total[i] else 0.0 for s, part in parts.items()} for i in range(len(total))
        ]

    def picture(self, image: int) -> NDArray[np.floating]:
        """H×W×3 in [0, 1]."""
        if self.images.prepared is not None:
            return self.images.prepared[image].permute(1, 2, 0).numpy() / 255.0
        return np.asarray(as_images(self.images.pixels[image : image + 1].numpy())[0])


def hottest(heat: Heat) -> NDArray[np.bool_] | None:
    """The hottest `HIDDEN` share of the squares of a grid, True there; None where nothing speaks for the class.

    Squares, because thousands of single pixels hidden all over a picture spoil it, whichever they are.
    """
    height, width = heat.shape
    cells = F.adaptive_avg_pool2d(torch.from_numpy(heat)[None, None], (min(_CELLS, height), min(_CELLS, width)))[0, 0]
    chosen = torch.zeros(cells.numel(), dtype=torch.bool)
    chosen[cells.flatten().argsort(descending=True, stable=True)[: max(1, round(HIDDEN * cells.numel()))]] = True
    mask = (chosen.view_as(cells) & (cells > 0)).double()
    if not mask.any():
        return None
    large = F.interpolate(mask[None, None], size=(height, width), mode="nearest-exact")
    return np.asarray(large[0, 0].bool().numpy())


def _alike(one: Heat, other: Heat) -> float | None:
    """Spearman's rank correlation of two maps; None where one of them is the same everywhere."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one.ravel(), other.ravel()).statistic)
