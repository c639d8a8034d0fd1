"""RowLoader: batches of rows on disk; order and views follow from one number drawn at the start of each epoch.

That number comes from torch's global random numbers, which the loop keeps in its checkpoints, so an epoch that is
resumed in the middle has the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.finetune.augmentation import Mix

Batch = Callable[[NDArray[np.int64], int], Any]
"""(positions of a batch, seed of the epoch) → the network's input for them."""


class RowLoader:
    """Batches of (input, labels); each image once in an epoch.

    Args:
        make: gives the input of a batch. labels: N. batch_size: the last batch may be smaller; in training a single
            image that is left over joins the batch before it, since one image has no variance to normalise by.
        shuffle: a new order every epoch; False: in order, for evaluation.
        mix: mixes the images of a batch, and their labels.
    """

    def __init__(
        self, make: Batch, labels: NDArray[np.int64], batch_size: int, *, shuffle: bool, mix: Mix | None = None
    ) -> None:
        self.make = make
        self.labels = labels
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.mix = mix
        starts = list(range(0, len(labels), batch_size))
        alone = shuffle and batch_size > 1 and len(starts) > 1 and starts[-1] == len(labels) - 1
        self._starts = starts[:-1] if alone else starts

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        seed = int(torch.randint(2**62, ())) if self.shuffle else 0
        return self._batches(seed)  # the number is drawn now, not with the first batch

    def _batches(self, seed: int) -> Iterator[tuple[Any, Tensor]]:
        count = len(self.labels)
        order = np.random.default_rng(seed).permutation(count) if self.shuffle else np.arange(count)
        for begin, end in zip(self._starts, [*self._starts[1:], count], strict=True):
            positions = order[begin:end]
            inputs, labels = self.make(positions, seed), torch.from_numpy(self.labels[positions])
            yield (inputs, labels) if self.mix is None else self.mix(inputs, labels, (seed + begin) % 2**62)
