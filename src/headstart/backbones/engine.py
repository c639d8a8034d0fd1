"""Engines: ways to run one backbone's forward pass that give equal outputs at different speed, and the choice of one.

eager        the network as it is
folded       batch norm folded into the convolutions, channels last in memory; costs a moment, needs nothing
compiled     torch.compile with its weights frozen; costs half a minute and needs a C++ compiler
onnxruntime  an export kept on disk; costs ten seconds once, needs `headstart[onnx]`
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from headstart.backbones.backbone import Backbone
from headstart.errors import BackboneError, near

NAMES = ("auto", "eager", "folded", "compiled", "onnxruntime")
TOLERANCE = 2e-5  # of a stage's largest feature: what another order of the same float32 sums gives
Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Engine:
    """One way to run a backbone.

    Args:
        name: one of NAMES, never auto.
        reason: why this one, for the plan.
        forward: normalised pixels N×3×S×S float32 on the CPU → features N×D float32 of all stages, on the device; keeps
            no gradients and may be called by several threads at once.
        seconds_per_image: of the forward pass alone, as measured just now; None: not measured.
    """

    name: str
    reason: str
    forward: Forward
    seconds_per_image: float | None


def choose_engine(
    backbone: Backbone,
    *,
    name: str = "auto",
    device: str = "cpu",
    waiting: int = 0,
    batch_size: int = 32,
    cache_folder: Path,
) -> Engine:
    """The engine asked for, or for `auto` the one that gets through the waiting images soonest.

    Args:
        waiting: images whose features are still to be computed.
        cache_folder: where the export for onnxruntime is kept.

    Raises:
        BackboneError: the name is unknown, or the engine that was asked for is not to be had here.
    """
    if name not in NAMES:
        raise BackboneError(
            expected=f"an engine: {', '.join(NAMES)}", found=repr(name), where="--engine", hint=near(name, NAMES)
        )
    raise NotImplementedError
