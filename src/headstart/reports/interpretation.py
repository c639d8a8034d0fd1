"""Interpretation: the numbers of an Evaluation as sentences."""

from __future__ import annotations

from headstart.evaluation.calibration import Calibration
from headstart.evaluation.design_effect import FEW_GROUPS
from headstart.evaluation.evaluation import Evaluation
from headstart.evaluation.intervals import Interval, points
from headstart.evaluation.paired import is_significant
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
            "Images of one burst, or duplicates, are not independent. With that allowed for, the "
            f"95{NBSP}% interval is {ends(over, 'to')} ({over.method})."
        )
        if 0 < e.groups < FEW_GROUPS:
            sentences.append(
                f"The test images form only {counted(e.groups, 'group')}: all intervals are a rough guide. "
                "Test on more independent images."
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
    """The best baseline that the classifier is not shown to beat, by the paired test on the same images."""
    unbeaten = [one for one in e.baselines if one.is_beaten is False]
    best = max(unbeaten, key=lambda one: one.accuracy.value, default=None)
    if best is None or best.difference is None or best.p_value is None:
        return []
    found = f"The baseline {best.name} reaches {percent(best.accuracy.value)}. "
    lead = f"{best.comparison}, paired test"
    if is_significant(best.difference, best.p_value):
        advice = "Check the training, or use the baseline."
        return [f"{found}It is better than this classifier (classifier minus baseline {lead}). {advice}"]
    return [f"{found}This test set does not show that the classifier is better (classifier minus baseline {lead})."]


def calibration_verdict(calibration: Calibration) -> str:
    """Whether there is evidence of miscalibration, and in which direction; or that there are too few images to say."""
    gap = calibration.overconfidence
    if not calibration.is_miscalibrated:
        if gap is None or calibration.is_precise:
            return "No evidence of miscalibration."
        high, low = (f"{max(0.0, end) * 100:.1f} points" for end in (gap.high, -gap.low))
        return (
            f"Too few images to judge calibration: on average the confidence may be up to {high} too high "
            f"or up to {low} too low."
        )
    if gap is None or gap.low <= 0 <= gap.high:
        how = "too high for some images and too low for others"
    else:
        how = f"{abs(gap.value) * 100:.1f} points too {'high' if gap.value > 0 else 'low'} on average"
    return f"Miscalibrated: the confidence is {how}, by more than noise explains."


def calibration_evidence(calibration: Calibration) -> str:
    """The numbers behind the verdict, with those of a perfectly calibrated model."""
    floor, gap = calibration.noise_floor, calibration.overconfidence
    plain = calibration.ece.value if calibration.plain_ece is None else calibration.plain_ece
    sentences = [
        f"Confidence and accuracy differ by {percent(plain)} on average over 15 bins (expected calibration error). By "
        f"chance, a perfectly calibrated model would show {percent(floor.mean)} on a test set of this size, and less "
        f"than {percent(floor.high)} in 95 of 100 cases."
    ]
    if gap is not None:
        sentences.append(
            f"Without that noise the error is {percent(calibration.ece.value)} (95{NBSP}% interval "
            f"{ends(calibration.ece, 'to')}). Mean confidence minus accuracy: {points(gap)}."
        )
    return " ".join(sentences)
