"""The run that a classifier file lies in: its training images and their features, if they are of the same weights."""

from __future__ import annotations

from pathlib import Path

from headstart.classifier.classifier import Classifier
from headstart.errors import RunError
from headstart.workbench.run import Run


def run_beside(classifier: str | Path | Classifier, model: Classifier) -> tuple[Run | None, str]:
    """The run whose features can be compared with the model's, or None and the reason.

    Args:
        classifier: as the user named it. model: what it turned out to be.

    A recalibrated classifier may lie in the folder of its run: the features there are of other batch-norm statistics.
    """
    if isinstance(classifier, Classifier):
        return None, "a loaded classifier has no run folder"
    path = Path(classifier)
    try:
        run = Run.load(path if path.is_dir() else path.parent)
        _ = run.features
    except RunError as error:
        return None, f"the run's folder is not beside the file ({error.found})"
    if run.record["backbone"]["fingerprint"] != model.backbone.fingerprint:
        return None, "the features of the run beside the file are of other weights than the classifier's"
    return run, ""
