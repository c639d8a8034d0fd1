"""The report: everything a run found, measured and chose, as one HTML file without network or script.

In: ReportContents, plain values. Out: the file. Nothing is measured here, only shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from headstart.classifier.trust_evaluation import TrustEvaluation
from headstart.data.finding import SEVERITIES, Finding
from headstart.data.images import ImageRules
from headstart.errors import shown
from headstart.evaluation.evaluation import Evaluation, Mistake
from headstart.figures.confusion import MAX_CLASSES, confusion_figure
from headstart.figures.reliability import ReliabilityPoint, reliability_figure
from headstart.figures.svg import inline_svg
from headstart.heads.linear_probe import LayerScore
from headstart.reports.gallery import Gallery, GalleryImage, ImageGrid
from headstart.reports.interpretation import calibration_evidence, calibration_verdict, caveats
from headstart.reports.next_steps import NextStep
from headstart.reports.page import write_page

MAX_MISTAKES = 24  # images of mistakes, so that some are left for the audit
_GROUPS, _PER_GROUP, _PER_FINDING = 6, 4, 8  # duplicates side by side, and images of other findings
_REASONS = 40  # files listed with their reason
_CONFUSIONS = 20


@dataclass(frozen=True)
class ReportContents:
    """What a report shows.

    Args:
        source: where the images are. images: how many.
        protocol: how the test images were chosen, one sentence.
        counts: split → class → images.
        plan: label → text (backbone, licence, origin, frozen, stages …).
        choices: the first is the one used; held_out says how images were held out.
        recipe: option → value; defaults: the same with nothing chosen, to emphasise what was.
        timings: step → seconds.
        paths: image name → file, for thumbnails.
        improve: what to do next for a better classifier, by the numbers.
        made_by: the call that made the run, one line. command: what to type next.
        warnings: caveats besides those of the evaluation (backbone not pretrained …).
        basis: of the network, where the headline must say it: untrained backbone, embedded backbone.
        rules: how the images were read, so that thumbnails show what the network saw.
        inside: link into inside.html → its sentence; empty without that page.
        trust: how well unfamiliar images are noticed, and prediction sets hold.
    """

    title: str
    evaluation: Evaluation
    findings: tuple[Finding, ...]
    source: str
    images: int
    protocol: str
    counts: Mapping[str, Mapping[str, int]]
    plan: Mapping[str, str]
    choices: tuple[LayerScore, ...]
    held_out: str
    recipe: Mapping[str, object]
    versions: Mapping[str, str]
    timings: Mapping[str, float]
    paths: Mapping[str, Path]
    command: str
    made_by: str = ""
    improve: tuple[NextStep, ...] = ()
    defaults: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    basis: str = ""
    rules: ImageRules | None = None
    inside: Mapping[str, str] = field(default_factory=dict)
    trust: TrustEvaluation | None = None


@dataclass(frozen=True)
class ShownMistake:
    """A mistake with its image."""

    mistake: Mistake
    image: GalleryImage


@dataclass(frozen=True)
class ShownFinding:
    """A finding with the images it is about.

    Args:
        groups: for duplicates, one grid each; groups_left_out: further groups.
        grid: images that belong to no group.
        reasons: file and the reason for it; reasons_left_out: further files.
    """

    finding: Finding
    groups: tuple[ImageGrid, ...]
    groups_left_out: int
    grid: ImageGrid
    reasons: tuple[tuple[str, str], ...]
    reasons_left_out: int


def write_report(path: Path, contents: ReportContents) -> Path:
    """Write the report as one HTML file; it appears whole or not at all, and an image that is gone becomes its name.

    Raises:
        RunError: the file cannot be written there.
    """
    return write_page(path, "report.html", _view(contents))


def _view(contents: ReportContents) -> dict[str, object]:
    """Everything the template names."""
    e, gallery = contents.evaluation, Gallery(contents.paths, rules=contents.rules)
    mistakes = [ShownMistake(one, gallery.image(one.name)) for one in e.mistakes[:MAX_MISTAKES]]
    return {
        "contents": contents,
        "e": e,
        "wrong": e.accuracy.n - e.correct,
        "caveats": [*contents.warnings, *caveats(e)],
        "chance": None if any(one.name == "chance" for one in e.baselines) else 1 / len(e.classes),
        "calibration": (calibration_verdict(e.calibration), calibration_evidence(e.calibration)),
        "mistakes": mistakes,
        "confusion": _confusion_svg(e),
        "confusions": _top_confusions(e),
        "reliability": _reliability_svg(e),
        "findings": [shown_finding(finding, gallery) for finding in _sorted_findings(contents)],
        "by_severity": _by_severity(contents),
        "recipe": _recipe_rows(contents),
        "total_seconds": sum(contents.timings.values()),
        "longest": max(contents.timings.values(), default=0.0) or 1.0,
    }


def _confusion_svg(e: Evaluation) -> Markup | None:
    if len(e.classes) > MAX_CLASSES:
        return None
    wrong = e.accuracy.n - e.correct
    description = f"Confusion matrix of {len(e.classes)} classes: {wrong} of {e.accuracy.n} images off the diagonal. "
    most = [f"{true} predicted as {other} {count} times" for true, other, count, _ in _top_confusions(e)[:3]]
    return Markup(inline_svg(confusion_figure(e.confusion, e.classes), shown(description + "; ".join(most))))


def _top_confusions(e: Evaluation) -> list[tuple[str, str, int, float]]:
    """True class, predicted class, images, and their share of the true class; the most frequent first."""
    found = [
        (e.classes[row], e.classes[column], count, count / sum(counts))
        for row, counts in enumerate(e.confusion)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    return sorted(found, key=lambda one: (-one[2], -one[3], one[:2]))[:_CONFUSIONS]


def _reliability_svg(e: Evaluation) -> Markup:
    points = [
        ReliabilityPoint(
            low=one.low,
            high=one.high,
            count=one.count,
            confidence=one.confidence,
            accuracy=one.accuracy.value,
            accuracy_low=one.accuracy.low,
            accuracy_high=one.accuracy.high,
        )
        for one in e.calibration.bins
    ]
    description = (
        f"Reliability diagram of {e.accuracy.n} images in {len(points)} bins; the table below it has the numbers."
    )
    return Markup(inline_svg(reliability_figure(points), description))


def _sorted_findings(contents: ReportContents) -> list[Finding]:
    """The worst first; in one severity, in the order they were found."""
    return sorted(contents.findings, key=lambda finding: -SEVERITIES.index(finding.severity))


def _by_severity(contents: ReportContents) -> dict[str, int]:
    counts = dict.fromkeys(reversed(SEVERITIES), 0)
    for finding in contents.findings:
        counts[finding.severity] += 1
    return counts


def shown_finding(finding: Finding, gallery: Gallery) -> ShownFinding:
    """A finding with its images, as far as the gallery still opens any."""
    reasons = list(_reasons(finding))
    groups = tuple(gallery.grid(group, _PER_GROUP) for group in finding.groups[:_GROUPS])
    alone = () if groups or reasons else finding.names
    # what has no image is named once: the message has the first names already
    named = [name for name in alone if name in gallery or name not in finding.message]
    grid = gallery.grid(named, _PER_FINDING, _count(finding) - len(alone) + len(named) if alone else 0)
    return ShownFinding(
        finding=finding,
        groups=groups,
        groups_left_out=len(finding.groups) - len(groups),
        grid=grid,
        reasons=tuple(reasons[:_REASONS]),
        reasons_left_out=max(_count(finding) if reasons else 0, len(reasons)) - len(reasons[:_REASONS]),
    )


def _reasons(finding: Finding) -> Iterator[tuple[str, str]]:
    """Name and reason of each file, where the finding has reasons by name."""
    reasons = finding.detail.get("reasons")
    if isinstance(reasons, Mapping):
        yield from ((str(name), str(reason)) for name, reason in reasons.items())


def _count(finding: Finding) -> int:
    count = finding.detail.get("count", 0)
    return count if isinstance(count, int) else 0


def _recipe_rows(contents: ReportContents) -> Sequence[tuple[str, str, str | None]]:
    """Option, value, and the default it differs from (None where it does not)."""
    rows = []
    for name, value in contents.recipe.items():
        default = contents.defaults.get(name, value)
        rows.append((name.replace("_", "-"), _plain(value), None if default == value else _plain(default)))
    return rows


def _plain(value: object) -> str:
    if value is None:
        return "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
