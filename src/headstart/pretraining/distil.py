"""Distillation, block by block: every block of a student learns what a block of the teacher does, on drawn pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.backbones.models.fire_resnet import FireResNet
from headstart.backbones.preprocess import Preprocess
from headstart.pretraining.bank import Bank
from headstart.pretraining.scene import draw_pictures
from headstart.pretraining.teacher import Teacher

_AHEAD = 2  # batches that are drawn, and shown to the teacher, while the student learns from an earlier one
_LARGE = 4  # maps: the stem and three blocks, before the second pool
# one in so many pictures is enough for those: they have four to seventeen times the places, and most of the work
_SHARE = 4

Maps = tuple[Tensor, ...]
Batch = tuple[Tensor, Maps, Maps]
"""Pixels N×3×S×S, and the teacher's nine maps twice: as input of the blocks, and as their target."""


class Distiller(nn.Module):
    """The student beside the teacher: each block is given the teacher's map before it and guesses the one after it.

    A block alone is two layers deep: in a trial of 25,600 pictures the last one explained 0.93 of its map. The other
    way, three of nine maps guessed from the pixels, explained 0.30 of the last map after 338,000 pictures.
    Source: Wang et al. 2018, "Progressive Blockwise Knowledge Distillation"; Heo et al. 2019, arXiv:1904.01866 (maps
    before the ReLU). Here all blocks learn at once.

    Args:
        alone: each block is given the student's own map instead, so that it learns to live with the others' mistakes.
    """

    def __init__(self, student: FireResNet) -> None:
        super().__init__()
        self.student = student
        self.alone = False

    def forward(self, pixels: Tensor, maps: Maps) -> Maps:
        """Guesses of the nine maps; of the four large ones only for the first pictures, unless it is alone."""
        few = len(pixels) if self.alone else -(-len(pixels) // _SHARE)
        x, guesses = pixels[:few], list[Tensor]()
        for layer in self.student.layers():
            if isinstance(layer, nn.MaxPool2d):
                x = layer(x)
                continue
            guesses.append(layer.sums(x))
            known = guesses[-1] if self.alone else maps[len(guesses) - 1]
            x = F.relu(known[:few] if len(guesses) < _LARGE else known)
        return tuple(guesses)


def distillation_loss(guesses: Maps, targets: Maps) -> Tensor:
    """Mean over the maps of the smooth L1 distance, over as many pictures as were guessed."""
    pairs = zip(guesses, targets, strict=True)
    return torch.stack([F.smooth_l1_loss(guess, target[: len(guess)]) for guess, target in pairs]).mean()


class DrawnPictures:
    """A loader that draws its pictures as it goes; each epoch has new ones.

    The pictures of an epoch follow from one number of `generator`, whose state a checkpoint of StepByStep keeps, so
    that a resumed epoch sees what it would have seen.

    Args:
        batches: in an epoch. batch: pictures in a batch. size: pixels along a side.
    """

    def __init__(
        self, bank: Bank, teacher: Teacher, preprocess: Preprocess, *, batches: int, batch: int, size: int
    ) -> None:
        self.generator = torch.Generator()
        self._bank, self._teacher, self._preprocess = bank, teacher, preprocess
        self._batches, self._batch, self._size = batches, batch, size

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Batch]:
        seed = int(torch.randint(2**31, (1,), generator=self.generator))
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="draw") as pool:  # while the student learns
            for number in range(self._batches + _AHEAD):
                if number < self._batches:
                    waiting.append(pool.submit(self._draw, seed + number))
                if number >= _AHEAD:
                    yield waiting.popleft().result()

    def _draw(self, seed: int) -> Batch:
        pixels = self.pixels(seed, self._batch)
        maps = self._teacher(pixels)
        return pixels, maps, maps

    def pixels(self, seed: int, count: int) -> Tensor:
        """Normalised pixels N×3×S×S of new pictures, on the teacher's device."""
        drawn = torch.from_numpy(draw_pictures(self._bank, seed, count, self._size))
        device = self._teacher.get_buffer("deviation0").device
        return self._preprocess.normalise(drawn.to(device)).contiguous(memory_format=torch.channels_last)
