"""What to improve next: sentences and commands that follow from measured numbers alone; without such, none."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headstart.backbones.spec import BackboneSpec
from headstart.data.finding import Finding
from headstart.data.worker_sources import needs_workers, training_words
from headstart.evaluation.evaluation import Evaluation
from headstart.evaluation.intervals import Interval, points
from headstart.reports.interpretation import ends
from headstart.wording import NBSP, counted, percent

_SURE = 0.9  # confidence from which a mistake is rather one of the label, or of an image unlike the others
_WIDE = 0.1  # width of the accuracy's interval from which two classifiers are hard to tell apart


@dataclass(frozen=True)
class NextStep:
    """One thing to do, why by numbers, and its command; empty where there is none."""

    text: str
    command: str = ""


def next_steps(
    evaluation: Evaluation,
    findings: Sequence[Finding],
    *,
    source: str,
    train_counts: Mapping[str, int],
    backbone: BackboneSpec,
    others: Sequence[BackboneSpec] = (),
    second_half: Interval | None = None,
    run: str = "",
) -> list[NextStep]:  # eight: what was measured, and the names for the commands
    """The steps, most certain first.

    Args:
        source: of the images, for the commands. train_counts: class → training images.
        backbone: that was used. others: that could be.
        second_half: what the second half of the training images gained in held-out accuracy; None: not measured.
        run: its folder, for the commands.
    """
    steps = [
        _other_images(evaluation),
        _labels(evaluation, findings, source=source, run=run),
        _class(evaluation, train_counts),
        _images(second_half, source, run),
        _backbone(source, backbone, others),
    ]
    found = [step for step in steps if step is not None]
    accuracy = evaluation.accuracy
    if accuracy.high - accuracy.low > _WIDE:
        width = f"{(accuracy.high - accuracy.low) * 100:.0f} points"
        found.append(
            NextStep(
                f"Test on more images: with {counted(accuracy.n, 'test image')} the 95{NBSP}% interval is {width} "
                "wide, so smaller improvements do not show."
            )
        )
    return found


def _other_images(e: Evaluation) -> NextStep | None:
    """Where the test went worse than left-out training images: more of the same images would not help."""
    gap = e.minus_held_out
    if gap is None or not e.is_below_held_out:
        return None
    return NextStep(
        f"Look at how the test images differ from the training images: their accuracy is {-gap.value * 100:.1f} points "
        f"(95{NBSP}% interval {-gap.high * 100:.1f} to {-gap.low * 100:.1f}) below that of training images left out; "
        "chance does that in one of 40 splits. Train on images like them."
    )


def _labels(e: Evaluation, findings: Sequence[Finding], *, source: str, run: str) -> NextStep | None:
    twice = sum(len(one.groups) for one in findings if one.kind == "two-labels")
    sure = [one for one in e.mistakes if one.probability >= _SURE]
    parts = [f"{counted(twice, 'picture')} {'has' if twice == 1 else 'have'} two labels"] if twice else []
    parts += [f"{counted(len(sure), 'mistake')} at a confidence of {percent(_SURE)} or more"] if sure else []
    if not parts:
        return None
    first = f", {sure[0].name} first" if sure else ""
    command = ["headstart", "review", run] if run else ["headstart", "show", source]
    return NextStep(f"Check labels{first}: {' and '.join(parts)}.", shlex.join(command))


def _class(e: Evaluation, train_counts: Mapping[str, int]) -> NextStep | None:
    """The worst class, where its interval, which allows for picking the lowest, lies below the accuracy of all."""
    worst = e.worst_class
    if len(e.classes) < 2 or not worst.recall.high < e.accuracy.value:
        return None
    have = f"{counted(train_counts.get(worst.name, 0), 'training image')}"
    return NextStep(
        f"Add images of {worst.name}: its recall is {percent(worst.recall.value)} (95{NBSP}% interval "
        f"{ends(worst.recall, 'to')}), below the accuracy of all classes, with {have}."
    )


def _images(second_half: Interval | None, source: str, run: str) -> NextStep | None:
    """More images, where half of them did worse beyond doubt; else rather another backbone."""
    if second_half is None:
        return None
    gained = f"the second half of the training images gained {points(second_half)} of held-out accuracy"
    if second_half.low > 0:
        return NextStep(f"Add images: {gained}.", shlex.join(["headstart", "advise", "more", run]))
    return NextStep(
        f"Compare backbones on your images rather than add more: {gained}.",
        "" if needs_workers(source) else shlex.join(["headstart", "advise", source]),
    )


def _backbone(source: str, backbone: BackboneSpec, others: Sequence[BackboneSpec]) -> NextStep | None:
    """The one with the highest measured accuracy, if it is above that of the one used."""
    best = max(others, key=lambda spec: spec.accuracy, default=backbone)
    if not backbone.accuracy or best.accuracy <= backbone.accuracy:
        return None
    return NextStep(
        f"Try the backbone {best.name}: on headstart's development sets its mean accuracy is "
        f"{percent(best.accuracy)}, that of {backbone.name} {percent(backbone.accuracy)}.",
        shlex.join([*training_words(source), "--backbone", best.name]),
    )
