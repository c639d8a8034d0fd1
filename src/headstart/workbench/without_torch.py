"""predict and check where torch is not installed: they take ONNX files, and say what anything else needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headstart.classifier.predictions import Predictions
from headstart.errors import PackageError
from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.workbench.check_onnx import CheckResult, check_onnx
from headstart.workbench.predict_onnx import is_onnx, predict_onnx

_FORMS = ("csv", "out", "format", "sort_into", "threshold_policy", "reject", "every", "frames", "on")  # of answers
NOT_COMPARED = "It was not compared with its classifier: that needs torch."


@public_api
def predict(
    classifier: str | Path, images: Any, *, on_event: OnEvent | None = print_event, **options: Any
) -> Predictions:
    """Classify images with a file that `headstart export` wrote; options as for `headstart.predict` with torch.

    Raises:
        PackageError: it is another file, which needs torch.
    """
    forms = {name: options.pop(name) for name in _FORMS if name in options}
    return predict_onnx(_onnx(classifier), images, on_event=on_event, options=options, **forms)


@public_api
def check(
    file: str | Path, images: str | Path, *, against: object = None, on_event: OnEvent | None = print_event
) -> CheckResult:
    """Run an exported ONNX file on images, without comparing it.

    Raises:
        PackageError: `against` names a classifier, which needs torch.
    """
    if against is not None:
        raise PackageError("torch")
    return check_onnx(file, images, reason=NOT_COMPARED, on_event=on_event)


def _onnx(file: str | Path) -> str | Path:
    if not (isinstance(file, (str, Path)) and is_onnx(file)):
        raise PackageError("torch")
    return file
