"""What the verbs compute under: the usual settings of torch, whatever the program around them has set.

A notebook may have chosen another default type or device, switched gradients off, or be inside autocast, or let NumPy
raise where a number underflows. The networks of headstart are float32 on the device that the recipe names, and give the
same numbers there. Everything is put back.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


class _DefaultType:
    """While a thread is inside, torch's default type is float32, for all threads; the last one out puts it back."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before: Any = None

    def __enter__(self) -> None:
        import torch

        with self._lock:
            if not self._inside:
                self._before = torch.get_default_dtype()
            self._inside += 1
            torch.set_default_dtype(torch.float32)

    def __exit__(self, *error: object) -> None:
        import torch

        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.set_default_dtype(self._before)


_DEFAULT_TYPE = _DefaultType()
NUMPY = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
"""What NumPy does with numbers that are none, unless a program has set something else."""


@contextmanager
def usual_settings(*, own_network: bool = False) -> Iterator[None]:
    """Gradients on, no autocast, float32 and the processor by default, while inside.

    Args:
        own_network: the network may be the user's, and rely on their default type and device: these stay.
    """
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(
        torch, "get_default_device"
    ):  # not imported, or just being imported: nothing is set
        yield
        return
    with ExitStack() as stack:
        import numpy as np

        stack.enter_context(np.errstate(**NUMPY))  # type: ignore[arg-type]
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if not own_network and torch.get_default_dtype() is not torch.float32:
            stack.enter_context(_DEFAULT_TYPE)
        if not own_network and torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
