"""Engines: ways to run one backbone's forward pass that give equal outputs at different speed, and the choice of one.

eager        the network as it is
folded       batch norm folded into the convolutions, channels last in memory; costs a moment, needs nothing
compiled     torch.compile with its weights frozen; costs half a minute and needs a C++ compiler
onnxruntime  an export kept on disk; costs ten seconds once, needs `headstart[onnx]`
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from headstart.backbones.backbone import Backbone
from headstart.backbones.forward import Forward, compiled_forward, device_forward, eager_forward, folded_forward
from headstart.backbones.onnx_engine import is_exported, missing_packages, onnx_forward
from headstart.errors import BackboneError, near

NAMES = ("auto", "eager", "folded", "compiled", "onnxruntime")
TOLERANCE = 2e-5  # of a stage's largest feature: what another order of the same float32 sums gives

_FEW = 16  # images; below, building and checking another engine costs more than it saves
_SHARE = 0.05  # of the waiting time that choosing may cost
_PROBE = 2  # images of the check: one would hide a batch treated as a constant
_ROUNDS = 3  # times each candidate runs in a measurement, one after the other
# seconds it takes to have the engine, beside its runs; measured on two cores
_COST = {"eager": 0.0, "folded": 0.3, "onnxruntime": 0.5, "export": 15.0}


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

    An engine whose features differ from eager's by more than TOLERANCE, stage by stage, is refused: eager is taken and
    the reason says so. The engine holds a copy of the weights as they are now.

    Args:
        waiting: images whose features are still to be computed.
        batch_size: images a forward pass will take at once.
        cache_folder: where the export for onnxruntime is kept.

    Raises:
        BackboneError: the name is unknown, or the engine that was asked for is not to be had here.
    """
    if name not in NAMES:
        raise BackboneError(
            expected=f"an engine: {', '.join(NAMES)}", found=repr(name), where="--engine", hint=near(name, NAMES)
        )
    if device != "cpu":
        return _on_device(backbone, name, device)
    eager = eager_forward(backbone)
    if name == "eager":
        return Engine("eager", "asked for", eager, None)
    if name != "auto":
        return _asked(backbone, name, eager, cache_folder)
    if waiting < _FEW:
        few = "no image waits" if waiting == 0 else f"only {waiting} wait"
        return Engine("eager", f"the network as it is: {few}", eager, None)
    return _fastest(backbone, eager, waiting, batch_size, cache_folder)


def _on_device(backbone: Backbone, name: str, device: str) -> Engine:
    if name not in ("auto", "eager"):
        raise BackboneError(
            expected="an engine for this device: auto or eager",
            found=name,
            where=f"--engine with --device {device}",
            hint="The others run on the CPU.",
        )
    return Engine("eager", f"float32 on {device}, without TF32", device_forward(backbone, device), None)


def _asked(backbone: Backbone, name: str, eager: Forward, cache_folder: Path) -> Engine:
    forward = _build(backbone, name, cache_folder)
    probe = _Probe(backbone, eager)
    difference, seconds = probe.difference(forward), probe.seconds(forward)
    if difference > TOLERANCE:
        return Engine(
            "eager", f"{_refusal(name, difference)}, so the network runs as it is", eager, probe.eager_seconds
        )
    return Engine(name, f"asked for; within {difference:.0e} of eager", forward, seconds)


def _fastest(backbone: Backbone, eager: Forward, waiting: int, batch_size: int, cache_folder: Path) -> Engine:
    """Fold, which is cheap; measure against onnxruntime only when enough images wait to pay for it."""
    probe = _Probe(backbone, eager)
    candidates, remarks = {"eager": eager}, []
    for name in _worth(backbone, waiting * probe.eager_seconds, cache_folder):
        try:
            forward = _build(backbone, name, cache_folder)
        except BackboneError as error:  # not asked for by name, so not the user's mistake
            remarks.append(f"no {name}: {error.found}")
            continue
        difference = probe.difference(forward)
        if difference <= TOLERANCE:
            candidates[name] = forward
        else:
            remarks.append(_refusal(name, difference))
    return _measured(candidates, probe, min(batch_size, waiting), waiting, remarks)


def _worth(backbone: Backbone, seconds: float, cache_folder: Path) -> list[str]:
    """The engines whose cost is a small share of the seconds that all waiting images would take."""
    names = ["folded"]
    if not missing_packages():
        cost = _COST["onnxruntime"] if is_exported(backbone, cache_folder) else _COST["export"]
        if cost <= _SHARE * seconds:
            names.append("onnxruntime")
    return names


def _measured(
    candidates: dict[str, Forward], probe: _Probe, batch: int, waiting: int, remarks: Sequence[str]
) -> Engine:
    times = probe.compare(candidates)
    best = min(times, key=lambda name: times[name])
    ratio = times["eager"] / times[best]
    said = [f"{ratio:.1f} times eager, measured on {probe.images} images", *remarks]
    if best == "eager":
        said = ["the network as it is was the fastest measured", *remarks]
    return Engine(best, "; ".join(said), candidates[best], times[best])


def _build(backbone: Backbone, name: str, cache_folder: Path) -> Forward:
    if name == "folded":
        return folded_forward(backbone)
    if name == "compiled":
        return compiled_forward(backbone)
    return onnx_forward(backbone, cache_folder)


def _refusal(name: str, difference: float) -> str:
    return f"{name} was refused: its features differ by {difference:.0e} from eager's, above {TOLERANCE:.0e}"


class _Probe:
    """A few made-up images and eager's features of them: what every other engine is held against."""

    def __init__(self, backbone: Backbone, eager: Forward, images: int = _PROBE) -> None:
        side, generator = backbone.preprocess.crop, torch.Generator().manual_seed(0)
        self.images = images
        self.pixels = torch.randn(images, 3, side, side, generator=generator)
        self.slices = list(backbone.slices.values())
        began = time.perf_counter()
        self.expected = eager(self.pixels)
        self.eager_seconds = (time.perf_counter() - began) / images

    def difference(self, forward: Forward) -> float:
        """Largest difference of any feature, as a share of its stage's largest; infinite for what is no number."""
        found = forward(self.pixels)
        if found.shape != self.expected.shape or not bool(torch.isfinite(found).all()):
            return float("inf")
        parts = [(self.expected[:, part], found[:, part]) for part in self.slices]
        return max(float((e - f).abs().max() / e.abs().max().clamp_min(1e-30)) for e, f in parts)

    def seconds(self, forward: Forward) -> float:
        """Seconds for one image: the median of a few runs."""
        return self.compare({"": forward})[""]

    def compare(self, candidates: dict[str, Forward]) -> dict[str, float]:
        """Seconds for one image with each; they take turns, so that a busy moment hits all alike."""
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(_ROUNDS):
            for name, forward in candidates.items():
                began = time.perf_counter()
                forward(self.pixels)
                times[name].append((time.perf_counter() - began) / self.images)
        return {name: median(seconds) for name, seconds in times.items()}
