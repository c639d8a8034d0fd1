"""Words: the numbers of an Evaluation as sentences that a person understands."""

from __future__ import annotations

import math

from headstart.evaluation.calibration import Calibration
from headstart.evaluation.evaluation import Evaluation
from headstart.evaluation.intervals import Interval

NBSP = "\u00a0"  # keeps a number and its sign on one line


def percent(share: float | None) -> str:
    """`95.4 %`, with a no-break space; a dash for what is not defined."""
    return "–" if share is None or math.isnan(share) else f"{share * 100:.1f}{NBSP}%"


def span(interval: Interval) -> str:
    """`90.9 – 97.8`: the ends of an interval, in percent."""
    return f"{interval.low * 100:.1f}{NBSP}–{NBSP}{interval.high * 100:.1f}"


def between(interval: Interval) -> str:
    """`90.9 to 97.8`: the same inside a sentence, where a dash may be torn from its numbers at a line's end."""
    return f"{interval.low * 100:.1f}{NBSP}to{NBSP}{interval.high * 100:.1f}"


def duration(seconds: float) -> str:
    """`0.42 s`, `12.3 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 image`, `1,200 images`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def right_answers(evaluation: Evaluation) -> int:
    """How many test images were answered rightly: the diagonal of the confusion matrix."""
    return sum(row[place] for place, row in enumerate(evaluation.confusion))


def caveats(evaluation: Evaluation) -> list[str]:
    """What a reader must know before believing the headline; empty when there is nothing."""
    e, said = evaluation, []
    if e.accuracy_over_groups is not None:
        over = e.accuracy_over_groups
        said.append(
            "Images of one burst or copy are not independent. With each group as one draw, the "
            f"95{NBSP}% interval is {between(over)} ({over.method})."
        )
    if e.without_leaks is None:
        said.append("Nobody looked for test images that are in training too.")
    elif e.leaked:
        are = "test image is" if e.leaked == 1 else "test images are"
        clean = e.without_leaks
        said.append(
            f"{e.leaked:,} {are} in training too. Without, on {counted(clean.n, 'image')}: {percent(clean.value)} "
            f"(95{NBSP}% interval {between(clean)})."
        )
    said += _rivalry(e)
    if e.unknown:
        kinds = ", ".join(f"{name} ({counted(count, 'image')})" for name, count in e.unknown.items())
        said.append(f"Not scored, since training knows no such class: {kinds}.")
    return said


def _rivalry(e: Evaluation) -> list[str]:
    rival = max(e.baselines, key=lambda one: one.accuracy.value, default=None)
    if rival is None or rival.accuracy.value < e.accuracy.low:
        return []
    reads = f"The simple rival {rival.name} reads {percent(rival.accuracy.value)}, "
    if rival.accuracy.value > e.accuracy.high:
        return [reads + "above the whole interval of this classifier: something went wrong, or the rival is enough."]
    return [reads + "inside the interval of this classifier: this alone does not show that it is better."]


def calibration_verdict(calibration: Calibration) -> str:
    """Whether the probabilities may be taken at their word, in one sentence."""
    if not calibration.is_miscalibrated:
        return "Its probabilities may be taken at their word: nothing here speaks against them."
    gap = sum(one.count * (one.confidence - one.accuracy.value) for one in calibration.bins)
    share = gap / sum(one.count for one in calibration.bins)
    if abs(share) < calibration.ece.value / 2:
        how = "here too sure, there too modest"
    else:
        how = f"{abs(share) * 100:.1f} points too {'sure' if share > 0 else 'modest'} on average"
    return f"Take its probabilities with caution: they are off by more than chance explains, {how}."


def calibration_evidence(calibration: Calibration) -> str:
    """The numbers behind the verdict, with what a perfect model would read."""
    floor = calibration.noise_floor
    return (
        f"Stated confidence and observed accuracy are {percent(calibration.ece.value)} apart on average (expected "
        f"calibration error, 95{NBSP}% interval {between(calibration.ece)}). On as many images a perfectly "
        f"calibrated model would read {percent(floor.mean)} by chance, and less than {percent(floor.high)} in 95 of "
        "100 cases."
    )
