"""Interpretation: the numbers of an Evaluation as sentences."""

from __future__ import annotations

from headstart.evaluation.calibration import Calibration
from headstart.evaluation.evaluation import Evaluation
from headstart.evaluation.intervals import Interval
from headstart.wording import NBSP, counted, percent


def ends(interval: Interval, dash: str = "–") -> str:
    """`90.9 – 97.8`: the ends of an interval, in percent; `to` in a sentence, where a dash might begin a line."""
    return f"{interval.low * 100:.1f}{NBSP}{dash}{NBSP}{interval.high * 100:.1f}"


def caveats(evaluation: Evaluation) -> list[str]:
    """What a reader must know before trusting the headline; empty when there is nothing."""
    e, sentences = evaluation, []
    if e.accuracy_over_groups is not None:
        over = e.accuracy_over_groups
        sentences.append(
            "Images of one burst, or duplicates, are not independent. With each group as one draw, the "
            f"95{NBSP}% interval is {ends(over, 'to')} ({over.method})."
        )
    if e.without_leaks is None:
        sentences.append("Not checked: whether test images are also in the training set.")
    elif e.leaked:
        also = "test image is also" if e.leaked == 1 else "test images are also"
        clean = e.without_leaks
        sentences.append(
            f"{e.leaked:,} {also} in the training set. Accuracy without {'it' if e.leaked == 1 else 'them'}: "
            f"{percent(clean.value)} (95{NBSP}% interval {ends(clean, 'to')}, {counted(clean.n, 'image')})."
        )
    sentences += _baseline_caveat(e)
    if e.unknown:
        kinds = ", ".join(f"{name} ({counted(count, 'image')})" for name, count in e.unknown.items())
        sentences.append(f"Not scored, since the training set has no such class: {kinds}.")
    return sentences


def _baseline_caveat(e: Evaluation) -> list[str]:
    best = max(e.baselines, key=lambda one: one.accuracy.value, default=None)
    if best is None or best.accuracy.value < e.accuracy.low:
        return []
    found = f"The baseline {best.name} reaches {percent(best.accuracy.value)}, "
    if best.accuracy.value > e.accuracy.high:
        advice = "Check the training, or use the baseline."
        return [f"{found}above the whole interval of this classifier. {advice}"]
    return [
        f"{found}inside the interval of this classifier. This test set does not show that the classifier is better."
    ]


def calibration_verdict(calibration: Calibration) -> str:
    """Whether there is evidence of miscalibration, and in which direction."""
    if not calibration.is_miscalibrated:
        return "No evidence of miscalibration."
    gap = sum(one.count * (one.confidence - one.accuracy.value) for one in calibration.bins)
    share = gap / sum(one.count for one in calibration.bins)
    if abs(share) < calibration.ece.value / 2:
        how = "too high for some images and too low for others"
    else:
        how = f"{abs(share) * 100:.1f} points too {'high' if share > 0 else 'low'} on average"
    return f"Miscalibrated: the confidence is {how}, by more than noise explains."


def calibration_evidence(calibration: Calibration) -> str:
    """The numbers behind the verdict, with those of a perfectly calibrated model."""
    floor = calibration.noise_floor
    return (
        f"Confidence and accuracy differ by {percent(calibration.ece.value)} on average (expected calibration error, "
        f"95{NBSP}% interval {ends(calibration.ece, 'to')}). By chance, a perfectly calibrated model would show "
        f"{percent(floor.mean)} on a test set of this size, and less than {percent(floor.high)} in 95 of 100 cases."
    )
