"""Engines: ways to run a backbone's forward pass with equal features at different speed, and the choice of one.

eager        the network itself
folded       batch norm folded, channels last, convolutions packed; ready at once, needs nothing
compiled     torch.compile with frozen weights; ready in a minute, needs a C++ compiler; only on request
onnxruntime  an export kept on disk; ready in ten seconds the first time, needs `headstart[onnx]`

`register_engine` adds others, which run on request.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.backbones.low_precision import LowPrecision
from headstart.engines.benchmark import TOLERANCE, EngineBenchmark
from headstart.engines.foreign import foreign_forward
from headstart.engines.forward import Forward, device_forward, folded_forward
from headstart.engines.measured import keep_measurement, read_measurement
from headstart.engines.onnxruntime_engine import is_exported, missing_packages, onnx_forward
from headstart.errors import BackboneError, near
from headstart.registry import ENGINES
from headstart.wording import counted

Builder = Callable[[Backbone], Forward]
"""Makes the function from normalised pixels N×3×S×S float32 to features N×D float32 of all stages."""

# times eager: (folded, onnxruntime); one core, batches of 16, 8 for the largest; benchmarks/engines.py measures again
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
_UNKNOWN = (1.2, 1.0)  # a network that was not measured: folding has never been slower so far

_TIMED = 2  # images that a low-precision network is timed on
FEW = 16  # images; below, building and checking another engine costs more than it saves
_SHARE = 0.05  # of the time that all waiting images take: what a measurement without an export may cost
# images; on a GPU compiling takes seconds: resnet50 on an H200 gained 0.04 ms an image and was ready after 1.4 s
_WORTH_COMPILING = 30_000
# times the fastest: the export is taken as fast, as it answers without the network, which takes seconds to build
_AS_FAST = 1.1
# seconds until onnxruntime runs, without the check: the export, or reading it (resnet18 3.6, efficientnet_lite0 8.4)
_EXPORT, _LOAD = 6.0, 1.0


@dataclass(frozen=True)
class Engine:
    """One way to run a backbone.

    Args:
        name: one of `ENGINES`, never auto.
        reason: why this one, for the plan.
        forward: normalised pixels N×3×S×S float32 on the CPU or the device → features N×D float32 of all stages, on
            the device; keeps no gradients, and several threads may call it at once.
        seconds_per_image: of the forward pass alone, measured just now; None: not measured.
        device: where it runs.
    """

    name: str
    reason: str
    forward: Forward
    seconds_per_image: float | None = None
    device: str = "cpu"


def choose_engine(
    backbone: Backbone,
    *,
    name: str = "auto",
    device: str = "cpu",
    waiting: int = 0,
    batch_size: int = 32,
    cache_folder: Path,
    may_export: bool = True,
) -> Engine:  # seven: what runs, where and how much of it, and what the choice may cost
    """The requested engine, or for `auto` the one that computes the waiting images soonest.

    An engine whose features differ from eager's by more than 2e-5 of the largest in their stage is refused: eager is
    used instead, and the reason says so. The engine holds the weights as they are now. With flip TTA any engine runs
    twice.

    Args:
        waiting: images whose features are still to be computed.
        batch_size: images in one forward pass.
        cache_folder: where the export for onnxruntime is kept.
        may_export: whether `auto` may make one now, which takes some ten seconds.

    Raises:
        BackboneError: the name is unknown, or the requested engine is not available here.
    """
    if name not in ENGINES:
        raise BackboneError(
            expected=f"an engine: {', '.join(ENGINES)}", found=repr(name), where="--engine", hint=near(name, ENGINES)
        )
    if backbone.low_precision is not None:
        engine = _low_precision(backbone, backbone.low_precision, name=name, device=device, waiting=waiting)
    elif device != "cpu":
        engine = _on_device(backbone, name, device)
    elif name == "eager":
        engine = Engine("eager", "the network itself, as requested", backbone.plain_features)
    elif name == "auto" and waiting < FEW:
        few = f"only {counted(waiting, 'image')} to compute" if waiting else "nothing to compute"
        engine = Engine("eager", f"the network itself: {few}", backbone.plain_features)
    else:
        export = partial(onnx_forward, cache_folder=cache_folder)
        search = EngineSearch(backbone, {"folded": folded_forward, "onnxruntime": export})
        if name == "auto":
            engine = _best(search, waiting, batch_size, cache_folder=cache_folder, may_export=may_export)
        else:
            engine = search.requested(name)
    return with_flips(replace(engine, device=device), backbone)


def _best(search: EngineSearch, waiting: int, batch_size: int, *, cache_folder: Path, may_export: bool) -> Engine:
    """The fastest as this machine has measured it before; else what `EngineSearch.best` finds, which is kept."""
    backbone, missing = search.backbone, missing_packages()
    kept = read_measurement(backbone, cache_folder)
    if kept is not None:
        return search.measured_before(kept.seconds)
    exported = not missing and is_exported(backbone, cache_folder)
    start = _LOAD if exported else None if missing or not may_export else _EXPORT
    engine = search.best(waiting, batch_size, export_seconds=start)
    if search.seconds and (missing or "onnxruntime" in search.tried):
        keep_measurement(backbone, search.seconds, cache_folder)
    return engine


def measured_forward(backbone: Backbone, cache_folder: Path) -> Forward | None:
    """The forward pass that this machine has measured to be the fastest, where it is at hand; None: the network's own.

    For a classifier that answers one image after another: nothing is measured, checked or exported here. That its
    features equal eager's was checked when it was measured, with the same weights and versions. A measurement with as
    many threads as now comes first, then one with another number: the order of the engines hardly depends on it.
    """
    if backbone.low_precision is not None:
        return None
    threads = (0, *range(1, runtime.cores() + 1))  # 0: as many as now
    measured = (read_measurement(backbone, cache_folder, threads=number) for number in threads)
    kept = next((one for one in measured if one is not None), None)
    if kept is None:
        return None
    exported = not missing_packages() and is_exported(backbone, cache_folder)
    if exported and kept.seconds.get("onnxruntime", math.inf) <= _AS_FAST * kept.seconds[kept.fastest]:
        forward = onnx_forward(backbone, cache_folder)
    elif kept.fastest == "folded":
        forward = folded_forward(backbone)
    else:
        return None
    return forward if backbone.flip_tta is None else partial(backbone.flip_tta.features, forward)


def with_flips(engine: Engine, backbone: Backbone) -> Engine:
    """The engine for an image and its flip, if the backbone's features average over both."""
    flip_tta = backbone.flip_tta
    if flip_tta is None:
        return engine
    seconds = None if engine.seconds_per_image is None else 2 * engine.seconds_per_image
    reason = f"{engine.reason}; run twice, for the flip too"
    return replace(engine, reason=reason, forward=partial(flip_tta.features, engine.forward), seconds_per_image=seconds)


def _low_precision(backbone: Backbone, low: LowPrecision, *, name: str, device: str, waiting: int) -> Engine:
    if device.startswith("cuda") and not low.model and name in ("auto", "compiled", "eager"):
        name = "eager" if name == "auto" and waiting < _WORTH_COMPILING else name
        return _bfloat16_on_device(backbone, name, device)
    own = "onnxruntime" if low.model else "folded"
    if name not in ("auto", own) or device != "cpu":
        raise BackboneError(
            expected=f"the engine of {low.name}: {own} on the CPU",
            found=f"{name} on {device}",
            where="--engine, --device",
            hint="Leave out --engine and use --device cpu.",
        )
    side, began = backbone.preprocess.crop, time.perf_counter()
    low.forward(torch.zeros(_TIMED, 3, side, side))
    seconds = (time.perf_counter() - began) / _TIMED
    return Engine(own, f"{low.name}, the classifier's own network", low.forward, seconds)


def _bfloat16_on_device(backbone: Backbone, name: str, device: str) -> Engine:
    reason = f"bfloat16 on {device}"
    if name != "eager":
        try:
            compiled = device_forward(backbone, device, dtype=torch.bfloat16, compiled=True)
        except BackboneError as error:
            if name == "compiled":
                raise
            reason += f"; not compiled: {error.found}"  # nobody asked for it by name
        else:
            return Engine("compiled", f"{reason}, compiled", compiled)
    return Engine("eager", reason, device_forward(backbone, device, dtype=torch.bfloat16))


def _on_device(backbone: Backbone, name: str, device: str) -> Engine:
    if name not in ("auto", "eager"):
        raise BackboneError(
            expected="an engine for this device: auto or eager",
            found=name,
            where=f"--engine with --device {device}",
            hint="The others run on the CPU.",
        )
    return Engine("eager", f"float32 on {device}, without TF32", device_forward(backbone, device))


class EngineSearch:
    """One choice: candidates are built, compared with eager's features, and timed; `remarks` say what was refused.

    Args:
        builders: by name; other names are those of `ENGINES`.
    """

    def __init__(self, backbone: Backbone, builders: Mapping[str, Builder]) -> None:
        self.backbone, self.builders = backbone, builders
        self.eager = backbone.plain_features
        self.benchmark = EngineBenchmark(backbone, self.eager)
        self.remarks: list[str] = []
        self.tried: list[str] = []
        self.seconds: dict[str, float] = {}

    def requested(self, name: str) -> Engine:
        """The engine of this name, or eager if it was refused.

        Raises:
            BackboneError: it is not available here.
        """
        forward = self._checked(name, self._build(name))
        if forward is None:
            return self._engine("eager", "the network itself", self.eager)
        return self._engine(name, "as requested", forward)

    def best(self, waiting: int, batch_size: int, *, export_seconds: float | None) -> Engine:
        """The fastest by the table; by measurement when that costs little beside the waiting images.

        Args:
            export_seconds: until onnxruntime can run; None: it cannot.
        """
        names = self._worth_it(waiting, export_seconds)
        candidates = {name: forward for name in names if (forward := self._try(name)) is not None}
        if not candidates:
            return self._engine("eager", "the network itself", self.eager)
        images = min(batch_size, 8)
        cheap = EngineBenchmark.ROUNDS * images * (len(candidates) + 1) <= _SHARE * waiting
        if cheap or "onnxruntime" in candidates:  # its export took longer than the measurement, which decides for good
            everyone = {"eager": self.eager, **candidates}
            seconds = self.seconds = self.benchmark.compare(everyone, images)
            name = min(seconds, key=lambda key: seconds[key])
            reason = f"{_gain(name, seconds)}, measured on {images} images"
            return self._engine(name, reason, everyone[name], seconds=seconds[name])
        name = max(candidates, key=self._ratio)
        reason = f"{self._ratio(name):.1f} times as fast as eager in the benchmark of this network"
        if self.backbone.spec.name not in _MEASURED:
            reason = "usually faster than the network itself"
        return self._engine(name, reason, candidates[name])

    def measured_before(self, seconds: Mapping[str, float]) -> Engine:
        """The engine that was the fastest when it was measured here, if it is there and still gives the features."""
        for name in sorted(seconds, key=lambda key: seconds[key]):
            forward = self.eager if name == "eager" else self._try(name)
            if forward is not None:
                reason = f"{_gain(name, seconds)}, as measured on this machine before"
                return self._engine(name, reason, forward, seconds=seconds[name])
        return self._engine("eager", "the network itself", self.eager)

    def _worth_it(self, waiting: int, export_seconds: float | None) -> list[str]:
        """Folding, where it gains anything, and onnxruntime, if its start takes less than the waiting images would.

        That is at most once: the export and what was measured are kept, and all later runs gain.
        """
        names = ["folded"] if self._ratio("folded") > 1 else []
        if export_seconds is not None and export_seconds <= waiting * self.benchmark.eager_seconds:
            names.append("onnxruntime")
        return names

    def _ratio(self, name: str) -> float:
        folded, onnxruntime = _MEASURED.get(self.backbone.spec.name, _UNKNOWN)
        return {"folded": folded, "onnxruntime": onnxruntime}[name]

    def _try(self, name: str) -> Forward | None:
        self.tried.append(name)
        try:
            return self._checked(name, self._build(name))
        except BackboneError as error:  # nobody requested it by name, so it is not the user's mistake
            self.remarks.append(f"{name} is not available: {error.found}")
            return None

    def _build(self, name: str) -> Forward:
        if name not in self.builders and not ENGINES.is_own(name):
            return foreign_forward(name, self.backbone)
        build: Builder = self.builders[name] if name in self.builders else ENGINES.find(name, where="--engine")
        return build(self.backbone)

    def _checked(self, name: str, forward: Forward) -> Forward | None:
        difference = self.benchmark.difference(forward)
        if difference <= TOLERANCE:
            return forward
        self.remarks.append(f"{name} was refused: its features differ from eager's by {difference:.0e}")
        return None

    def _engine(self, name: str, reason: str, forward: Forward, *, seconds: float | None = None) -> Engine:
        seconds = self.benchmark.seconds(forward) if seconds is None else seconds
        return Engine(name, "; ".join([reason, *self.remarks]), forward, seconds)


def _gain(name: str, seconds: Mapping[str, float]) -> str:
    """How much faster than eager an engine is, by seconds of each."""
    if name == "eager":
        return "the network itself, the fastest"
    return f"{seconds.get('eager', seconds[name]) / seconds[name]:.1f} times as fast as eager"
