"""train: from a folder of images to a run with a classifier, an honest number beside it, and a report.

scan ▶ audit ▶ split ▶ backbone ▶ features ▶ head ▶ evaluation ▶ files
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.data.split import DataSplit
from headstart.engines.choose import Engine, choose_engine
from headstart.evaluation.evaluate import BaselinePredictions, EvaluatedImages, evaluate_probabilities
from headstart.evaluation.evaluation import Evaluation
from headstart.features.extract import Extraction, extract_features, open_store
from headstart.features.matrix import Features
from headstart.finetune.auto import check_strategy, idle_knobs
from headstart.heads.head import Head
from headstart.heads.knn import predict_neighbours
from headstart.heads.linear_probe import LinearProbe, TrainingRows, fit_linear_probe
from headstart.heads.regularization_path import Labels
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck
from headstart.progress import Notice, OnEvent, ProgressReporter, print_event
from headstart.recipe import Recipe
from headstart.workbench.choose_run import choose_run
from headstart.workbench.clock import Clock
from headstart.workbench.events import FilesWritten, Plan, Results
from headstart.workbench.fine_tune import FineTuneOutcome, fine_tune_plan, tune
from headstart.workbench.fine_tune_images import FineTuneRows, fine_tune_rows
from headstart.workbench.job import Job
from headstart.workbench.out_folder import out_folder
from headstart.workbench.prepare import (
    Prepared,
    feature_cache,
    fingerprint_of,
    found,
    leaked_test,
    prepare,
    recipe_from,
    split_prepared,
)
from headstart.workbench.preprocessing_check import look_first
from headstart.workbench.run import FEATURES, FILES, Run, finish_run, new_run, run_name
from headstart.workbench.starting_point import StartingPoint, check_backbone, choose_backbone
from headstart.workbench.training_plan import layer_choices, plan_rows
from headstart.workbench.write_run import Finished, next_command, verdict_warnings, write_run

_PROBE_FEATURES = "probe-features.safetensors"  # of the backbone before it is fine-tuned; not kept


def train(
    source: str | Path,
    *,
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    on_event: OnEvent = print_event,
    **knobs: object,
) -> Run:
    """Train a classifier on a folder, a table or an archive of images, and measure it on images it never saw.

    Args:
        source: a folder for each class; or train/ val/ test/ with these; or a csv table; or a zip or tar of either.
        out: folder of the run; left out: `runs/NAME`. A folder that exists is never overwritten: `NAME-2` is made.
        recipe: where the knobs start from.
        tell: told what happens, see `workbench.events`.
        knobs: fields of Recipe, such as `backbone="resnet18"`.

    Raises:
        HeadstartError: of the kind that says what is wrong: data, backbone, recipe or run.
    """
    recipe, source = recipe_from(recipe, knobs), Path(source)
    check_backbone(recipe)
    check_strategy(recipe)
    if idle := idle_knobs(recipe):
        on_event(Notice(f"With --strategy probe nothing is fine-tuned: {', '.join(idle)} has no effect."))
    runtime.choose_device(recipe.device)
    target = out_folder(out) if out is not None else Path("runs") / run_name(source)
    if recipe.strategy == "probe":
        return _train(target, source, recipe, on_event)
    return work_on(Job.begin(target, source, recipe), on_event)


def work_on(job: Job, on_event: OnEvent, *, resumed: bool = False, force: bool = False) -> Run:
    """Train from the beginning or from where it was left; what is unfinished stays once there is a checkpoint.

    Args:
        resumed: it was unfinished before this call, and stays so when this one fails.
        anyway: also when images, versions or the device are not those it began with.
    """
    try:
        run = _train(job.target, job.source, job.recipe, on_event, job, force)
    except BaseException:
        if resumed or job.has_checkpoint:
            on_event(Notice(f"Go on with: headstart resume {shlex.quote(str(job.target))}"))
        else:
            job.done()
        raise
    job.done()
    return run


def _train(
    target: Path, source: Path, recipe: Recipe, on_event: OnEvent, job: Job | None = None, force: bool = False
) -> Run:
    clock = Clock()
    with new_run(target.parent, target.name) as work:
        with clock("audit"):
            prepared = prepare(source, recipe, on_event)
            parts = split_prepared(prepared, recipe)
        on_event(found(prepared, parts, source))
        with clock("backbone"):
            origin = None if job is None else job.origin
            choice = choose_backbone(recipe, on_event) if origin is None else choose_run(Run.load(origin))
            checked = look_first(choice.backbone, prepared, parts, recipe, on_event, pretrained=origin is not None)
        if job is not None:
            job.pin(fingerprint_of(prepared, parts), choice.backbone.fingerprint, force=force)
        finished = _work(work, target, source, prepared, parts, choice, checked, recipe, on_event, clock, job)
        with clock("write"):
            write_run(work, finished, on_event)
        folder = finish_run(work, target.name)
    on_event(Results(finished.evaluation, verdict_warnings(finished), finished.chosen))
    on_event(FilesWritten(folder, tuple(name for name in FILES if (folder / name).exists()), next_command(folder)))
    return Run.load(folder)


def _work(
    work: Path,
    target: Path,
    source: Path,
    prepared: Prepared,
    parts: DataSplit,
    choice: StartingPoint,
    checked: PreprocessingCheck,
    recipe: Recipe,
    on_event: OnEvent,
    clock: Clock,
    job: Job | None,
) -> Finished:
    rows = fine_tune_rows(prepared, parts, recipe) if recipe.strategy != "probe" else None
    with clock("features"):
        into = work / (FEATURES if rows is None else _PROBE_FEATURES)
        features, extraction, engine, plan = _extract(into, prepared, choice, recipe, on_event, rows)
    labels = _labels(prepared)
    with clock("head"):
        probe = _solve(features, choice.backbone, labels, parts, recipe, len(prepared.image_set.classes))
    tuning, final = None, features
    if rows is not None and job is not None:
        with clock("fine-tune"):
            tuning = _fine_tune(features, choice, labels, prepared, parts, rows, recipe, on_event, job)
        with clock("features after it"):
            final, _, engine, _ = _extract(work / FEATURES, prepared, choice, recipe, on_event, None)
    head = _head_after(choice, probe, tuning)
    with clock("evaluation"):
        evaluation = _evaluate(final, head, features, labels, prepared, parts, probe, recipe)
    del features
    (work / _PROBE_FEATURES).unlink(missing_ok=True)
    return Finished(
        target,
        source,
        prepared,
        parts,
        choice,
        recipe,
        plan,
        extraction,
        engine,
        final,
        labels,
        probe,
        head,
        tuning,
        evaluation,
        checked,
        clock.seconds,
    )


def _labels(prepared: Prepared) -> Labels:
    """Class index of each image; -1 for a class that training does not have."""
    numbers = {name: i for i, name in enumerate(prepared.image_set.classes)}
    return np.array([numbers.get(label, -1) for label in prepared.labels], dtype=np.int64)


def _fine_tune(
    features: Features,
    choice: StartingPoint,
    labels: Labels,
    prepared: Prepared,
    parts: DataSplit,
    rows: FineTuneRows,
    recipe: Recipe,
    on_event: OnEvent,
    job: Job,
) -> FineTuneOutcome:
    """From a head that has not seen the held-out images either: that of the run it goes on from, or one solved anew."""
    seen = replace(parts, train=tuple(int(i) for i in rows.train))
    head = choice.head or _solve(features, choice.backbone, labels, seen, recipe, len(prepared.image_set.classes)).head
    groups = list(map(str, parts.groups))
    tuning = tune(choice.backbone, prepared, rows, groups, labels, head, recipe, feature_cache(recipe), on_event, job)
    if tuning.fine_tuned is None:
        choice.backbone.flip_tta = choice.flip_tta  # it answers as it did before
    return tuning


def _head_after(choice: StartingPoint, probe: LinearProbe, tuning: FineTuneOutcome | None) -> Head:
    """The fine-tuned head; where there is none, that of the run it goes on from, as it was, else the probe's."""
    if tuning is not None and tuning.fine_tuned is not None:
        return tuning.fine_tuned.head
    return replace(choice.head or probe.head, flip_tta=choice.flip_tta is not None)


def _extract(
    into: Path, prepared: Prepared, choice: StartingPoint, recipe: Recipe, on_event: OnEvent, rows: FineTuneRows | None
) -> tuple[Features, Extraction, Engine, Plan]:
    backbone, files, cache = choice.backbone, prepared.files, feature_cache(recipe)
    store = open_store(cache, backbone, prepared.rules)
    waiting = len({content for content in files.contents if content not in store})
    engine = choose_engine(
        backbone,
        name=recipe.engine,
        device=runtime.choose_device(recipe.device),
        waiting=waiting,
        batch_size=recipe.batch_size,
        cache_folder=runtime.cache_folder(),
    )
    plan = Plan(
        plan_rows(choice, engine, recipe, images=len(files.paths), waiting=waiting)
        | fine_tune_plan(choice.backbone, recipe, rows)
    )
    if into.name != FEATURES or recipe.strategy == "probe":  # the second extraction belongs to the same plan
        on_event(plan)
    features, extraction = extract_features(
        files,
        backbone,
        engine.forward,
        store,
        into=into,
        batch_size=recipe.batch_size,
        workers=recipe.workers or runtime.cores(),
        progress=ProgressReporter(on_event, "extract features"),
    )
    cache.shrink(keep=store)
    return features, extraction, engine, plan


def _solve(
    features: Features, backbone: Backbone, labels: Labels, parts: DataSplit, recipe: Recipe, classes: int
) -> LinearProbe:
    layers = layer_choices(backbone, recipe.layers)
    rows, held = np.array(parts.train, dtype=np.int64), np.array(parts.validation, dtype=np.int64)
    training = TrainingRows(
        rows=rows,
        labels=labels[rows],
        groups=np.array(parts.groups)[rows],
        classes=classes,
        validation_rows=held,
        validation_labels=labels[held],
    )
    return fit_linear_probe(features, training, layers=layers, kind=recipe.head, balance=recipe.balance)


def _evaluate(
    final: Features,
    head: Head,
    features: Features,
    labels: Labels,
    prepared: Prepared,
    parts: DataSplit,
    probe: LinearProbe,
    recipe: Recipe,
) -> Evaluation:
    """The head on its own features; the baselines on those of the backbone before fine-tuning."""
    test, train = np.array(parts.test, dtype=np.int64), np.array(parts.train, dtype=np.int64)
    classes = prepared.image_set.classes
    train_view, test_view = features.view(train, probe.head.stages), features.view(test, probe.head.stages)
    neighbours, k = predict_neighbours(train_view, labels[train], test_view, classes=len(classes))
    baselines = {"kNN": BaselinePredictions(neighbours, f"vote of the {k} most similar training images, no training")}
    if head is not probe.head:
        alone = probe.head.probabilities_of(test_view).argmax(1)
        baselines["probe"] = BaselinePredictions(alone, "the head alone, on the backbone before fine-tuning")
    names = [prepared.samples[i].name for i in test]
    unknown: dict[str, int] = {}
    for i in parts.unknown:
        unknown[prepared.labels[i]] = unknown.get(prepared.labels[i], 0) + 1
    return evaluate_probabilities(
        head.probabilities_of(final.view(test, head.stages)),
        EvaluatedImages(
            labels=labels[test],
            classes=classes,
            names=names,
            groups=[str(parts.groups[i]) for i in test],
            leaked=leaked_test(prepared, parts),
            unknown=unknown,
        ),
        train_counts=[int(count) for count in np.bincount(labels[train], minlength=len(classes))],
        baselines=baselines,
        seed=recipe.seed,
    )
