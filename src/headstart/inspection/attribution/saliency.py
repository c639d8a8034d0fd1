"""Saliency: evidence for a class in an image, by three methods of captum; and a network with shuffled weights.

Each method returns a map S×S of evidence for the class; negative values are evidence against it. Call them inside
`inspected.eval_mode(weights=True)`, with gradients enabled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import BackboneError, RecipeError, near
from headstart.inspection.features.stage_outputs import is_map, stage_of, watch_stages
from headstart.inspection.inspected_model import InspectedModel

Heat = NDArray[np.float64]

STEPS = (50, 200)  # of the path: usual, and where that is not complete; Sundararajan et al.: 20 to 300
COARSE_STEPS = (10,)  # for a map that is merely compared
COMPLETE = 0.05  # Sundararajan et al. 2017, section 5: a sum within 5 % means that the steps were enough
GRID = 28  # cells per side: single pixels of integrated gradients look like noise
_WINDOW = 6  # occluding squares across the image, each overlapping the next by half: 121 passes
_TOGETHER = 8  # images in a pass with gradients: 150 MB with ResNet-18 at 224


METHODS = ("grad-cam", "integrated-gradients", "occlusion")
AUTO, ALL = "auto", "all"
"""Instead of a method: Grad-CAM where the network has feature maps, else occlusion; or every one that it allows."""


@dataclass(frozen=True, eq=False)
class ClassOfImage:
    """The class of an image whose logit a map explains.

    Args:
        pixels: 1×3×S×S. column: of the class in the logits.
    """

    inspected: InspectedModel
    pixels: Tensor
    column: int


@dataclass(frozen=True, eq=False)
class Saliency:
    """A map and, for integrated gradients, how far it is from complete.

    Args:
        heat: S×S. incompleteness: |sum - (logit - logit of the empty image)| over that difference; None for other
            methods, and where there is no difference.
    """

    heat: Heat
    incompleteness: float | None = None


def saliency(method: str, target: ClassOfImage, stage: str, *, coarse: bool = False) -> Saliency:
    """The map by one of `METHODS`.

    Args:
        stage: of Grad-CAM. coarse: less accurate and faster, for a map that is merely compared.
    """
    if method == "grad-cam":
        return grad_cam(target, stage)
    if method == "integrated-gradients":
        return integrated_gradients(target, steps=COARSE_STEPS if coarse else STEPS)
    return occlusion(target, coarse=coarse)


def grad_cam(target: ClassOfImage, stage: str) -> Saliency:
    """Maps of a stage, weighted by the mean gradient of the class's logit, positive evidence only.

    With flip TTA it is the sum over both views, that of the flipped image flipped back.

    Source: Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2, through captum's LayerGradCam.
    """
    inspected, place = target.inspected, stage_of(target.inspected, stage)
    module = inspected.network.get_submodule(inspected.stages[stage])
    at_input = place is not None and place.side == "input"
    cam = LayerGradCam(inspected.tta_logits, module).attribute(
        target.pixels.clone().requires_grad_(), target.column, attribute_to_layer_input=at_input
    )
    assert isinstance(cam, Tensor)  # one layer, one tensor: a row for each view
    unflipped = sum((one.flip(-1) for one in cam[1:].detach()), cam[0].detach())
    large = LayerAttribution.interpolate(F.relu(unflipped)[None], tuple(target.pixels.shape[-2:]), "bilinear")
    return Saliency(large[0, 0].double().numpy())


def integrated_gradients(target: ClassOfImage, *, steps: Sequence[int] = STEPS) -> Saliency:
    """Gradient of the logit along the straight path from an image of the mean colour, times the distance, over colours.

    The map is averaged over cells. It is complete: before that, it sums to the difference of the logits.

    Args:
        steps: numbers of steps to try, until the map is complete up to `COMPLETE`.

    Source: Sundararajan et al. 2017, arXiv:1703.01365, section 3, through captum, Gauss-Legendre steps.
    """
    logits, pixels = target.inspected.tta_logits, target.pixels
    method, empty = IntegratedGradients(logits), torch.zeros_like(pixels)
    with torch.no_grad():
        difference = float((logits(pixels) - logits(empty))[0, target.column])
    evidence, incompleteness = torch.zeros_like(pixels), float("inf")
    for count in steps:
        if incompleteness > COMPLETE:
            evidence, delta = method.attribute(
                pixels, empty, target.column, n_steps=count, internal_batch_size=_TOGETHER,
                return_convergence_delta=True,
            )  # fmt: skip
            incompleteness = abs(float(delta)) / abs(difference) if difference else float("inf")
    heat = _in_cells(evidence.detach().sum(1, keepdim=True))
    return Saliency(heat, incompleteness if difference else None)


def occlusion(target: ClassOfImage, *, coarse: bool = False) -> Saliency:
    """How much the class's logit falls when a square of the mean colour covers a position.

    Args:
        coarse: squares side by side instead of half overlapping: a quarter of the time.

    Source: Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2, through captum's Occlusion.
    """
    channels, size = target.pixels.shape[1], target.pixels.shape[-1]
    side = max(1, size // _WINDOW)
    step = side if coarse else max(1, side // 2)
    with torch.no_grad():
        evidence = Occlusion(target.inspected.tta_logits).attribute(
            target.pixels,
            (channels, side, side),
            (channels, step, step),
            target=target.column,
            baselines=0,
            perturbations_per_eval=2 * _TOGETHER,
        )
    return Saliency(evidence[0].mean(0).double().numpy())


def choose_methods(methods: Sequence[str], *, has_maps: bool) -> tuple[str, ...]:
    """The methods that are meant, `auto` and `all` replaced.

    Args:
        has_maps: whether a stage has feature maps, without which Grad-CAM is not possible. Occlusion takes its place:
            integrated gradients are scattered over the patches of a transformer.

    Raises:
        RecipeError: one is unknown.
    """
    auto, every = (METHODS[:1], METHODS) if has_maps else (METHODS[2:], METHODS[1:])
    found: list[str] = []
    for name in methods:
        if name not in (*METHODS, AUTO, ALL):
            hint = near(name, (*METHODS, AUTO, ALL))
            raise RecipeError(expected="a saliency method", found=repr(name), where="method", hint=hint)
        found += auto if name == AUTO else every if name == ALL else (name,)
    return tuple(dict.fromkeys(found))


@torch.no_grad()
def map_stages(inspected: InspectedModel, pixels: Tensor) -> list[str]:
    """The stages with feature maps N×C×H×W, in forward order; none in most transformers."""
    found: list[str] = []
    with watch_stages(inspected, lambda name, value: found.extend([name] if is_map(inspected, name, value) else [])):
        inspected.network(pixels[:1])
    return [name for name in inspected.stages if name in found]


@torch.no_grad()
def last_map_stage(inspected: InspectedModel, pixels: Tensor) -> str:
    """The last stage with feature maps N×C×H×W, the one that Grad-CAM explains.

    Raises:
        BackboneError: there is none, as in transformers.
    """
    in_order = map_stages(inspected, pixels)
    if not in_order:
        raise BackboneError(
            expected="a stage with feature maps",
            found="tokens or vectors only",
            where=inspected.name,
            hint="Use integrated-gradients or occlusion: they need only the logits.",
        )
    return in_order[-1]


@torch.no_grad()
def shuffle_weights(inspected: InspectedModel, pixels: Tensor, seed: int) -> None:
    """Shuffle each weight tensor of the network and re-estimate its batch norms: nothing that was learnt is left.

    Args:
        pixels: N×3×S×S, for the batch norms.

    Source: Adebayo et al. 2018, arXiv:1810.03292, section 3: a map that does not change explains no model. We shuffle
    instead of drawing new weights, so that magnitudes stay as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    for weight in inspected.network.parameters():
        if weight.ndim > 1:
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    recalibrate_batch_norm(inspected.network, lambda: iter([pixels[:_TOGETHER]]))


def _in_cells(one: Tensor) -> Heat:
    """The mean over each cell of a grid, interpolated on 1×1×S×S again: S×S."""
    size = (one.shape[-2], one.shape[-1])
    cells = F.adaptive_avg_pool2d(one, (min(GRID, size[0]), min(GRID, size[1])))
    smooth = F.interpolate(cells, size=size, mode="bilinear", align_corners=False)
    return np.asarray(smooth[0, 0].double().numpy())
