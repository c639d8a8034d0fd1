"""RowLoader: batches of rows on disk; order and views follow from one number drawn at the start of each epoch.

That number comes from a generator of the loader's own, which the loop seeds and keeps in its checkpoints. So an epoch
that is resumed in the middle has the same batches, and dropout, which draws from the global random numbers, moves no
order, in however many processes it draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.finetune.augmentation import Mix
from headstart.training.process_group import ProcessGroup

Batch = Callable[[NDArray[np.int64], int], Any]
"""(positions of a batch, seed of the epoch) → the network's input for them."""


class RowLoader:
    """Batches of (input, labels); each image once in an epoch.

    Args:
        make: gives the input of a batch. labels: N. batch_size: the last batch may be smaller; in training a single
            image that is left over joins the batch before it, since one image has no variance to normalise by.
        shuffle: a new order every epoch; False: in order, for evaluation.
        mix: mixes the images of a batch, and their labels.
        group: the processes that share each batch: the input is of this one's rows, labels are of all. One without
            rows gets the first of the batch, which stands in.
    """

    def __init__(  # what is read, and how it is dealt out
        self,
        make: Batch,
        labels: NDArray[np.int64],
        batch_size: int,
        *,
        shuffle: bool,
        mix: Mix | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        self.make = make
        self.labels = labels
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.mix = mix
        self.group = group
        self.generator = torch.Generator()
        starts = list(range(0, len(labels), batch_size))
        alone = shuffle and batch_size > 1 and len(starts) > 1 and starts[-1] == len(labels) - 1
        self._starts = starts[:-1] if alone else starts

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        seed = int(torch.randint(2**62, (), generator=self.generator)) if self.shuffle else 0
        return self._batches(seed)  # the number is drawn now, not with the first batch

    def _batches(self, seed: int) -> Iterator[tuple[Any, Tensor]]:
        count = len(self.labels)
        order = np.random.default_rng(seed).permutation(count) if self.shuffle else np.arange(count)
        for begin, end in zip(self._starts, [*self._starts[1:], count], strict=True):
            positions = order[begin:end]
            labels = torch.from_numpy(self.labels[positions])
            if self.group is not None and self.shuffle:  # dropout: other numbers in each process, again after a resume
                torch.manual_seed(hash((seed, begin, self.group.rank)) % 2**63)
            if self.mix is None:
                yield self.make(self._own(positions), seed), labels
                continue
            # an image may be mixed with one of another process
            inputs, labels = self.mix(self.make(positions, seed), labels, (seed + begin) % 2**62)
            yield self._own(inputs), labels

    def _own(self, rows: Any) -> Any:
        if self.group is None:
            return rows
        own = self.group.own(rows)
        return own if len(own) else rows[:1]
