"""Recent: the latest arrays of a long series, and statistics of every one."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import TrainingError

STATISTICS = ("mean", "std", "norm", "largest")
"""Columns of `Recent.statistics`: mean, deviation (of the population), Euclidean norm, largest magnitude."""

MOST_BYTES = 256 * 2**20  # a small share of a laptop's memory: 28 steps of a 2.4 M weight layer, all of a small net's
_ARRAY = 128  # bytes that an array takes besides its numbers


class Recent(Sequence[NDArray[np.float32]]):
    """The latest arrays that were added, oldest first; `np.array` of it stacks them along a new first axis.

    A list of lists of Python floats, as the book keeps, takes eight times the memory (32 bytes a number) without end.

    Args:
        keep: how many arrays are kept; statistics are kept of all.
    """

    def __init__(self, keep: int) -> None:
        self._arrays: deque[NDArray[np.float32]] = deque(maxlen=keep)
        self._numbers = array("d")

    def add(self, values: Tensor) -> None:
        """Copy a tensor of any device and precision."""
        floats = values.detach().float()
        numbers = (floats.mean(), floats.std(correction=0), torch.linalg.vector_norm(floats), floats.abs().amax())
        self._numbers.extend(torch.stack(numbers).tolist())
        self._arrays.append(floats.cpu().numpy().copy())

    @property
    def seen(self) -> int:
        """How many were added, also those that were not kept."""
        return len(self._numbers) // len(STATISTICS)

    @property
    def statistics(self) -> NDArray[np.float64]:
        """One row for each array that was added; columns as in `STATISTICS`."""
        return np.array(self._numbers).reshape(-1, len(STATISTICS))

    def __len__(self) -> int:
        return len(self._arrays)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.float32]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[np.float32]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        return list(self._arrays)[index] if isinstance(index, slice) else self._arrays[index]

    def __array__(self, dtype: type | None = None, copy: bool | None = None) -> NDArray[np.float32]:
        return np.array(list(self._arrays), dtype=dtype or np.float32)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self._arrays[-1].shape)) if self._arrays else "nothing yet"
        return f"Recent({len(self)} of {self.seen}, each {shape})"


def room_for(tensors: Iterable[Tensor], keep: int | None = None) -> int:
    """How many arrays of each tensor to keep: the same for all, so that they match step by step.

    Args:
        keep: the user's number; None: as many as fit into `MOST_BYTES`, at least one.

    Raises:
        TrainingError: the number is below 0.
    """
    if keep is None:
        return max(1, MOST_BYTES // max(1, sum(4 * tensor.numel() + _ARRAY for tensor in tensors)))
    if keep < 0:
        raise TrainingError(expected="keep of 0 (statistics only) or more", found=repr(keep), where="capture")
    return keep
