"""evaluate: how well a finished classifier does on another set of images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np

from headstart.classifier.classifier import Classifier
from headstart.classifier.trust_evaluation import TrustEvaluation, notice
from headstart.curation.decisions import FILE, DecisionFile
from headstart.curation.overlay import ReviewedScore, reviewed_score
from headstart.data.dataset import Dataset, Labels
from headstart.data.python_source import Source
from headstart.distributed.engine import On, cluster_of
from headstart.errors import DataError, RunError
from headstart.evaluation.conformal import measure_sets
from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.evaluate import BaselinePredictions, EvaluatedImages, evaluate_probabilities
from headstart.evaluation.evaluation import Evaluation
from headstart.features.matrix import Features, FeatureView
from headstart.heads.knn import nearest, predict_neighbours
from headstart.options import EvaluateOptions, takes
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.wording import counted
from headstart.workbench.run import Run, Trained, classifier_of, find_run
from headstart.workbench.run_predictions import RunPredictions
from headstart.workbench.run_rows import places_in
from headstart.workbench.session import Session


@dataclass(frozen=True)
class EvaluationResult:
    """An evaluation on other images, what could not be said and why, and the images behind the mistakes.

    Args:
        notes: plain sentences.
        nearest: for each confident mistake, the most similar training image; empty without the run's folder.
        reviewed: the accuracy by the decisions of a review about these images, beside that by their labels.
        problem: that some of the images were trained on, and are in none of the numbers; empty where none were.
    """

    evaluation: Evaluation
    notes: tuple[str, ...]
    nearest: dict[str, str]
    problem: str = ""
    reviewed: ReviewedScore | None = None

    def to_dict(self) -> dict[str, Any]:
        """The result for `--json`: evaluation first, then baselines."""
        evaluation = self.evaluation.to_dict()
        rest = {"problem": self.problem, "notes": list(self.notes), "nearest": self.nearest}
        rest |= {} if self.reviewed is None else {"reviewed": self.reviewed.to_dict()}
        return {"evaluation": evaluation, "baselines": evaluation["baselines"], **rest}

    def __str__(self) -> str:
        return "\n".join([*filter(None, [self.problem]), str(self.evaluation), *self.notes])


@takes(EvaluateOptions)
def evaluate(
    classifier: Trained,
    source: Source,
    *,
    on: On | None = None,
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
        on: where images are read, see `train`; None: this process.

    Raises:
        ClassifierError: the classifier cannot be opened.
        DataError: there are no images of a class that it knows, or it was trained on all of them.
        RecipeError: an option is unknown or not allowed.
    """
    session = Session(recipe, options, on_event)
    model = classifier_of(classifier, verb="evaluate", images=source)
    rules = replace(model.rules, max_pixels=session.recipe.max_pixels, keep_damaged=session.recipe.keep_damaged)
    given: Features | None = None
    with session.step("audit"):
        if on is None:
            dataset = session.dataset(source, least_classes=1, rules=rules, known=model.classes)
        else:
            from headstart.workbench.on_cluster import evaluation_data, source_path  # they need pyarrow

            where, name = cluster_of(on), source_path(session, source)
            dataset, given = evaluation_data(session, where, model, source=name, rules=rules)
    measured, notes = _reported(dataset)
    known = _known(model, dataset, measured)  # before the features, which take longer than all else
    run, why_not = find_run(classifier, model)
    if run is not None:
        trained = run.predictions("train")  # read once: a row for each of perhaps 100,000 images
        known = _without_trained_on(known, trained, dataset)
    with session.step("features"):
        features = given or session.features(session.feature_job(dataset, model.backbone)).features
    with session.step("evaluation"):
        if run is None:
            notes.append(f"No kNN baseline, no leak check and no similar training images: {why_not}.")
        else:
            notes.append("Leaks are images with the pixels of a training image; near duplicates are not searched for.")
        view = features.view(known.indices, model.head.stages)
        beside = _NO_RUN if run is None else _from_run(run, trained, model=model, view=view)
        result = _measure(session, model, dataset, view=view, known=known, beside=beside)
        reviewed = _reviewed(session, model, dataset, features=features, known=known, run=run)
        notes += [] if reviewed is None else [str(reviewed)]
        notes += _trust(model, dataset, features, known=known)
        return replace(result, notes=tuple(notes), reviewed=reviewed)


@dataclass(frozen=True)
class _FromRun:
    """What only the run's folder tells: kNN's predictions, counts of the training images, their features and names."""

    baselines: dict[str, BaselinePredictions]
    trained: list[int] | None
    view: FeatureView | None = None
    names: tuple[str, ...] = ()

    def most_similar(self, images: FeatureView) -> list[str]:
        """The name of the training image that is most similar to each; empty without the run."""
        if self.view is None or not images.shape[0]:
            return []
        return [self.names[row] for row in nearest(self.view, images, 1)[1][:, 0].tolist()]


_NO_RUN = _FromRun(baselines={}, trained=None)


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
    session: Session, model: Classifier, dataset: Dataset, *, view: FeatureView, known: _Known, beside: _FromRun
) -> EvaluationResult:
    names, groups = [dataset.samples[i].name for i in known.indices], dataset.groups()
    evaluation = evaluate_probabilities(
        model.head.probabilities_of(view),
        EvaluatedImages(
            labels=known.labels,
            classes=model.classes,
            names=names,
            groups=[str(groups[i]) for i in known.indices],
            leaked=None if beside.trained is None else np.zeros(len(known.indices), dtype=bool),
            unknown=known.unknown,
        ),
        train_counts=beside.trained,
        baselines=beside.baselines,
        seed=session.recipe.seed,
    )
    wrong = [mistake.name for mistake in evaluation.mistakes]
    place = {name: i for i, name in enumerate(names)}
    found = beside.most_similar(view.take(np.array([place[name] for name in wrong], dtype=np.int64)))
    similar = dict(zip(wrong, found, strict=False))
    evaluation = replace(evaluation, leaked=known.trained_on)
    return EvaluationResult(evaluation, (), similar, known.problem)


def _reviewed(
    session: Session, model: Classifier, dataset: Dataset, *, features: Features, known: _Known, run: Run | None
) -> ReviewedScore | None:
    """The accuracy by the decisions about these images: those of `review`, else of the run beside the classifier."""
    decisions = session.decisions
    if session.recipe.review is None and run is not None:
        try:
            decisions = DecisionFile(run.folder / FILE).read()
        except RunError as error:  # nobody asked for it: no evaluation is lost for it
            session.notice(f"{FILE} beside the classifier is not applied: {error.found}")
    by_content = decisions.by_content
    decided = [by_content.get(dataset.contents[i]) for i in known.indices]
    if not any(decided):
        return None
    return reviewed_score(
        model.head.probabilities_of(features.view(known.indices, model.head.stages)).argmax(axis=1),
        known.labels,
        decided=decided,
        classes=model.classes,
        groups=dataset.groups()[known.indices],
    )


def _trust(model: Classifier, dataset: Dataset, features: Features, *, known: _Known) -> tuple[str, ...]:
    """How many of the images are called unfamiliar, and how often prediction sets hold; empty for an older file."""
    familiarity, conformal = model.familiarity, model.conformal
    groups = [str(group) for group in dataset.groups()[known.indices]]
    rejects = sets = None
    if familiarity is not None and familiarity.threshold is not None:
        asked = features.view(known.indices, (familiarity.stage,))
        rejects = notice(familiarity, {"images": asked}, groups)[0].share
    if conformal is not None:
        p = model.head.probabilities_of(features.view(known.indices, model.head.stages))
        sets = measure_sets(conformal, p, known.labels, groups=shared_groups(groups))
    found = TrustEvaluation(
        rate=0.0 if familiarity is None else familiarity.rate,
        reason="",
        false_rejects=rejects,
        sets=sets,
        error_rate=0.0 if conformal is None else conformal.error_rate,
    )
    return found.sentences


def _without_trained_on(known: _Known, trained: RunPredictions, dataset: Dataset) -> _Known:
    """Those images that have neither the bytes nor the pixels of one that the run was trained on, by its rows.

    Raises:
        DataError: there are none.
    """
    seen = {row[key] for row in trained for key in ("sha256", "pixels") if row.get(key)}
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


def _from_run(run: Run, rows: RunPredictions, *, model: Classifier, view: FeatureView) -> _FromRun:
    numbers = {name: i for i, name in enumerate(model.classes)}
    features = run.features
    train = features.view(places_in(features, rows, run.folder), model.head.stages)
    labels = np.array([numbers[row["label"]] for row in rows], dtype=np.int64)
    predicted, about = predict_neighbours(train, labels, view, classes=len(numbers))
    return _FromRun(
        baselines={"kNN": BaselinePredictions(predicted, about)},
        trained=np.bincount(labels, minlength=len(numbers)).tolist(),
        view=train,
        names=tuple(row["path"] for row in rows),
    )


def _reported(dataset: Dataset) -> tuple[Labels, list[str]]:
    """Indices of the images to measure, and what to say about the choice."""
    splits = np.array([sample.split or "" for sample in dataset.samples])
    for name in ("test", "validation"):
        if (splits == name).any() and not (splits == name).all():
            return np.flatnonzero(splits == name), [f"The set has splits: only its {name} split is measured."]
    return np.arange(len(dataset)), []
