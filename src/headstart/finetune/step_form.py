"""The form of a training step: number format and memory layout, the fastest that this machine measured for the network.

Weights, gradients, optimiser and everything that is measured stay float32; bfloat16 is the forward and backward pass of
the network under autocast.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headstart import runtime
from headstart.engines.bfloat16 import has_bfloat16
from headstart.engines.measured import keep_measurement, read_measurement
from headstart.finetune.cost import Cost, predict_cost
from headstart.finetune.settings import BFLOAT16, CHANNELS_LAST, PLAIN, FineTuneTask

_LEAST_SECONDS = 30.0  # of a training: a shorter one saves less than the measurement costs
_LEAST_GAIN = {CHANNELS_LAST: 1.1, BFLOAT16: 1.25}  # times faster than float32: beyond what a busy machine feigns
_TRIED = "fine-tuning"


def choose_form(strategy: str, task: FineTuneTask, *, cost: Cost) -> str:
    """The fastest form of a step of this strategy here; timed once for a network and machine, and kept in the cache.

    ResNet-18 at 224, 32 images, a core with AMX: float32 3.6 s of processor time, channels last 3.1, bfloat16 1.4;
    EfficientNet-Lite0 5.7, 4.2, 4.8: neither is best for all.

    Args:
        cost: predicted for a plain step. A training under 30 s stays plain: its weights are then the same everywhere.
    """
    if cost.seconds < _LEAST_SECONDS:
        return PLAIN
    folder = None if task.cache is None else runtime.cache_folder()
    what = f"{_TRIED} {strategy} {task.until if strategy == 'last-stage' else ''}".strip()
    seconds = _kept(task, folder, what=what)
    if not seconds:
        seconds = {PLAIN: cost.epoch}
        for form in forms_of(task.settings.device):
            if form not in seconds:
                tried = replace(task, settings=replace(task.settings, form=form))
                seconds[form] = predict_cost(strategy, tried).epoch
        if folder is not None:
            keep_measurement(task.backbone, seconds, folder, what=what)
    worth = [form for form, gain in _LEAST_GAIN.items() if form in seconds and seconds[form] * gain < seconds[PLAIN]]
    chosen = min(worth, key=lambda form: seconds[form], default=PLAIN)
    times = ", ".join(f"{form} {seconds[PLAIN] / value:.2f}" for form, value in seconds.items() if form != PLAIN)
    task.report(f"Steps in {chosen}: measured here, times as fast as plain float32: {times}")
    return chosen


def forms_of(device: str) -> tuple[str, ...]:
    """The forms that a device can run, plain float32 first."""
    can = has_bfloat16(runtime.choose_device(device))
    return (PLAIN, CHANNELS_LAST, BFLOAT16) if can else (PLAIN, CHANNELS_LAST)


def _kept(task: FineTuneTask, folder: Path | None, *, what: str) -> dict[str, float]:
    found = None if folder is None else read_measurement(task.backbone, folder, what=what)
    if found is None or set(found.seconds) != set(forms_of(task.settings.device)):
        return {}
    return dict(found.seconds)
