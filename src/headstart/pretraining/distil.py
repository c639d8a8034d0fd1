"""Distillation: a student whose maps should be a linear step away from the teacher's, and pictures to show to both."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
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
_THREADS = 2  # that draw and ask the teacher while the student learns
_AHEAD = 3  # batches that are drawn, or being drawn, before they are wanted

Batch = tuple[Tensor, tuple[Tensor, ...]]
"""Normalised pixels N×3×S×S and three targets N×C×G×G."""


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

    A new batch is followed by `views - 1` batches of pictures picked from all that the epoch has drawn so far: to draw
    a picture and to ask the teacher costs more than to learn from it. Everything in an epoch follows from one number
    of `generator`, whose state a checkpoint of StepByStep keeps, so that a resumed epoch sees what it would have seen.

    Args:
        batches: in an epoch. batch: pictures in a batch. size: pixels along a side, as the
            student sees it. seen: as the teacher sees it, and as it is drawn. views: how often a picture is seen on
            average.
    """

    def __init__(
        self,
        bank: Bank,
        teacher: Teacher,
        preprocess: Preprocess,
        *,
        batches: int,
        batch: int,
        size: int,
        seen: int,
        views: int = 1,
    ) -> None:
        self.generator = torch.Generator()
        self.collage: Callable[[], float] = lambda: 0.0  # share of collages in the epoch that begins
        self._bank, self._teacher, self._preprocess = bank, teacher, preprocess
        self._batches, self._batch, self._size, self._seen, self._views = batches, batch, size, seen, views

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Batch]:
        seed = int(torch.randint(2**31, (1,), generator=self.generator))
        collage = self.collage()
        picks = torch.Generator().manual_seed(seed)
        drawn: list[Batch] = []
        again = 0
        for batch in self._new(seed, collage):
            yield batch
            if self._views > 1:
                drawn.append(_packed(batch))
            for _ in range(min(self._views - 1, self._batches - len(drawn) - again)):
                again += 1
                yield _picked(drawn, self._batch, picks)

    def _new(self, seed: int, collage: float) -> Iterator[Batch]:
        waiting: deque[Future[Batch]] = deque()
        count = -(-self._batches // self._views)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="draw") as pool:  # while the student learns
            for number in range(count + _AHEAD):
                if number < count:
                    waiting.append(pool.submit(self._draw, seed + number, collage))
                if number >= _AHEAD:
                    yield waiting.popleft().result()

    def _draw(self, seed: int, collage: float) -> Batch:
        whole = self._whole(seed, self._batch, collage)
        return self._reduced(whole), self._teacher(self._preprocess.normalise(whole))

    def pixels(self, seed: int, count: int) -> Tensor:
        """Normalised pixels N×3×S×S of new pictures as the student sees them, on the teacher's device."""
        return self._reduced(self._whole(seed, count))

    def seen_pixels(self, seed: int, count: int) -> Tensor:
        """The same, as the teacher sees them."""
        return self._preprocess.normalise(self._whole(seed, count))

    def _whole(self, seed: int, count: int, collage: float = 0.0) -> Tensor:
        drawn = torch.from_numpy(draw_pictures(self._bank, seed, count, self._seen, collage=collage))
        return drawn.to(self._teacher.get_buffer("mean0").device)

    def _reduced(self, whole: Tensor) -> Tensor:
        pixels = self._preprocess.normalise(whole)
        if self._size != self._seen:
            pixels = F.interpolate(pixels, size=(self._size, self._size), mode="bilinear", antialias=True)
        return pixels.contiguous(memory_format=torch.channels_last)


def _packed(batch: Batch) -> Batch:
    """In half the memory: an epoch's pictures and targets are kept until its end."""
    return batch[0].half(), tuple(target.half() for target in batch[1])


def _picked(drawn: list[Batch], count: int, generator: torch.Generator) -> Batch:
    """So many pictures of those that were drawn, each at most once where there are enough."""
    size = len(drawn[0][0])
    places = [divmod(int(place), size) for place in torch.randperm(len(drawn) * size, generator=generator)[:count]]
    pixels = torch.stack([drawn[number][0][row] for number, row in places]).float()
    targets = zip(*([target[row] for target in drawn[number][1]] for number, row in places), strict=True)
    return pixels.contiguous(memory_format=torch.channels_last), tuple(torch.stack(one).float() for one in targets)
