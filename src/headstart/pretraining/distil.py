"""Distillation: a student whose maps should be a linear step away from the teacher's, and pictures to show to both."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.backbones.preprocess import Preprocess
from headstart.backbones.small_resnet import EMBEDDED_WIDTHS, SmallResNet
from headstart.pretraining.bank import Bank
from headstart.pretraining.scene import draw_pictures
from headstart.pretraining.teacher import WIDTHS as TEACHER_WIDTHS
from headstart.pretraining.teacher import Grid, Teacher

_STAGES = ("stage2", "stage3", "stage4")
_STEPS = (8, 16, 16)
_AHEAD = 2  # batches that are drawn, and shown to the teacher, while the student learns from an earlier one


def student_grids(size: int) -> tuple[Grid, ...]:
    """Where the maps of the student's last three stages lie in pictures of a size; its paddings centre them on 0."""
    return tuple(Grid(0.0, float(step), -(-size // step)) for step in _STEPS)


class Distiller(nn.Module):
    """The student with a 1×1 convolution after each of its last three stages; pixels → three guesses N×C×G×G."""

    def __init__(self, student: SmallResNet) -> None:
        super().__init__()
        self.student = student
        widths = zip(EMBEDDED_WIDTHS[1:], TEACHER_WIDTHS, strict=True)
        self.adaptors = nn.ModuleList(nn.Conv2d(own, theirs, 1) for own, theirs in widths)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Guesses of the teacher's three maps."""
        x = self.student.stage1(self.student.stem(pixels))
        guesses = []
        for name, adaptor in zip(_STAGES, self.adaptors, strict=True):
            x = self.student.get_submodule(name)(x)
            guesses.append(adaptor(x))
        return tuple(guesses)


def distillation_loss(guesses: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> Tensor:
    """Mean over the three maps of the smooth L1 distance; 0.32 or so for guesses of zero."""
    pairs = zip(guesses, targets, strict=True)
    return torch.stack([F.smooth_l1_loss(guess, target) for guess, target in pairs]).mean()


class DrawnPictures:
    """A loader of (pixels, targets) that draws its pictures as it goes; each epoch has new ones.

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

    def __iter__(self) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
        seed = int(torch.randint(2**31, (1,), generator=self.generator))
        waiting: deque[Future[tuple[Tensor, tuple[Tensor, ...]]]] = deque()
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="draw") as pool:  # while the student learns
            for number in range(self._batches + _AHEAD):
                if number < self._batches:
                    waiting.append(pool.submit(self._draw, seed + number))
                if number >= _AHEAD:
                    yield waiting.popleft().result()

    def _draw(self, seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        pixels = self.pixels(seed, self._batch)
        return pixels, self._teacher(pixels)

    def pixels(self, seed: int, count: int) -> Tensor:
        """Normalised pixels N×3×S×S of new pictures, on the teacher's device."""
        drawn = torch.from_numpy(draw_pictures(self._bank, seed, count, self._size))
        device = self._teacher.get_buffer("mean0").device
        return self._preprocess.normalise(drawn.to(device)).contiguous(memory_format=torch.channels_last)
