"""ProcessGroup: the processes that train one network together, and what they say to each other.

Every process holds the whole network and takes some rows of each batch; gradients are averaged before each step, so
that all make the same step. The messages are those of torch.distributed (gloo).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from headstart.errors import RunError

_Value = TypeVar("_Value")
_Rows = TypeVar("_Rows")

PATIENCE = timedelta(minutes=30)
"""For the others in the middle of a step; one that dies is noticed at once, by its closed connection."""
LONG = timedelta(days=7)
"""For the first process while it reads images or fills a cache, which the others wait for."""
_GLOO = "gloo"  # in errors of torch's messages, which are plain RuntimeErrors
_FAILED = "failed"  # key of the store: what went wrong in a process, in its own words


class ProcessGroup:
    """One of `size` processes.

    Args:
        rank: its number; 0 is the process that the user started, which alone writes files and reports.
        store: of torch.distributed, that all of them reach.
        why_gone: words for an error when another process has ended; of the first process alone.

    Attributes:
        threads: that the first process may use while the others wait for it.
    """

    def __init__(self, rank: int, size: int, store: Any, *, why_gone: Callable[[], str] | None = None) -> None:
        self.rank, self.size, self.store = rank, size, store
        self._why_gone = why_gone or (lambda: "one that ended")
        self._turns = 0
        self.threads = torch.get_num_threads()

    @contextlib.contextmanager
    def joined(self) -> Iterator[ProcessGroup]:
        """Meet the others; until the block ends, messages can be sent.

        Raises:
            RunError: another process ended, in this block's beginning or in any of its messages.
        """
        with self.others():
            dist.init_process_group("gloo", store=self.store, rank=self.rank, world_size=self.size, timeout=PATIENCE)
        try:
            yield self
        finally:
            dist.destroy_process_group()

    def own(self, rows: _Rows) -> _Rows:
        """This process's share of the rows of a batch: every `size`-th."""
        share: _Rows = rows[self.rank :: self.size]  # type: ignore[index]  # a tensor, an array or a list
        return share

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """All `count` rows of a batch, in order, of each process's own n×…; the same in every process."""
        whole = rows.new_zeros(count, *rows.shape[1:])
        self.own(whole).copy_(rows)
        self.sum(whole)
        return whole

    def sum(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over the processes."""
        with self.others():
            dist.all_reduce(tensor)

    def same(self, value: _Value) -> _Value:
        """The first process's value, in all of them."""
        box: list[Any] = [value]
        with self.others():
            dist.broadcast_object_list(box, src=0)
        found: _Value = box[0]
        return found

    def share(self, module: nn.Module) -> None:
        """Give a module the first process's weights and buffers, in all of them."""
        with self.others(), torch.no_grad():
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)

    def first(self, make: Callable[[], _Value]) -> _Value:
        """Make something in the first process, then, when what it wrote is there, in the others."""
        self._turns += 1
        key = f"made/{self._turns}"
        if self.rank:
            with self.others():
                self.store.wait([key], LONG)
            return make()
        few = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            made = make()
        finally:
            torch.set_num_threads(few)
        with self.others():
            self.store.set(key, "1")
        return made

    def fail(self, error: BaseException) -> None:
        """Leave word of what went wrong here, for the error of the first process."""
        with contextlib.suppress(RuntimeError):
            self.store.set(_FAILED, f"process {self.rank + 1} of {self.size}: {error}")

    @contextlib.contextmanager
    def others(self, *, with_work: bool = False) -> Iterator[None]:
        """Errors of messages become ours: another process has ended.

        Args:
            with_work: the block does more than send messages, and errors of that stay as they are.

        Raises:
            RunError: another process has ended.
        """
        try:
            yield
        except RuntimeError as error:  # torch has no kind of its own for a peer that is gone
            if with_work and _GLOO not in str(error) and not isinstance(error, dist.DistError):
                raise
            raise RunError(
                expected=f"{self.size} processes that train together",
                found=self._said() or self._why_gone(),
                where="--processes",
                hint="Mostly the memory is full: use fewer --processes. The training can be resumed.",
            ) from error

    def _said(self) -> str:
        with contextlib.suppress(RuntimeError):
            if self.store.check([_FAILED]):
                return str(self.store.get(_FAILED).decode(errors="replace"))
        return ""
