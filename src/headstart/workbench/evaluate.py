"""evaluate: what a finished classifier is worth on another set of images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import runtime
from headstart.classifier.classifier import Classifier
from headstart.data.image_index import ImageFacts
from headstart.data.split import merge_groups
from headstart.engines.choose import choose_engine
from headstart.errors import DataError, RecipeError
from headstart.evaluation.evaluate import BaselinePredictions, EvaluatedImages, evaluate_probabilities
from headstart.evaluation.evaluation import Evaluation
from headstart.features.extract import extract_features, open_store
from headstart.features.matrix import Features, FeatureView
from headstart.heads.knn import nearest, predict_neighbours
from headstart.progress import OnEvent, ProgressReporter, print_event
from headstart.recipe import Recipe
from headstart.workbench.beside import run_beside
from headstart.workbench.prepare import Prepared, feature_cache, prepare, recipe_from
from headstart.workbench.run import Run


@dataclass(frozen=True)
class EvaluationResult:
    """An evaluation on other images, and what could not be said and why.

    Args:
        notes: plain sentences.
        nearest: for each confident mistake, the most alike training image; empty without the run's folder.
    """

    evaluation: Evaluation
    notes: tuple[str, ...]
    nearest: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The result for `--json`: evaluation first, then baselines."""
        evaluation = self.evaluation.to_dict()
        rest = {"notes": list(self.notes), "nearest": self.nearest}
        return {"evaluation": evaluation, "baselines": evaluation["baselines"], **rest}

    def __str__(self) -> str:
        return "\n".join([str(self.evaluation), *self.notes])


def evaluate(
    classifier: str | Path | Classifier,
    source: str | Path,
    *,
    recipe: Recipe | None = None,
    on_event: OnEvent = print_event,
    **knobs: object,
) -> EvaluationResult:
    """Measure a classifier on images with known classes; classes it does not know are reported, never scored.

    Args:
        classifier: a file, the folder of a run, or a loaded Classifier.
        source: as for `train`; of a set with parts the test part is taken, else the validation part.
        knobs: fields of Recipe that concern the looking and running. Transparent images are put on
            the background of the classifier's card, as in training and in `predict`.

    Raises:
        ClassifierError: the classifier cannot be opened.
        DataError: there are no images of a class that it knows.
        RecipeError: a knob is unknown, not allowed, or one that the classifier's card decides.
    """
    if "background" in knobs:
        raise RecipeError(
            expected="the background of the classifier's card",
            found="another",
            where="background",
            hint="Leave it out.",
        )
    recipe = recipe_from(recipe, knobs)
    model = classifier if isinstance(classifier, Classifier) else Classifier.load(classifier)
    rules = replace(model.rules, max_pixels=recipe.max_pixels)
    prepared = prepare(Path(source), recipe, on_event, least_classes=1, rules=rules)
    features = _extract(model, prepared, recipe, on_event)
    run, why_not = run_beside(classifier, model)
    return _measure(model, prepared, features, run, why_not, recipe)


def _extract(model: Classifier, prepared: Prepared, recipe: Recipe, on_event: OnEvent) -> Features:
    cache = feature_cache(recipe)
    store = open_store(cache, model.backbone, prepared.rules)
    files = prepared.files
    engine = choose_engine(
        model.backbone,
        name=recipe.engine,
        device=runtime.choose_device(recipe.device),
        waiting=len({content for content in files.contents if content not in store}),
        batch_size=recipe.batch_size,
        cache_folder=runtime.cache_folder(),
    )
    workers, progress = recipe.workers or runtime.cores(), ProgressReporter(on_event, "extract features")
    features, _ = extract_features(
        files, model.backbone, engine.forward, store, batch_size=recipe.batch_size, workers=workers, progress=progress
    )
    cache.shrink(keep=store)
    return features


@dataclass(frozen=True)
class _Rivals:
    """What only the run's folder can tell about M images: kNN's answers, what is leaked, the most alike images."""

    predictions: dict[str, NDArray[np.int64]]
    about: dict[str, str]
    trained: list[int] | None
    leaked: NDArray[np.bool_] | None
    alike: tuple[str, ...]


_NO_RIVALS = _Rivals({}, {}, None, None, ())


def _measure(
    model: Classifier, prepared: Prepared, features: Features, run: Run | None, why_not: str, recipe: Recipe
) -> EvaluationResult:
    chosen, notes = _reported_part(prepared)
    known, labels, unknown = _known(model, prepared, chosen)
    view = features.view(known, model.head.stages)
    if run is None:
        notes.append(f"No kNN baseline, no leak check and no nearest training images: {why_not}.")
    else:
        notes.append("Leaks are images with the pixels of a training image; near copies are not looked for.")
    rivals = _rivals(run, model, view, [prepared.facts[i] for i in known]) if run else _NO_RIVALS
    names = [prepared.samples[i].name for i in known]
    groups = merge_groups(len(prepared.samples), [prepared.duplicates, *prepared.groups])
    evaluation = evaluate_probabilities(
        model.head.probabilities_of(view),
        EvaluatedImages(
            labels=labels,
            classes=model.classes,
            names=names,
            groups=[str(groups[i]) for i in known],
            leaked=rivals.leaked,
            unknown=unknown,
        ),
        train_counts=rivals.trained,
        baselines={name: BaselinePredictions(one, rivals.about[name]) for name, one in rivals.predictions.items()},
        seed=recipe.seed,
    )
    alike = dict(zip(names, rivals.alike, strict=False))
    wrong = [mistake.name for mistake in evaluation.mistakes]
    return EvaluationResult(evaluation, tuple(notes), {name: alike[name] for name in wrong if name in alike})


def _known(
    model: Classifier, prepared: Prepared, chosen: list[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, int]]:
    """Images of classes that the classifier knows, their labels by name, and the counts of the other classes."""
    numbers = {name: i for i, name in enumerate(model.classes)}
    known = [i for i in chosen if prepared.labels[i] in numbers]
    unknown = Counter(prepared.labels[i] for i in chosen if prepared.labels[i] not in numbers)
    if not known:
        raise DataError(
            expected=f"images of {', '.join(model.classes)}",
            found=f"only {', '.join(unknown) or 'unreadable ones'}",
            where=prepared.image_set.source,
            hint="Name the class folders as the classifier knows them.",
        )
    labels = np.array([numbers[prepared.labels[i]] for i in known], dtype=np.int64)
    return np.array(known, dtype=np.int64), labels, dict(unknown)


def _rivals(run: Run, model: Classifier, view: FeatureView, facts: list[ImageFacts]) -> _Rivals:
    rows = [row for row in run.predictions() if row["part"] == "train"]
    numbers = {name: i for i, name in enumerate(model.classes)}
    places = {name: i for i, name in enumerate(run.features.names)}
    train = run.features.view(np.array([places[row["path"]] for row in rows]), model.head.stages)
    labels = np.array([numbers[row["label"]] for row in rows], dtype=np.int64)
    predicted, k = predict_neighbours(train, labels, view, classes=len(numbers))
    seen = {row[key] for row in rows for key in ("sha256", "pixels") if row.get(key)}
    _, closest = nearest(train, view, 1)
    return _Rivals(
        predictions={"kNN": predicted},
        about={"kNN": f"vote of the {k} most similar training images, no training"},
        trained=[int(count) for count in np.bincount(labels, minlength=len(numbers))],
        leaked=np.array([fact.content in seen or fact.pixels in seen for fact in facts]),
        alike=tuple(rows[int(row)]["path"] for row in closest[:, 0]),
    )


def _reported_part(prepared: Prepared) -> tuple[list[int], list[str]]:
    parts = {sample.split for sample in prepared.samples}
    for part in ("test", "validation"):
        if part in parts and len(parts) > 1:
            chosen = [i for i, sample in enumerate(prepared.samples) if sample.split == part]
            return chosen, [f"The set has parts: only its {part} part is measured."]
    return list(range(len(prepared.samples))), []
