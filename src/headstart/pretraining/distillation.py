"""Blockwise distillation: every block of a student learns to do what a block of the teacher does, on drawn pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.backbones.models.fire_resnet import FireResNet
from headstart.pretraining.bank import Bank
from headstart.pretraining.recipe import PretrainingRecipe
from headstart.pretraining.scene import draw_pictures
from headstart.pretraining.teacher import Teacher

_AHEAD = 2  # batches that are drawn, and passed through the teacher, while the student learns from an earlier one
_LARGE = 4  # maps: the stem and three blocks, before the second pool
# one in so many pictures is enough for those: they have four to seventeen times the pixels, and most of the cost
_SHARE = 4

Maps = tuple[Tensor, ...]
Batch = tuple[Tensor, Maps, Maps]
"""Pixels N×3×S×S, and the teacher's nine maps twice: as input of the blocks, and as their target."""


class Distiller(nn.Module):
    """A student with teacher forcing: each block gets the teacher's map before it and predicts the map after it.

    A single block is two layers deep: in a trial with 25,600 pictures the last one explained 0.93 of its map, where a
    whole network that predicted three of nine maps from the pixels explained 0.30 of the last after 338,000 pictures.
    Source: Wang et al. 2018, "Progressive Blockwise Knowledge Distillation"; Heo et al. 2019, arXiv:1904.01866 (maps
    before the ReLU). Here all blocks learn at once.

    Attributes:
        free_running: each block gets the student's own map instead, so that it learns to cope with earlier errors.
    """

    def __init__(self, student: FireResNet) -> None:
        super().__init__()
        self.student = student
        self.free_running = False

    def forward(self, pixels: Tensor, maps: Maps) -> Maps:
        """Predict the nine maps; with teacher forcing the four large ones for a quarter of the pictures only."""
        few = len(pixels) if self.free_running else -(-len(pixels) // _SHARE)
        x, predicted = pixels[:few], list[Tensor]()
        for layer in self.student.layers():
            if isinstance(layer, nn.MaxPool2d):
                x = layer(x)
                continue
            predicted.append(layer.sums(x))
            given = predicted[-1] if self.free_running else maps[len(predicted) - 1]
            x = F.relu(given[:few] if len(predicted) < _LARGE else given)
        return tuple(predicted)


def distillation_loss(predicted: Maps, targets: Maps) -> Tensor:
    """Mean over the maps of the smooth L1 loss, over as many pictures as were predicted."""
    pairs = zip(predicted, targets, strict=True)
    return torch.stack([F.smooth_l1_loss(map_, target[: len(map_)]) for map_, target in pairs]).mean()


class DrawnPictures:
    """A data loader that draws its pictures on the fly; each epoch has new ones.

    The pictures of an epoch follow from one number of `generator`, whose state a checkpoint of StepByStep keeps, so
    that a resumed epoch gets the same pictures.
    """

    def __init__(self, recipe: PretrainingRecipe, bank: Bank, teacher: Teacher) -> None:
        self.generator = torch.Generator()
        self._recipe, self._bank, self._teacher = recipe, bank, teacher

    def __len__(self) -> int:
        return self._recipe.batches

    def __iter__(self) -> Iterator[Batch]:
        seed = int(torch.randint(2**31, (1,), generator=self.generator))
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="draw") as pool:  # while the student learns
            for number in range(len(self) + _AHEAD):
                if number < len(self):
                    waiting.append(pool.submit(self._draw, seed + number))
                if number >= _AHEAD:
                    yield waiting.popleft().result()

    def _draw(self, seed: int) -> Batch:
        pixels = self.pixels(seed, self._recipe.batch_size)
        maps = self._teacher(pixels)
        return pixels, maps, maps

    def pixels(self, seed: int, count: int) -> Tensor:
        """Normalised pixels N×3×S×S of new pictures, on the teacher's device."""
        drawn = torch.from_numpy(draw_pictures(self._bank, seed=seed, count=count, size=self._recipe.size))
        pixels = self._teacher.preprocess.normalise(drawn.to(self._teacher.device))
        return pixels.contiguous(memory_format=torch.channels_last)
