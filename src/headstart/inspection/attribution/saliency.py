"""Saliency: which parts of an image speak for a class, by three methods of captum; and a network with drawn weights.

All take one image 1×3×S×S and give a map S×S of evidence for the class; below zero speaks against it. To be called
inside `subject.eval_mode(weights=True)`, gradients on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import BackboneError
from headstart.inspection.features.stage_outputs import is_map, places_of, watch_stages
from headstart.inspection.inspected_model import InspectedModel

Heat = NDArray[np.float64]

STEPS = (10, 50, 200)  # of the path: coarse, usual, and where that is not complete; Sundararajan et al.: 20 to 300
COMPLETE = 0.05  # Sundararajan et al. 2017, section 5: a sum within 5 % means that the steps were enough
GRID = 28  # cells of a side: single pixels of integrated gradients are noise to the eye
_WINDOW = 6  # occluding squares across the image, each half over the next: 121 passes
_TOGETHER = 8  # images in a pass with gradients: 150 MB with ResNet-18 at 224


@dataclass(frozen=True, eq=False)
class Saliency:
    """A map and, for integrated gradients, how far its sum is from what it must be.

    Args:
        heat: S×S. off: |sum - (logit - logit of the empty image)| over that difference; None for other methods, and
            where there is no difference.
    """

    heat: Heat
    off: float | None = None


def grad_cam(subject: InspectedModel, pixels: Tensor, target: int, stage: str) -> Saliency:
    """Maps of a stage, weighted by the mean gradient of the class's logit, what speaks for it only.

    With mirror images it is the sum over both, those of the mirror image turned back.

    Source: Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2, through captum's LayerGradCam.
    """
    place = places_of(subject)[stage]
    module = subject.network.get_submodule(subject.stages[stage])
    at_input = place is not None and place.side == "input"
    cam = LayerGradCam(subject.tta_logits, module).attribute(
        pixels.clone().requires_grad_(), target, attribute_to_layer_input=at_input
    )
    assert isinstance(cam, Tensor)  # one layer, one tensor: a row for each view
    turned = sum((one.flip(-1) for one in cam[1:].detach()), cam[0].detach())
    large = LayerAttribution.interpolate(F.relu(turned)[None], tuple(pixels.shape[-2:]), "bilinear")
    return Saliency(large[0, 0].double().numpy())


def integrated_gradients(subject: InspectedModel, pixels: Tensor, target: int, *, coarse: bool = False) -> Saliency:
    """Gradient of the logit along the straight path from an image of the mean colour, times the way, over all colours.

    The map is averaged over cells. It is complete: before that, all its numbers sum to the difference of the logits;
    where they are further off than `COMPLETE`, more steps are taken.

    Args:
        coarse: a few steps only, for a map that is merely compared.

    Source: Sundararajan et al. 2017, arXiv:1703.01365, section 3, through captum, Gauss-Legendre steps.
    """
    method, empty = IntegratedGradients(subject.tta_logits), torch.zeros_like(pixels)
    with torch.no_grad():
        difference = float((subject.tta_logits(pixels) - subject.tta_logits(empty))[0, target])
    parts, off = torch.zeros_like(pixels), float("inf")
    for steps in STEPS[:1] if coarse else STEPS[1:]:
        if off > COMPLETE:
            parts, delta = method.attribute(
                pixels, empty, target, n_steps=steps, internal_batch_size=_TOGETHER, return_convergence_delta=True
            )
            off = abs(float(delta)) / abs(difference) if difference else float("inf")
    return Saliency(_in_cells(parts.detach().sum(1, keepdim=True)), off if difference else None)


def occlusion(subject: InspectedModel, pixels: Tensor, target: int, *, coarse: bool = False) -> Saliency:
    """How much the class's logit falls when a square of the mean colour covers a place.

    Args:
        coarse: squares beside each other, not each half over the next: a quarter of the time.

    Source: Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2, through captum's Occlusion.
    """
    side = max(1, pixels.shape[-1] // _WINDOW)
    step = side if coarse else max(1, side // 2)
    with torch.no_grad():
        parts = Occlusion(subject.tta_logits).attribute(
            pixels,
            (pixels.shape[1], side, side),
            (pixels.shape[1], step, step),
            target=target,
            baselines=0,
            perturbations_per_eval=2 * _TOGETHER,
        )
    return Saliency(parts[0].mean(0).double().numpy())


def saliency(
    name: str, subject: InspectedModel, pixels: Tensor, target: int, stage: str, *, coarse: bool = False
) -> Saliency:
    """The map by one of `METHODS`; `stage` is where Grad-CAM looks."""
    if name == "grad-cam":
        return grad_cam(subject, pixels, target, stage)
    make = integrated_gradients if name == "integrated-gradients" else occlusion
    return make(subject, pixels, target, coarse=coarse)


METHODS = ("grad-cam", "integrated-gradients", "occlusion")


@torch.no_grad()
def last_maps(subject: InspectedModel, pixels: Tensor) -> str:
    """The last stage that gives maps N×C×H×W: there Grad-CAM looks.

    Raises:
        BackboneError: there is none, as in networks of tokens.
    """
    found: list[str] = []
    with watch_stages(subject, lambda name, value: found.extend([name] if is_map(subject, name, value) else [])):
        subject.network(pixels[:1])
    in_order = [name for name in subject.stages if name in found]
    if not in_order:
        raise BackboneError(
            expected="a stage that gives maps",
            found="tokens or vectors only",
            where=subject.name,
            hint="Take integrated-gradients or occlusion: they need the answer only.",
        )
    return in_order[-1]


@torch.no_grad()
def draw_weights(subject: InspectedModel, pixels: Tensor, seed: int) -> None:
    """Shuffle each weight tensor of the network, and settle its batch norms on the images: nothing learnt is left.

    Args:
        pixels: N×3×S×S.

    Source: Adebayo et al. 2018, arXiv:1810.03292, section 3: a map that does not change explains no model. We shuffle
    instead of drawing anew, so that sizes stay as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    for weight in subject.network.parameters():
        if weight.ndim > 1:
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    recalibrate_batch_norm(subject.network, lambda: iter([pixels[:_TOGETHER]]))


def _in_cells(one: Tensor) -> Heat:
    """The mean over each cell of a grid, drawn smoothly on 1×1×S×S again: S×S."""
    size = (one.shape[-2], one.shape[-1])
    cells = F.adaptive_avg_pool2d(one, (min(GRID, size[0]), min(GRID, size[1])))
    smooth = F.interpolate(cells, size=size, mode="bilinear", align_corners=False)
    return np.asarray(smooth[0, 0].double().numpy())
