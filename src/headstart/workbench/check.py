"""check: an ONNX file that headstart wrote: whether it is whole, and whether it gives a classifier's answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from headstart.data.image_set import scan_unlabelled
from headstart.errors import ClassifierError
from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.workbench.check_onnx import CheckResult, check_onnx
from headstart.workbench.export import check_packages, compare_answers
from headstart.workbench.run import CLASSIFIER, Trained, classifier_of
from headstart.workbench.session import Session

_ALONE = "No classifier lies beside it to compare with: name one with --against."


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
        return check_onnx(file, images, reason=_ALONE, on_event=on_event)
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


def _beside(file: Path) -> Path | None:
    folders = (file.absolute().parent, file.absolute().parent.parent)
    return next((folder / CLASSIFIER for folder in folders if (folder / CLASSIFIER).is_file()), None)
