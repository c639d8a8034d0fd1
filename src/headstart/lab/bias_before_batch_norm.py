"""A bias before batch norm is useless: the layer subtracts it again, and it gets no gradient.

Claim: before batch norm, the bias of a layer changes no output in training and gets no gradient, so it stays as it
    was; in eval mode the stored mean cancels it.
Source: the chapter's summary (its advice to set `bias=False`); Ioffe and Szegedy 2015, section 3.2.
Settings: 3×3 convolution 3→8 with a bias from N(0, 1), batch norm with `momentum=None`, double precision;
    10 batches of 16 random images 3×12×12 from seed 0, squared error to random targets.
Expected: largest difference of the outputs with and without the bias 0 ± 1e-12, in training and in eval mode;
    gradient of the bias 0 ± 1e-12 while that of the weights is above 1e-3. Without the norm (`norm=False`) the claim
    fails.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from headstart.figures.panels import Bars, Line, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.lab.experiment import Experiment, Number, require, seeded

SOURCE = "chapter on transfer learning, summary; Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.2"
_WIDTH = 8


def run(*, seed: int = 0, norm: bool = True, images: int = 16, batches: int = 10, spread: float = 1.0) -> Experiment:
    """Compare a convolution with a bias and the same one without, in training and in eval mode.

    Args:
        norm: whether batch norm follows the convolution; without it the claim fails.
        spread: standard deviation of the bias.

    Raises:
        RecipeError: there is no image or no batch.
    """
    require(
        min(images, batches) >= 1,
        "at least one image and one batch",
        found=min(images, batches),
        where="images, batches",
    )
    settings = {"seed": seed, "norm": norm, "images": images, "batches": batches, "spread": spread}
    with seeded(seed):
        pixels = torch.randn(batches, images, 3, 12, 12, dtype=torch.float64)
        target = torch.randn(images, _WIDTH, 12, 12, dtype=torch.float64)
        biased = _block(norm, spread)
    plain = copy.deepcopy(biased)
    nn.init.zeros_(plain.get_parameter("0.bias"))
    one, other = [(biased(batch), plain(batch)) for batch in pixels][-1]
    difference = float((one - other).detach().abs().max())
    torch.autograd.backward(nn.functional.mse_loss(one, target))
    with torch.no_grad():
        later = biased.eval()(pixels[0]) - plain.eval()(pixels[0])
    weights, biases = _gradients(biased)
    found = (
        Number("largest difference of outputs, training", difference, 0.0, 1e-12),
        Number("largest difference of outputs, eval", float(later.abs().max()), 0.0, 1e-12),
        Number("largest gradient of a bias", max(biases), 0.0, 1e-12),
        Number("smallest gradient of a filter's weights", min(weights), 1e-3, relation="≥"),
    )
    return Experiment(
        "bias_before_batch_norm",
        SOURCE,
        settings,
        numbers=found,
        interpretation=_interpretation(norm, pixels),
        panels=(_outputs(one.detach(), other.detach()), _magnitudes(weights, biases)),
    )


def _block(norm: bool, spread: float) -> nn.Sequential:
    after = nn.BatchNorm2d(_WIDTH, momentum=None) if norm else nn.Identity()
    block = nn.Sequential(nn.Conv2d(3, _WIDTH, 3, padding=1), after).double()
    nn.init.normal_(block.get_parameter("0.bias"), std=spread)
    return block


def _gradients(block: nn.Sequential) -> tuple[list[float], list[float]]:
    """Norm of the gradient of each filter's weights, and magnitude of that of its bias."""
    weights, biases = (block.get_parameter(f"0.{name}").grad for name in ("weight", "bias"))
    if weights is None or biases is None:
        raise RuntimeError("the backward pass left no gradient")
    return weights.flatten(1).norm(dim=1).tolist(), biases.abs().tolist()


def _interpretation(norm: bool, pixels: Tensor) -> tuple[str, ...]:
    additions = _WIDTH * pixels[0, :, 0].numel()
    why = "all of them undone by batch norm" if norm else "and without batch norm they matter"
    return (f"{_WIDTH} biases cost {additions:,} additions per batch, {why}.",)


def _outputs(one: Tensor, other: Tensor) -> Plot:
    x, y = other[:, 0].flatten()[:400].tolist(), one[:, 0].flatten()[:400].tolist()
    ends = (min(x), max(x))
    lines = (Line("equal", ends, ends, style="dashes"), Line("400 outputs", x, y, BLUE, style="dots"))
    return Plot("Outputs of one channel", lines, x_label="without the bias", y_label="with the bias")


def _magnitudes(weights: list[float], biases: list[float]) -> Bars:
    names = tuple(f"{kind} of filter {i + 1}" for i in range(3) for kind in ("weights", "bias"))
    values = tuple(value for i in range(3) for value in (weights[i], biases[i]))
    return Bars("Magnitude of the gradients", names, values, form="{:.1e}", colors=(BLUE, ORANGE) * 3)
