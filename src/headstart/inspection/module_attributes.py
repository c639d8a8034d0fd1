"""What a forward pass may leave in a network besides weights: buffers, counters, caches in attributes; put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


@contextmanager
def attributes_kept(network: nn.Module) -> Iterator[None]:
    """Values of buffers, and every module's attributes, lists and dictionaries included, are as they were afterwards.

    A table that was made on the meta device and kept for later would break the next real pass; a functional batch norm
    may write its statistics whatever the mode.
    """
    with ExitStack() as after:
        for module in network.modules():
            if not isinstance(module, torch.jit.ScriptModule):
                after.callback(_keep(module))
        copies = [(buffer, buffer.detach().clone()) for buffer in network.buffers() if has_values(buffer)]
        after.callback(_write_back, copies)
        yield


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers: not on the meta device, nor waiting for its shape."""
    return not (is_lazy(tensor) or tensor.is_meta)


def _keep(module: nn.Module) -> Callable[[], None]:
    own = vars(module)
    before = dict(own)
    lists = [(value, list(value)) for value in before.values() if isinstance(value, list)]
    tables: list[tuple[dict[Any, Any], dict[Any, Any]]] = [
        (value, dict(value)) for value in before.values() if isinstance(value, dict)
    ]

    def put_back() -> None:
        own.clear()
        own.update(before)
        for held, values in lists:
            held[:] = values
        for table, entries in tables:
            table.clear()
            table.update(entries)

    return put_back


def _write_back(copies: list[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for buffer, value in copies:
            buffer.copy_(value)
