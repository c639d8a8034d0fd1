"""Attribution: the evidence in an image for a prediction, and whether the map of it can be trusted.

Three checks accompany each map: hiding what it marks must cost more than hiding as much elsewhere; a network with
shuffled weights must give another map; and integrated gradients must sum to the difference they explain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import RecipeError, near
from headstart.figures.images import as_images
from headstart.inspection.attribution.explanation import Explanation, HeatMap
from headstart.inspection.attribution.saliency import (
    ALL,
    AUTO,
    ClassOfImage,
    Heat,
    Saliency,
    choose_methods,
    last_map_stage,
    map_stages,
    saliency,
    shuffle_weights,
)
from headstart.inspection.features.stage_outputs import stage_features
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.progress import OnProgress, no_progress

_Hidden = tuple[float | None, float | None]
"""Probability with the hottest squares hidden, and with as many hidden elsewhere; None for an empty map."""

HIDDEN = 0.2  # share of the image that is hidden: where the map is hottest
_CELLS = 7  # squares per side that are hidden or not
_SHIFTS = tuple((y, x) for y in (0, 1, 2) for x in (0, 1, 2) if (y, x) != (0, 0))  # thirds of the image


def explain(
    model: Model,
    images: InspectedImages | Tensor,
    *,
    methods: Sequence[str] = (AUTO,),
    class_name: str | None = None,
    sanity: bool = True,
    seed: int = 0,
    on_progress: OnProgress = no_progress,
) -> tuple[Explanation, ...]:  # seven: what to explain, how, how it is checked, and who hears of it
    """Show the evidence for a class in each image; one Explanation per image, in their order.

    Args:
        methods: of `grad-cam`, `integrated-gradients`, `occlusion`; `auto` is Grad-CAM where the network has feature
            maps, else occlusion, and `all` every one that the network allows.
        class_name: the class to explain; None: each image's predicted one.
        sanity: whether each map is made again with shuffled weights (twice the time).
        on_progress: called after each map with (done, images): occlusion of a large network takes long.

    Raises:
        RecipeError: a method or class is unknown.
        BackboneError: the model has no class scores, or no feature maps for Grad-CAM.
    """
    inspected, images = inspected_model(model), InspectedImages.of(images)
    methods = methods_for(model, images, methods)
    per_image = len(methods) * (2 if sanity else 1)  # maps
    with inspected.eval_mode(weights=True):
        inspected.network.requires_grad_(False)  # gradients of the maps are needed, not of the weights
        explainer = _Explainer(inspected, images, methods=methods, class_name=class_name)
        maps = explainer.maps(lambda made: on_progress(made // per_image, len(images)))
        hidden = explainer.hide(maps)
        shares = explainer.stage_shares()
        correlations: list[list[float | None]] = [[None] * len(methods) for _ in maps]
        if sanity:
            shuffle_weights(inspected, images.pixels, seed)
            first = len(images) * len(methods)
            shuffled = explainer.maps(lambda made: on_progress((first + made) // per_image, len(images)), coarse=True)
            correlations = [list(map(_correlation, *pair)) for pair in zip(maps, shuffled, strict=True)]
    return tuple(
        replace(explainer.explanation(i, maps[i], hidden[i], sanity=correlations[i]), stage_shares=shares[i])
        for i in range(len(images))
    )


def methods_for(model: Model, images: InspectedImages, methods: Sequence[str]) -> tuple[str, ...]:
    """The methods by name, `auto` and `all` replaced by what the network allows.

    Raises:
        RecipeError: one is unknown.
    """
    named = choose_methods(methods, has_maps=True)  # refuses unknown ones before anything runs
    if not {AUTO, ALL} & set(methods):
        return named
    inspected = inspected_model(model)
    with inspected.eval_mode():
        return choose_methods(methods, has_maps=bool(map_stages(inspected, images.pixels)))


class _Explainer:
    """Predictions, classes to explain and maps of some images."""

    def __init__(
        self, inspected: InspectedModel, images: InspectedImages, *, methods: Sequence[str], class_name: str | None
    ) -> None:
        self.inspected, self.images, self.methods = inspected, images, methods
        with torch.no_grad():
            logits = torch.cat([inspected.tta_logits(pixels) for pixels in images.batches()])
        self.probabilities = logits.double().softmax(1)
        known, count = inspected.classes or images.classes, logits.shape[1]
        self.names = known if len(known) == count else tuple(f"class {i}" for i in range(count))
        if class_name is not None and class_name not in self.names:
            hint = near(class_name, self.names)
            raise RecipeError(expected="a class of the model", found=repr(class_name), where="class", hint=hint)
        predicted = logits.argmax(1).tolist()
        columns = predicted if class_name is None else [self.names.index(class_name)] * len(images)
        self.targets = [ClassOfImage(inspected, images.pixels[i : i + 1], column) for i, column in enumerate(columns)]
        self.stage = last_map_stage(inspected, images.pixels) if "grad-cam" in methods else ""

    def maps(self, on_map: Callable[[int], None], *, coarse: bool = False) -> list[list[Saliency]]:
        """For each image the maps of all methods.

        Args:
            on_map: called after each map with their number so far.
        """
        found: list[list[Saliency]] = []
        with torch.enable_grad():
            for i, target in enumerate(self.targets):
                found.append([])
                for j, name in enumerate(self.methods, 1):
                    found[-1].append(saliency(name, target, self.stage, coarse=coarse))
                    on_map(i * len(self.methods) + j)
        return found

    @torch.no_grad()
    def hide(self, maps: list[list[Saliency]]) -> list[list[_Hidden]]:
        """Probability with the hottest squares hidden, and the mean with as many hidden elsewhere."""
        return [[self._hidden(target, one.heat) for one in row] for target, row in zip(self.targets, maps, strict=True)]

    def _hidden(self, target: ClassOfImage, heat: Heat) -> _Hidden:
        mask = hottest(heat)
        if mask is None:
            return None, None
        height, width = mask.shape
        moved = [np.roll(mask, (y * height // 3, x * width // 3), (0, 1)) for y, x in ((0, 0), *_SHIFTS)]
        covers = torch.from_numpy(np.stack(moved))[:, None]
        pixels = target.pixels * ~covers  # zero is the mean colour of normalised pixels
        probabilities = self.inspected.tta_logits(pixels).double().softmax(1)[:, target.column]
        return float(probabilities[0]), float(probabilities[1:].mean())

    def explanation(
        self,
        image: int,
        maps: list[Saliency],
        hidden: list[tuple[float | None, float | None]],
        *,
        sanity: list[float | None],
    ) -> Explanation:
        """All that is known of one image, from its maps and their checks, one per method."""
        probabilities, column = self.probabilities[image], self.targets[image].column
        checked = zip(self.methods, maps, hidden, sanity, strict=True)
        return Explanation(
            model=self.inspected.name,
            image=self.images.names[image],
            predicted=self.names[int(probabilities.argmax())],
            target=self.names[column],
            probability=float(probabilities[column]),
            picture=self._picture(image),
            maps=tuple(
                HeatMap(
                    method,
                    one.heat,
                    hidden=at_hottest,
                    elsewhere=elsewhere,
                    sanity=correlation,
                    incompleteness=one.incompleteness,
                )
                for method, one, (at_hottest, elsewhere), correlation in checked
            ),
            stage=self.stage,
        )

    def stage_shares(self) -> list[dict[str, float]]:
        """For each image and stage of the head its share of the score, relative to the mean of all classes.

        None of them where the head is not linear in the features: then the score is no sum over stages.
        """
        classifier = self.inspected.classifier
        if classifier is None or len(classifier.head.stages) < 2 or classifier.head.kernel is not None:
            return [{} for _ in self.targets]
        head, columns = classifier.head, [target.column for target in self.targets]
        views = [replace(self.images, pixels=pixels) for pixels in self.inspected.views(self.images.pixels)]
        features = [stage_features(self.inspected, view) for view in views]
        scores: dict[str, NDArray[np.float64]] = {}
        begin = 0
        for stage in head.stages:
            seen = [one[stage].double() for one in features]
            x = torch.stack([F.normalize(one, dim=1) for one in seen] if head.unit else seen).mean(0).numpy()
            weight = head.weight[begin : begin + x.shape[1]]
            begin += x.shape[1]
            scores[stage] = np.abs((x @ (weight - weight.mean(1, keepdims=True)))[range(len(x)), columns])
        total = sum(scores.values(), np.zeros(len(columns)))
        return [
            {stage: float(score[i] / total[i]) if total[i] else 0.0 for stage, score in scores.items()}
            for i in range(len(total))
        ]

    def _picture(self, image: int) -> NDArray[np.floating]:
        """H×W×3 in [0, 1]."""
        if self.images.prepared is not None:
            return self.images.prepared[image].permute(1, 2, 0).numpy() / 255.0
        return np.asarray(as_images(self.images.pixels[image : image + 1].numpy())[0])


def hottest(heat: Heat) -> NDArray[np.bool_] | None:
    """The hottest `HIDDEN` share of the squares of a grid, True there; None without evidence for the class.

    Squares, because thousands of single hidden pixels spoil an image wherever they are.
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


def _correlation(one: Saliency, other: Saliency) -> float | None:
    """Spearman's rank correlation of two maps; None where one of them is constant."""
    if np.ptp(one.heat) == 0 or np.ptp(other.heat) == 0:
        return None
    from scipy.stats import spearmanr  # a second to import, for every server

    return float(spearmanr(one.heat.ravel(), other.heat.ravel()).statistic)
