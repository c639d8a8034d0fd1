"""forget: remove images from a finished run exactly, as if it had never been trained on them, with a certificate."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart import runtime
from headstart.curation.decisions import FILE, DecisionFile
from headstart.data.fact_store import FactStore
from headstart.data.finding import Finding
from headstart.errors import RecipeError
from headstart.evaluation.intervals import Interval
from headstart.features.cache import FeatureCache
from headstart.files import free_name, publish_folder, work_folder, write_text
from headstart.heads.ridge import indicators
from headstart.heads.sufficient_statistics import SufficientStatistics
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.untrusted import sha256_of, write_sealed
from headstart.wording import counted, percent
from headstart.workbench.events import FilesWritten
from headstart.workbench.run import CLASSIFIER, FEATURES, PREDICTIONS, RECORD, REPORT, Run, out_folder
from headstart.workbench.run_rows import RunRows
from headstart.workbench.session import Session
from headstart.workbench.solve_again import (
    FORGOTTEN,
    SolvedAgain,
    check_solvable,
    head_difference,
    solve_again,
    write_again,
)
from headstart.workbench.write_run import next_command

CERTIFICATE = "certificate.json"
EXACT = 1e-12
"""Relative difference up to which statistics made by removal equal those of the images that are left: rounding."""


@dataclass(frozen=True)
class Certificate(Plain):
    """What was removed, and how it was checked.

    Args:
        removed: SHA-256 of the bytes of each removed image file. splits: split → how many.
        classifier_before, classifier_after: SHA-256 of the two files.
        statistics_before, statistics_after: SHA-256 of the sufficient statistics of the training images.
        statistics_difference: between those made by removing the images from the old ones, and those of the images
            that are left; relative.
        head_reproduced: difference between the old head and one solved again on all images: how far rounding goes.
        cache_rows: rows of features that were struck from the cache.
        remains: where the images may still be, sentences.
    """

    removed: tuple[str, ...]
    splits: dict[str, int]
    classifier_before: str
    classifier_after: str
    statistics_before: str
    statistics_after: str
    statistics_difference: float
    head_reproduced: float
    cache_rows: int
    remains: tuple[str, ...]
    versions: dict[str, str]
    created: str

    @property
    def is_exact(self) -> bool:
        """Whether removal and a new computation agree to rounding."""
        return self.statistics_difference <= EXACT


@dataclass(frozen=True)
class Forgotten(Plain):
    """A run without some images.

    Args:
        folder: of the new run. images: how many were removed, copies of those named included.
        before, after: test accuracy of the two classifiers, each on its own test images.
    """

    folder: Path
    images: int
    before: Interval
    after: Interval
    certificate: Certificate

    def __str__(self) -> str:
        shown = [
            f"{percent(one.value)} [{one.low * 100:.1f}, {one.high * 100:.1f}]" for one in (self.before, self.after)
        ]
        proof = self.certificate
        checked = "equal" if proof.is_exact else "NOT equal"
        return "\n".join(
            [
                f"{counted(self.images, 'image')} removed. Test accuracy {shown[0]} → {shown[1]}.",
                f"The head is solved on the other images alone; statistics by removal are {checked} to theirs "
                f"(relative difference {proof.statistics_difference:.1e}).",
                f"{counted(proof.cache_rows, 'row')} of features struck from the cache.",
                *proof.remains,
            ]
        )


@public_api
def forget(
    run: str | Path | Run,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    on_event: OnEvent | None = print_event,
) -> Forgotten:
    """Remove images from a run exactly: head, calibration, statistics, tables and cache; writes a new run.

    The head, its regularization strength and its temperature are solved again from the stored features of the other
    images, so that they are those of a training that never saw the removed ones. Copies with the same bytes or pixels
    go too. The old run stays, for you to delete.

    Args:
        images: names in the data set or paths; one or several.
        out: folder of the new run; default: the old one's name with a number behind it.

    Raises:
        RunError: there is no run, an image is not in it, or its network itself was trained on its images.
        DataError: a class would lose its last training image, or the test its last one.
    """
    chosen = None if out is None else out_folder(out)
    named = [images] if isinstance(images, (str, Path)) else list(images)
    if not named:
        raise RecipeError(
            expected="at least one image", found="none", where="images", hint="Name images of the run by their paths."
        )
    session = Session(on_event=on_event)
    old = run if isinstance(run, Run) else Run.load(run)
    check_solvable(old, verb="forget")
    rows = RunRows.of(old)
    doomed = _with_copies(rows, named, root=Path(str(old.record["source"])))
    with session.step("head"):
        again = solve_again(old, rows)
        solved = solve_again(old, rows.keep(~doomed), progress=session.progress("solve head", unit="%"))
    target = free_name(chosen or out_folder(old.folder))  # what is written says where it lies
    with session.step("write"), work_folder(target) as work:
        done = _finding(rows, doomed, before=old.evaluation.accuracy)
        write_again(work, old, solved, target=target, done=done, more={"forgotten": int(doomed.sum())})
        _keep_decisions(old.folder, work, solved.rows)
        gone = [rows.contents[i] for i in np.flatnonzero(doomed)]
        struck = _strike(session.cache, gone)
        certificate = _certificate(old, rows, doomed, solved=solved, work=work, again=again, struck=struck)
        write_sealed(work / CERTIFICATE, certificate.to_dict())
        folder = publish_folder(work, target)
    files = (REPORT, CLASSIFIER, RECORD, PREDICTIONS, FEATURES, CERTIFICATE)
    session.on_event(FilesWritten(folder, files, next_command(folder)))
    return Forgotten(
        folder=folder,
        images=int(doomed.sum()),
        before=old.evaluation.accuracy,
        after=solved.evaluation.accuracy,
        certificate=certificate,
    )


def _finding(rows: RunRows, doomed: np.typing.NDArray[np.bool_], *, before: Interval) -> Finding:
    """What report and model card say of the removal; no name of a removed image."""
    splits = [rows.splits[i] for i in np.flatnonzero(doomed)]
    parts = [f"{splits.count(split)} of the {split} images" for split in sorted(set(splits))]
    message = (
        f"{counted(len(splits), 'image')} removed by headstart forget ({', '.join(parts)}). Head, calibration and all "
        f"figures here are computed again from the other images; the test accuracy before was {before}. Hashes "
        f"before and after are in {CERTIFICATE}."
    )
    return Finding(FORGOTTEN, "note", message)


def _with_copies(rows: RunRows, named: Sequence[str | Path], *, root: Path) -> np.typing.NDArray[np.bool_]:
    """N, the named images and those with the same bytes or the same pixels."""
    found = [rows.find(image, root=root) for image in named]
    contents = {rows.contents[i] for i in found}
    pixels = {rows.pixels[i] for i in found} - {""}
    same = [content in contents or pixel in pixels for content, pixel in zip(rows.contents, rows.pixels, strict=True)]
    return np.array(same, dtype=np.bool_)


def _keep_decisions(old: Path, new: Path, rows: RunRows) -> None:
    """The decisions of a review, without those about images that are gone."""
    stays = [one for one in DecisionFile(old / FILE).read().standing if one.sha256 in set(rows.contents)]
    if stays:
        write_text(new / FILE, "".join(json.dumps(one.to_dict()) + "\n" for one in stays))


def _strike(cache: FeatureCache, contents: Sequence[str]) -> int:
    """Remove features and facts of images from the cache; how many rows of features there were."""
    facts = FactStore(runtime.cache_folder())
    try:
        facts.discard(contents)
    finally:
        facts.close()
    return cache.discard(contents)


def _certificate(
    old: Run,
    rows: RunRows,
    doomed: np.typing.NDArray[np.bool_],
    *,
    solved: SolvedAgain,
    work: Path,
    again: SolvedAgain,
    struck: int,
) -> Certificate:  # seven: both runs, and what was done
    train, stages = rows.indices("train"), solved.probe.head.stages
    gone, left = train[doomed[train]], train[~doomed[train]]
    before, part, after = (_statistics(rows, some, stages) for some in (train, gone, left))
    splits = [rows.splits[i] for i in np.flatnonzero(doomed)]
    source = str(old.record["source"])
    return Certificate(
        removed=tuple(sorted({rows.contents[i] for i in np.flatnonzero(doomed)})),
        splits={split: splits.count(split) for split in sorted(set(splits))},
        classifier_before=sha256_of(old.folder / CLASSIFIER),
        classifier_after=sha256_of(work / CLASSIFIER),
        statistics_before=_hash(before),
        statistics_after=_hash(after),
        statistics_difference=_difference(before.remove(part), after),
        head_reproduced=head_difference(old.classifier, again.classifier),
        cache_rows=struck,
        remains=(
            f"The old run {old.folder} still holds them: delete it.",
            f"{_files_of(source)}, and so are copies in {runtime.cache_folder()} of archives or of images given in "
            "memory.",
            "Near duplicates of them, if there are any, stay: headstart audit lists them.",
        ),
        versions=dict(runtime.versions()),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _files_of(source: str) -> str:
    """What became of the image files: nothing, but they may be where this run does not know."""
    if Path(source).exists():
        return f"The image files in {source} are untouched"
    return f"{source} is not there: its image files, wherever they are now, are untouched"


def _statistics(rows: RunRows, some: Any, stages: tuple[str, ...]) -> SufficientStatistics:
    x = rows.features.view(rows.at[some], stages).array()
    return SufficientStatistics.of(x, indicators(rows.labels[some], len(rows.classes)))


def _hash(statistics: SufficientStatistics) -> str:
    digest = hashlib.sha256(str(statistics.count).encode())
    for part in (statistics.mean, statistics.target_mean, statistics.gram, statistics.cross):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _difference(first: SufficientStatistics, second: SufficientStatistics) -> float:
    pairs = ((first.gram, second.gram), (first.cross, second.cross), (first.mean, second.mean))
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300)) for a, b in pairs)
