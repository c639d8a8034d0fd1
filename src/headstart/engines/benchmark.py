"""EngineBenchmark: whether an engine gives eager's features, and how fast, on a few images of noise."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

import torch
from torch import Tensor

from headstart.backbones.backbone import Backbone
from headstart.engines.forward import Forward

TOLERANCE = 2e-5  # of a stage's largest feature: the effect of another order of the same float32 sums
_CHECKED = 2  # images; with one, an export that made the batch a constant would pass


class EngineBenchmark:
    """Seeded noise in the shape of pixels, and eager's features of it.

    Attributes:
        eager_seconds: for one image, the better of two runs.
    """

    ROUNDS = 3  # runs of each candidate in a measurement

    def __init__(self, backbone: Backbone, eager: Forward) -> None:
        self._side = backbone.preprocess.crop
        self._slices = tuple(backbone.slices.values())
        self._pixels = self._noise(_CHECKED)
        self._expected = eager(self._pixels)
        # the first run warms up; the better of two, as a busy moment must not make an export worth its time
        self.eager_seconds = min(self.seconds(eager) for _ in range(2))

    def difference(self, forward: Forward) -> float:
        """Largest difference from eager, as a share of the largest feature in the same stage.

        Infinite when the shape differs or a feature is not finite, eager's own included: with such weights no engine
        can be compared.
        """
        found, expected = forward(self._pixels), self._expected
        if found.shape != expected.shape or not bool(torch.isfinite(found).all() and torch.isfinite(expected).all()):
            return float("inf")
        return max(_relative(expected[:, part], found[:, part]) for part in self._slices)

    def seconds(self, forward: Forward) -> float:
        """Seconds for one image, from one run; the check before it was the warm-up."""
        began = time.perf_counter()
        forward(self._pixels)
        return (time.perf_counter() - began) / _CHECKED

    def compare(self, candidates: Mapping[str, Forward], images: int) -> dict[str, float]:
        """Seconds for one image with each, the median of alternating runs: a busy moment affects all."""
        pixels = self._noise(images)
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(self.ROUNDS):
            for name, forward in candidates.items():
                began = time.perf_counter()
                forward(pixels)
                times[name].append((time.perf_counter() - began) / images)
        return {name: median(seconds) for name, seconds in times.items()}

    def _noise(self, images: int) -> Tensor:
        return torch.randn(images, 3, self._side, self._side, generator=torch.Generator().manual_seed(0))


def _relative(expected: Tensor, found: Tensor) -> float:
    return float((expected - found).abs().max() / expected.abs().max().clamp_min(torch.finfo().tiny))
