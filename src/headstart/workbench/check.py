"""check: an ONNX file that headstart wrote: whether it is whole, and whether it gives a classifier's answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.data.image_set import scan_unlabelled
from headstart.errors import ClassifierError
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.workbench.export import check_packages, compare_answers
from headstart.workbench.predict_onnx import open_onnx, stream_onnx
from headstart.workbench.run import CLASSIFIER, Trained, classifier_of
from headstart.workbench.session import Session


@dataclass(frozen=True)
class CheckResult(Plain):
    """What was found in an ONNX file.

    Args:
        file: its path. counts: class → images that it was predicted for. left_out: image → why it has no answer.
        same_classifier: whether the file was made from the very classifier it is compared with; None: not compared.
        parity: a ParityReport; None: there is no classifier to compare with.
    """

    file: Path
    counts: Mapping[str, int]
    left_out: Mapping[str, str]
    same_classifier: bool | None
    parity: Any  # a ParityReport, whose module needs onnx

    @property
    def passed(self) -> bool:
        """Whether every answer is one, and equals the classifier's where there is one."""
        return not self.left_out and (self.parity is None or not self.parity.problems)

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        lines = [f"{self.file} is whole: {counts}."]
        lines += [f"{name} has no answer: {reason}" for name, reason in self.left_out.items()]
        if self.parity is None:
            return "\n".join([*lines, "No classifier lies beside it to compare with: name one with --against."])
        if not self.same_classifier:
            lines.append("It was made from another classifier than the one it is compared with.")
        return "\n".join([*lines, str(self.parity)])


@public_api
def check(
    file: str | Path,
    images: str | Path,
    *,
    against: Trained | None = None,
    on_event: OnEvent | None = print_event,
) -> CheckResult:
    """Run an exported ONNX file on images, and compare its answers with those of its classifier.

    Args:
        images: a folder of images, or one image.
        against: a classifier file, the folder of a run, a Run or a Classifier; None: the classifier beside the file, or
            in the folder above, where there is one.

    Raises:
        ClassifierError: the file is none of headstart, or damaged.
        DataError: there are no images.
    """
    session, file = Session(on_event=on_event), Path(file)
    check_packages()
    from headstart.onnx_export.classifier_onnx import fingerprint_of  # here: they need onnx
    from headstart.onnx_export.onnx_file import read_onnx

    model = read_onnx(file)
    paths = scan_unlabelled([Path(images)])
    against = _beside(file) if against is None else against
    if against is None:
        return CheckResult(file, *_answers(session, file, paths), same_classifier=None, parity=None)
    classifier = classifier_of(against)
    if model.card.classes != classifier.classes:
        raise ClassifierError(
            expected=f"the classes of {file}: {', '.join(model.card.classes[:6])}",
            found=", ".join(classifier.classes[:6]),
            where="--against",
            hint="Name the classifier that the file was made from.",
        )
    parity = compare_answers(session, paths, built=model.proto, model=classifier)
    names = {str(path) for path in paths}
    counts = Counter(row.found for row in parity.rows if row.name in names)
    same = model.fingerprint == fingerprint_of(classifier)
    return CheckResult(file, counts, parity.left_out, same_classifier=same, parity=parity)


def _answers(session: Session, file: Path, paths: Sequence[Path]) -> tuple[dict[str, int], dict[str, str]]:
    """Class → number of images, and the images that have no answer with the reason."""
    counts, left_out, progress = Counter[str](), dict[str, str](), session.progress("check")
    for done, prediction in enumerate(stream_onnx(open_onnx(file), paths), 1):
        if prediction.label is None:
            left_out[prediction.name] = str(prediction.error)
        else:
            counts[prediction.label] += 1
        progress(done, len(paths))
    return dict(counts), left_out


def _beside(file: Path) -> Path | None:
    folders = (file.absolute().parent, file.absolute().parent.parent)
    return next((folder / CLASSIFIER for folder in folders if (folder / CLASSIFIER).is_file()), None)
