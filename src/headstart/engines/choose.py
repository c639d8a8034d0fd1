"""Engines: ways to run one backbone's forward pass that give equal features at different speed, and the choice of one.

eager        the network as it is
folded       batch norm folded, channels last, convolutions packed; ready in a moment, needs nothing
compiled     torch.compile with frozen weights; ready in a minute, needs a C++ compiler; only when asked for
onnxruntime  an export kept on disk; ready in ten seconds the first time, needs `headstart[onnx]`
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from headstart.backbones.backbone import Backbone
from headstart.engines.benchmark import TOLERANCE, EngineBenchmark
from headstart.engines.forward import Forward, compiled_forward, device_forward, eager_forward, folded_forward
from headstart.engines.onnxruntime_engine import is_exported, missing_packages, onnx_forward
from headstart.errors import BackboneError, near

NAMES = ("auto", "eager", "folded", "compiled", "onnxruntime")

# times eager: (folded, onnxruntime); one core, batches of 16, 8 for the largest; benchmarks/engines.py measures anew
_MEASURED: dict[str, tuple[float, float]] = {
    "alexnet": (1.3, 1.3),
    "resnet18": (1.5, 1.6),
    "resnet34": (1.3, 1.4),
    "resnet50": (1.9, 2.2),
    "inception_v3": (1.8, 2.1),
    "squeezenet1_0": (2.6, 3.0),
    "squeezenet1_1": (3.1, 3.4),
    "mobilenet_v2": (3.5, 4.1),
    "mobilenet_v2_035": (3.8, 4.1),
    "mobilenet_v3_small": (2.1, 2.8),
    "mobilenet_v3_large": (2.8, 3.3),
    "efficientnet_b0": (2.3, 2.3),
    "convnext_tiny": (1.2, 1.1),
    "vit_b_16": (1.0, 0.9),
    "cifar_resnet20": (1.6, 1.6),
    "cifar_resnet56": (1.6, 1.6),
    "random": (2.0, 2.5),
}
_UNKNOWN = (1.2, 1.0)  # a network that was not measured: folding has not lost yet

FEW = 16  # images; below, building and checking another engine costs more than it saves
_SHARE = 0.05  # of the time that all waiting images take: what choosing may cost
# seconds until onnxruntime runs, beside the check: the export, or reading it; two busy cores
_EXPORT, _LOAD = 20.0, 1.0


@dataclass(frozen=True)
class Engine:
    """One way to run a backbone.

    Args:
        name: one of NAMES, never auto.
        reason: why this one, for the plan.
        forward: normalised pixels N×3×S×S float32 on the CPU → features N×D float32 of all stages, on the device; keeps
            no gradients, and several threads may call it at once.
        seconds_per_image: of the forward pass alone with all callers busy, as measured just now; None: not measured.
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
    callers: int = 1,
    cache_folder: Path,
) -> Engine:
    """The engine asked for, or for `auto` the one that gets through the waiting images soonest.

    An engine whose features differ from eager's by more than 2e-5 of the largest in their stage is refused: eager is
    taken instead, and the reason says so. The engine holds the weights as they are now. Where the backbone takes in
    mirror images, any engine is run twice.

    Args:
        waiting: images whose features are still to be computed.
        batch_size: images a forward pass will take at once.
        callers: threads that will call `forward` at once, each with torch on one thread; 1: torch uses all it has.
        cache_folder: where the export for onnxruntime is kept.

    Raises:
        BackboneError: the name is unknown, or the engine that was asked for is not to be had here.
    """
    if name not in NAMES:
        raise BackboneError(
            expected=f"an engine: {', '.join(NAMES)}", found=repr(name), where="--engine", hint=near(name, NAMES)
        )
    if device != "cpu":
        return _mirrored(_on_device(backbone, name, device), backbone)
    return _mirrored(_on_cpu(backbone, name, waiting, batch_size, callers, cache_folder), backbone)


def _mirrored(engine: Engine, backbone: Backbone) -> Engine:
    """The engine for an image and its mirror image, where the backbone's features are of both."""
    flip_tta = backbone.flip_tta
    if flip_tta is None:
        return engine
    seconds = None if engine.seconds_per_image is None else 2 * engine.seconds_per_image
    reason = f"{engine.reason}; run twice, for the mirror image too"
    return replace(engine, reason=reason, forward=partial(flip_tta.features, engine.forward), seconds_per_image=seconds)


def _on_cpu(backbone: Backbone, name: str, waiting: int, batch_size: int, callers: int, cache_folder: Path) -> Engine:
    eager = eager_forward(backbone)
    if name == "eager":
        return Engine("eager", "the network as it is, as asked for", eager, None)
    if name == "auto" and waiting < FEW:
        few = "no image waits" if waiting == 0 else f"only {waiting} images wait"
        return Engine("eager", f"the network as it is: {few}", eager, None)
    with _threads(1 if callers > 1 else torch.get_num_threads()):
        search = _Search(backbone, eager, callers, cache_folder)
        return search.asked(name) if name != "auto" else search.best(waiting, batch_size)


def _on_device(backbone: Backbone, name: str, device: str) -> Engine:
    if name not in ("auto", "eager"):
        raise BackboneError(
            expected="an engine for this device: auto or eager",
            found=name,
            where=f"--engine with --device {device}",
            hint="The others run on the CPU.",
        )
    return Engine("eager", f"float32 on {device}, without TF32", device_forward(backbone, device), None)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Search:
    """One choice in the making: the candidates that passed the check, and what is to be said of the others."""

    def __init__(self, backbone: Backbone, eager: Forward, callers: int, cache_folder: Path) -> None:
        self.backbone, self.eager = backbone, eager
        self.callers, self.cache_folder = callers, cache_folder
        self.probe = EngineBenchmark(backbone, eager)
        self.remarks: list[str] = []

    def asked(self, name: str) -> Engine:
        """The engine of this name, or eager when it was refused."""
        forward = self._admit(name, self._build(name))
        if forward is None:
            return self._engine("eager", "the network as it is", self.eager)
        return self._engine(name, "asked for", forward)

    def best(self, waiting: int, batch_size: int) -> Engine:
        """By the table; by measurement when that costs little beside what waits."""
        candidates = {name: forward for name in self._worth(waiting) if (forward := self._try(name)) is not None}
        if not candidates:
            return self._engine("eager", "the network as it is", self.eager)
        seconds = {name: self.probe.seconds(forward) for name, forward in candidates.items()}
        images = min(batch_size, 8)
        affordable = EngineBenchmark.ROUNDS * images * (len(candidates) + 1) <= _SHARE * waiting
        if affordable:
            everyone = {"eager": self.eager, **candidates}
            seconds = self.probe.compare(everyone, images)
            name = min(seconds, key=lambda key: seconds[key])
            reason = f"{seconds['eager'] / seconds[name]:.1f} times eager, measured on {images} images"
            return self._engine(name, reason, everyone[name], seconds[name])
        name = max(candidates, key=self._ratio)
        reason = f"{self._ratio(name):.1f} times eager when it was measured for this network"
        if self.backbone.spec.name not in _MEASURED:
            reason = "mostly quicker than the network as it is"
        return self._engine(name, reason, candidates[name], seconds[name])

    def _worth(self, waiting: int) -> list[str]:
        """The engines whose start is a small share of what waits; folding always is, where it gains anything."""
        names = ["folded"] if self._ratio("folded") > 1 else []
        if missing_packages():
            return names
        start = _LOAD if is_exported(self.backbone, self.cache_folder) else _EXPORT
        return [*names, "onnxruntime"] if start <= _SHARE * waiting * self.probe.eager_seconds / self.callers else names

    def _ratio(self, name: str) -> float:
        folded, onnxruntime = _MEASURED.get(self.backbone.spec.name, _UNKNOWN)
        return {"folded": folded, "onnxruntime": onnxruntime}[name]

    def _try(self, name: str) -> Forward | None:
        try:
            return self._admit(name, self._build(name))
        except BackboneError as error:  # nobody asked for it by name: no mistake of the user's
            self.remarks.append(f"{name} is not to be had: {error.found}")
            return None

    def _build(self, name: str) -> Forward:
        if name == "folded":
            return folded_forward(self.backbone)
        if name == "compiled":
            return compiled_forward(self.backbone)
        return onnx_forward(self.backbone, self.cache_folder)

    def _admit(self, name: str, forward: Forward) -> Forward | None:
        difference = self.probe.difference(forward)
        if difference <= TOLERANCE:
            return forward
        self.remarks.append(f"{name} was refused, for its features are {difference:.0e} off eager's")
        return None

    def _engine(self, name: str, reason: str, forward: Forward, seconds: float | None = None) -> Engine:
        taken = self.probe.seconds(forward) if seconds is None else seconds
        return Engine(name, "; ".join([reason, *self.remarks]), forward, taken / self.callers)
