"""evaluate: how well a finished classifier does on another set of images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from typing_extensions import Unpack

from headstart.classifier.classifier import Classifier
from headstart.data.dataset import Dataset, Labels
from headstart.data.python_source import Source
from headstart.errors import DataError
from headstart.evaluation.evaluate import BaselinePredictions, EvaluatedImages, evaluate_probabilities
from headstart.evaluation.evaluation import Evaluation
from headstart.features.matrix import Features, FeatureView
from headstart.heads.knn import nearest, predict_neighbours
from headstart.options import EvaluateOptions, takes
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.wording import counted
from headstart.workbench.run import Run, Trained, classifier_of, find_run
from headstart.workbench.session import Session


@dataclass(frozen=True)
class EvaluationResult:
    """An evaluation on other images, what could not be said and why, and the images behind the mistakes.

    Args:
        notes: plain sentences.
        nearest: for each confident mistake, the most similar training image; empty without the run's folder.
        problem: that some of the images were trained on, and are in none of the numbers; empty where none were.
    """

    evaluation: Evaluation
    notes: tuple[str, ...]
    nearest: dict[str, str]
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The result for `--json`: evaluation first, then baselines."""
        evaluation = self.evaluation.to_dict()
        rest = {"problem": self.problem, "notes": list(self.notes), "nearest": self.nearest}
        return {"evaluation": evaluation, "baselines": evaluation["baselines"], **rest}

    def __str__(self) -> str:
        return "\n".join([*filter(None, [self.problem]), str(self.evaluation), *self.notes])


@takes(EvaluateOptions)
def evaluate(
    classifier: Trained,
    source: Source,
    *,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[EvaluateOptions],
) -> EvaluationResult:
    """Measure a classifier on images with known classes; classes it does not know are reported, never scored.

    Beside its run, images that the classifier was trained on are counted and left out of every number.

    Transparent images are put on the background of the classifier's card, as in training and in `predict`.

    Args:
        classifier: a file, the folder of a run, a Run, or a loaded Classifier.
        source: as for `train`; of a set with splits the test split is taken, else the validation split.

    Raises:
        ClassifierError: the classifier cannot be opened.
        DataError: there are no images of a class that it knows, or it was trained on all of them.
        RecipeError: an option is unknown or not allowed.
    """
    session = Session(recipe, options, on_event)
    model = classifier_of(classifier, verb="evaluate", images=source)
    rules = replace(model.rules, max_pixels=session.recipe.max_pixels, keep_damaged=session.recipe.keep_damaged)
    with session.step("audit"):
        dataset = session.dataset(source, least_classes=1, rules=rules, known=model.classes)
    measured, notes = _reported(dataset)
    known = _known(model, dataset, measured)  # before the features, which take longer than all else
    run, why_not = find_run(classifier, model)
    if run is not None:
        known = _without_trained_on(known, run, dataset)
    with session.step("features"):
        features = session.features(session.feature_job(dataset, model.backbone)).features
    with session.step("evaluation"):
        if run is None:
            notes.append(f"No kNN baseline, no leak check and no similar training images: {why_not}.")
        else:
            notes.append("Leaks are images with the pixels of a training image; near duplicates are not searched for.")
        result = _measure(session, model, dataset, features=features, known=known, run=run)
        return replace(result, notes=tuple(notes))


@dataclass(frozen=True)
class _FromRun:
    """What only the run's folder tells about M images: kNN's predictions, training counts, the most similar images."""

    baselines: dict[str, BaselinePredictions]
    trained: list[int] | None
    nearest: tuple[str, ...]


_NO_RUN = _FromRun(baselines={}, trained=None, nearest=())


@dataclass(frozen=True)
class _Known:
    """M images of classes that the classifier knows: indices, labels in its order.

    Args:
        unknown: images of other classes. trained_on: images that were left out, since the classifier has seen them.
    """

    indices: Labels
    labels: Labels
    unknown: dict[str, int]
    trained_on: int = 0

    @property
    def problem(self) -> str:
        """How many were left out, and what the numbers are then."""
        if not self.trained_on:
            return ""
        rest = len(self.indices)
        were = "was" if self.trained_on == 1 else "were"
        share = f"{self.trained_on:,} of {counted(self.trained_on + rest, 'image')} {were} trained on"
        return f"{share}. All numbers are those of the other {rest:,}."


def _measure(
    session: Session, model: Classifier, dataset: Dataset, *, features: Features, known: _Known, run: Run | None
) -> EvaluationResult:
    view = features.view(known.indices, model.head.stages)
    beside = _from_run(run, model, view) if run else _NO_RUN
    names, groups = [dataset.samples[i].name for i in known.indices], dataset.groups()
    evaluation = evaluate_probabilities(
        model.head.probabilities_of(view),
        EvaluatedImages(
            labels=known.labels,
            classes=model.classes,
            names=names,
            groups=[str(groups[i]) for i in known.indices],
            leaked=None if run is None else np.zeros(len(known.indices), dtype=bool),
            unknown=known.unknown,
        ),
        train_counts=beside.trained,
        baselines=beside.baselines,
        seed=session.recipe.seed,
    )
    similar = dict(zip(names, beside.nearest, strict=False))
    wrong = [mistake.name for mistake in evaluation.mistakes]
    similar = {name: similar[name] for name in wrong if name in similar}
    evaluation = replace(evaluation, leaked=known.trained_on)
    return EvaluationResult(evaluation, (), similar, known.problem)


def _without_trained_on(known: _Known, run: Run, dataset: Dataset) -> _Known:
    """Those images that have neither the bytes nor the pixels of one that the run was trained on.

    Raises:
        DataError: there are none.
    """
    rows = [row for row in run.predictions() if row["split"] == "train"]
    seen = {row[key] for row in rows for key in ("sha256", "pixels") if row.get(key)}
    facts = [dataset.facts[i] for i in known.indices]
    fresh = np.array([fact.content not in seen and fact.pixels not in seen for fact in facts], dtype=bool)
    if not fresh.any():
        raise DataError(
            expected="images that the classifier was not trained on",
            found=f"{counted(len(facts), 'image')}, all trained on: no honest accuracy can be measured",
            where=dataset.image_set.source,
            hint="Evaluate on other images; the accuracy on the test images of its training is in report.html.",
        )
    return replace(
        known, indices=known.indices[fresh], labels=known.labels[fresh], trained_on=int(np.count_nonzero(~fresh))
    )


def _known(model: Classifier, dataset: Dataset, chosen: Labels) -> _Known:
    labels = dataset.labels_in(model.classes)[chosen]
    unknown = Counter(dataset.samples[i].label or "" for i in chosen[labels < 0])
    if not (labels >= 0).any():
        raise DataError(
            expected=f"images of {', '.join(model.classes)}",
            found=f"only {', '.join(unknown) or 'unreadable ones'}",
            where=dataset.image_set.source,
            hint="Name the class folders as the classifier knows them.",
        )
    return _Known(chosen[labels >= 0], labels[labels >= 0], dict(unknown))


def _from_run(run: Run, model: Classifier, view: FeatureView) -> _FromRun:
    rows = [row for row in run.predictions() if row["split"] == "train"]
    numbers = {name: i for i, name in enumerate(model.classes)}
    places = {name: i for i, name in enumerate(run.features.names)}
    train = run.features.view(np.array([places[row["path"]] for row in rows]), model.head.stages)
    labels = np.array([numbers[row["label"]] for row in rows], dtype=np.int64)
    predicted, k = predict_neighbours(train, labels, view, classes=len(numbers))
    _, closest = nearest(train, view, 1)
    return _FromRun(
        baselines={"kNN": BaselinePredictions(predicted, f"vote of the {k} most similar training images, no training")},
        trained=np.bincount(labels, minlength=len(numbers)).tolist(),
        nearest=tuple(rows[int(row)]["path"] for row in closest[:, 0]),
    )


def _reported(dataset: Dataset) -> tuple[Labels, list[str]]:
    """Indices of the images to measure, and what to say about the choice."""
    splits = np.array([sample.split or "" for sample in dataset.samples])
    for name in ("test", "validation"):
        if (splits == name).any() and not (splits == name).all():
            return np.flatnonzero(splits == name), [f"The set has splits: only its {name} split is measured."]
    return np.arange(len(dataset)), []
