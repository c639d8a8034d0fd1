"""check an ONNX file alone: whether it is whole and answers; without torch and without its classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.data.image_set import scan_unlabelled
from headstart.errors import shown
from headstart.plain import Plain
from headstart.progress import OnEvent, ProgressReporter, print_event, silent
from headstart.public_api import public_api
from headstart.workbench.predict_onnx import open_onnx, stream_onnx


@dataclass(frozen=True)
class CheckResult(Plain):
    """What was found in an ONNX file.

    Args:
        file: its path. counts: class → images that it was predicted for. left_out: image → why it has no answer.
        same_classifier: whether the file was made from the very classifier it is compared with; None: not compared.
        parity: a ParityReport; None: there is no classifier to compare with, and `reason` says why.
    """

    file: Path
    counts: Mapping[str, int]
    left_out: Mapping[str, str]
    same_classifier: bool | None
    parity: Any  # a ParityReport, whose module needs onnx
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether every answer is one, and equals the classifier's where there is one."""
        return not self.left_out and (self.parity is None or not self.parity.problems)

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {shown(name)}" for name, count in self.counts.items())
        lines = [f"{self.file} is whole: {counts or 'it has answered no image'}."]
        lines += [shown(f"{name} has no answer: {reason}") for name, reason in self.left_out.items()]
        if self.parity is None:
            return "\n".join([*lines, self.reason])
        if not self.same_classifier:
            lines.append("It was made from another classifier than the one it is compared with.")
        return "\n".join([*lines, str(self.parity)])


@public_api
def check_onnx(
    file: str | Path, images: str | Path, *, reason: str = "", on_event: OnEvent | None = print_event
) -> CheckResult:
    """Run an exported ONNX file on images.

    Args:
        images: a folder of images, or one image. reason: why it is not compared with its classifier.

    Raises:
        ClassifierError: the file is none of headstart, or damaged. DataError: there are no images.
    """
    file = Path(file)
    counts, left_out = _answers(file, scan_unlabelled([Path(images)]), on_event or silent)
    return CheckResult(file, counts, left_out, same_classifier=None, parity=None, reason=reason)


def _answers(file: Path, paths: Sequence[Path], on_event: OnEvent) -> tuple[dict[str, int], dict[str, str]]:
    """Class → number of images, and the images that have no answer with the reason."""
    counts, left_out, progress = Counter[str](), dict[str, str](), ProgressReporter(on_event, "check")
    for done, prediction in enumerate(stream_onnx(open_onnx(file), paths), 1):
        if prediction.label is None:
            left_out[prediction.name] = str(prediction.error)
        else:
            counts[prediction.label] += 1
        progress(done, len(paths))
    return dict(counts), left_out
