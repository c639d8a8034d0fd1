"""A finished run in int8: its network quantised, its head solved again on int8 features, and what that costs.

In: a run in float32 and its images. Out: the classifier that `train --precision int8` would have made, and its accuracy
beside that of the run, in pairs on the same test images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from headstart.classifier.classifier import Classifier
from headstart.data.image_set import Sample
from headstart.engines.onnxruntime_engine import require_packages
from headstart.errors import DataError
from headstart.evaluation.comparison import Comparison, RunPredictions
from headstart.evaluation.comparison import compare as compare_predictions
from headstart.features.extract import ImageFiles
from headstart.heads.head import Head
from headstart.recipe import Recipe
from headstart.workbench.run import Run
from headstart.workbench.run_rows import RunRows, paths_of
from headstart.workbench.session import Session
from headstart.workbench.solve_again import check_solvable, solve_again


@dataclass(frozen=True, eq=False)
class QuantizedRun:
    """A run's classifier in int8.

    Args:
        accuracy: on the run's test images, in pairs: A is the run's classifier, B the one in int8.
    """

    classifier: Classifier
    accuracy: Comparison


def quantize_run(session: Session, run: Run) -> QuantizedRun:
    """Quantise the network of a run, and solve head, temperature, familiarity and prediction sets on its features.

    The ranges of activations come from training images alone, at most 64, drawn by the run's seed. A head that was
    solved on float32 features would meet features that it does not know; see `docs/decisions/int8.md`.

    Args:
        session: whose events and steps are used.

    Raises:
        RunError: the network was fine-tuned, or files of the run are missing. DataError: images of the run are not in
        their place, or were changed. BackboneError: the network cannot be quantised.
    """
    check_solvable(run, verb="export --to onnx-int8")
    require_packages()
    rows, old = RunRows.of(run), run.classifier
    samples = _samples(run, rows)
    recipe = Recipe.from_dict(run.record["recipe"])
    own = Session(recipe, {"device": "cpu", "engine": "auto", "precision": "int8"}, session.on_event)
    rules, train = (
        replace(own.rules, background=old.card.background, bit_depth=old.card.bit_depth),
        rows.indices("train"),
    )
    with own.step("quantize"):
        contents = [rows.contents[i] for i in train]
        backbone = own.quantized(old.backbone, [samples[i] for i in train], contents, rules=rules)
    with own.step("features"):
        files = ImageFiles(tuple(sample.path for sample in samples), rows.names, rows.contents, rules)
        found = own.features(own.job_of(files, backbone)).features
    quantized = replace(rows, features=found, at=np.arange(len(rows)))
    with own.step("head"):
        solved = solve_again(run, quantized, backbone=backbone, progress=own.progress("solve head", unit="%"))
    accuracy = compare_predictions(_predictions(rows, old.head), _predictions(quantized, solved.probe.head))
    return QuantizedRun(solved.classifier, accuracy)


def _samples(run: Run, rows: RunRows) -> list[Sample]:
    """The images of a run where they lie now."""
    paths, missing = paths_of(run, rows.names)
    if missing:
        raise DataError(
            expected="the images of the run, whose features int8 computes again",
            found=missing,
            where=run.folder,
            hint="Put them back, or train again: headstart train --precision int8.",
        )
    named = zip(rows.names, rows.label_names, rows.splits, strict=True)
    return [Sample(paths[name], name, label or None, split) for name, label, split in named]


def _predictions(rows: RunRows, head: Head) -> RunPredictions:
    """What a head predicts for the test images, from their features."""
    test = rows.indices("test")
    p = head.probabilities_of(rows.features.view(rows.at[test], head.stages))
    return RunPredictions(
        keys=tuple(rows.contents[i] for i in test),
        labels=tuple(rows.classes[i] for i in rows.labels[test]),
        predicted=tuple(rows.classes[i] for i in p.argmax(axis=1)),
        classes=rows.classes,
        groups=tuple(str(rows.groups[i]) for i in test),
    )
