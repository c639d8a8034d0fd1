"""Activations at a frozen boundary, computed once for every image and view, and the tail that is trained on them."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart import runtime
from headstart.backbones.cut_network import CutNetwork, boundary_shapes
from headstart.engines.forward import full_precision
from headstart.errors import TrainingError
from headstart.features.row_file import Rows, fill_rows, open_rows
from headstart.finetune.augmentation import NONE, views
from headstart.finetune.network_with_head import HeadedNetwork
from headstart.finetune.settings import FineTuneImages, FineTuneTask, Labels

_LARGEST = 6e4  # below what float16 can hold
_BATCH = 32


class Tail(nn.Module):
    """The trained part behind the cut: the tensors that cross it → scores N×C."""

    def __init__(self, cut: CutNetwork, network: HeadedNetwork) -> None:
        super().__init__()
        self.tail = cut.tail
        self.network = network  # only its head is run; its body is here so that a checkpoint has all weights

    def forward(self, *crossing: Tensor) -> Tensor:
        """Scores of activations."""
        return self.network.scores(self.features(*crossing))

    def features(self, *crossing: Tensor) -> Tensor:
        """Raw features N×D."""
        features: Tensor = self.tail(*crossing)
        return features


class Activations:
    """The tensors that cross the cut, on disk; of training images in several views, the first is the image itself.

    Args:
        fill: whether missing ones are computed; False to see how many there are.

    Raises:
        TrainingError: the task has no cache.
    """

    def __init__(self, task: FineTuneTask, cut: CutNetwork, *, fill: bool = True) -> None:
        backbone, images, settings = task.backbone, task.images, task.settings
        if task.cache is None:
            raise TrainingError(expected="a cache for activations", found="none", where="last-stage")
        self.images, self.settings, self.preprocess = images, settings, backbone.preprocess
        self.prefix = cut.prefix
        self._device = runtime.choose_device(settings.device)  # where missing ones are computed
        # a view depends on the content of the image, not on its row: another data set with the image may reuse it
        self._numbers = [int(hashlib.sha256(one.encode()).hexdigest()[:15], 16) for one in images.contents]
        self.views = 1 if settings.augmentation.is_off else settings.cached_views
        of_training = [(int(place), view) for place in images.rows for view in range(self.views)]
        of_validation = [(int(place), 0) for place in images.validation_rows]
        self.wanted = list({self._key(*pair): pair for pair in of_training + of_validation}.values())
        about = {
            "what": "activations at a frozen boundary",
            "backbone": backbone.spec.name,
            "weights": backbone.fingerprint,
            "preprocess": json.dumps(backbone.preprocess.to_dict(), sort_keys=True),
            "background": ",".join(map(str, images.background)),
            "bit_depth": str(images.bit_depth),
            "until": task.until,
            "nodes": ",".join(str(node.target) for node in cut.prefix.graph.nodes),
            "augmentation": json.dumps(asdict(settings.augmentation)),
            "seed": str(settings.seed),
        }
        shapes = boundary_shapes(cut.prefix, backbone.preprocess.crop)
        keys = [self._key(*pair) for pair in self.wanted]
        self.rows = open_rows(task.cache, about, keys, shapes=shapes, dtype=settings.dtype)
        self.prefix.eval()
        if fill:
            self.prefix.to(self._device)
            try:
                fill_rows(self.rows, self._make, batch_size=_BATCH, progress=task.progress)
            finally:
                self.prefix.cpu()

    def of(self, images: FineTuneImages) -> Activations:
        """The same activations for another choice among these images, such as a fold: nothing is computed again."""
        chosen = copy.copy(self)
        chosen.images = images
        return chosen

    @property
    def missing(self) -> float:
        """Share of the rows that are still to be computed."""
        return len(self.rows.missing) / max(1, len(self.rows))

    def random_view(self, positions: Labels, seed: int) -> tuple[Tensor, ...]:
        """Activations of training images, a view of each drawn from (seed, image)."""
        places = self.images.rows[positions]
        chosen = [int(np.random.default_rng((seed, int(place))).integers(self.views)) for place in places]
        return self._read(places, chosen)

    def evaluation_view(self, positions: Labels, seed: int) -> tuple[Tensor, ...]:
        """Activations of held-out images, not augmented."""
        places = self.images.validation_rows[positions]
        return self._read(places, [0] * len(places))

    def _key(self, place: int, view: int) -> str:
        return f"{self.images.contents[place]}:{view}"

    @torch.inference_mode()
    def _make(self, places: Sequence[int]) -> Rows:
        chosen = [self.wanted[place] for place in places]
        stored = torch.from_numpy(self.images.pixels.read(np.array([place for place, _ in chosen]))[0])
        made = []
        for square, (place, view) in zip(stored, chosen, strict=True):
            how = NONE if view == 0 else self.settings.augmentation
            seed = self.settings.seed * 1_000_003 + view
            number = np.array([self._numbers[place]])
            made.append(views(square[None], self.preprocess.crop, how, seed=seed, images=number))
        pixels = torch.cat(made).to(self._device)
        with full_precision():  # as on the CPU
            outputs: tuple[Tensor, ...] = self.prefix(self.preprocess.normalise(pixels))
        return tuple(output.clamp(-_LARGEST, _LARGEST).cpu().numpy() for output in outputs)

    def _read(self, places: Labels, chosen: Sequence[int]) -> tuple[Tensor, ...]:
        keys = [self._key(int(place), view) for place, view in zip(places, chosen, strict=True)]
        rows: tuple[NDArray[np.generic], ...] = self.rows.read(np.array([self.rows.index[key] for key in keys]))
        return tuple(torch.from_numpy(tensor.astype(np.float32)) for tensor in rows)
