"""train: from a folder of images to a run with a classifier, an accuracy with its interval, and a report.

scan ▶ audit ▶ split ▶ backbone ▶ features ▶ head ▶ evaluation ▶ files
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn
from typing_extensions import Unpack

from headstart.backbones.backbone import Backbone
from headstart.classifier.card import check_class_names
from headstart.data.dataset import Dataset
from headstart.data.python_source import Source
from headstart.errors import BackboneError
from headstart.evaluation.evaluate import BaselinePredictions, EvaluatedImages, evaluate_probabilities
from headstart.evaluation.evaluation import Evaluation
from headstart.features.matrix import Features, constant_stages
from headstart.files import publish_folder, remove, work_folder
from headstart.finetune.auto import check_strategy, idle_options
from headstart.heads.head import Head
from headstart.heads.knn import predict_neighbours
from headstart.heads.linear_probe import LinearProbe, TrainingRows, fit_linear_probe
from headstart.heads.regularization_path import no_progress
from headstart.invocation import line
from headstart.options import TrainOptions, takes
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.wording import listed
from headstart.workbench.events import FilesWritten, Plan, Results
from headstart.workbench.fine_tune import FineTuneOutcome, StartingHead, fine_tune, fine_tune_plan
from headstart.workbench.fine_tune_images import FineTuneRows, fine_tune_rows
from headstart.workbench.job import Job
from headstart.workbench.preprocessing_check import check_images
from headstart.workbench.run import FEATURES, FILES, Run, out_folder, run_name
from headstart.workbench.session import Extracted, FeatureJob, Session
from headstart.workbench.starting_point import (
    StartingPoint,
    check_backbone,
    check_precision,
    choose_backbone,
    continue_from,
)
from headstart.workbench.training_plan import layer_choices, plan_rows
from headstart.workbench.training_result import TrainingResult, summary_of
from headstart.workbench.write_run import next_command, write_run

_PROBE_FEATURES = "probe-features.safetensors"  # of the backbone before it is fine-tuned; not kept


@takes(TrainOptions)
def train(
    source: Source,
    *,
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[TrainOptions],
) -> Run:
    """Train a classifier on images with labels, and measure it on images it never saw.

    Args:
        source: a folder per class; or train/ val/ test/ with these; or a csv table; or a zip or tar of either. Or a
            DataFrame with the columns of such a table; (image, label) pairs; a dataset of torchvision's kind; a Dataset
            or an ImageSet. Images in memory are anything `predict` takes; they are kept in the cache.
        out: folder of the run; default `runs/NAME`. A folder that exists is never overwritten: `NAME-2` is made.
        recipe: where the options start from.
        on_event: called with what happens, see `headstart.progress`; None: silence.
        options: fields of Recipe, such as `backbone="resnet18"`; `backbone` may also be a Backbone of your own.

    Raises:
        HeadstartError: of the kind that says what is wrong: data, backbone, recipe or run.
    """
    command = line("train", source, options={"out": out, "recipe": recipe, **options})
    own = options.get("backbone")
    own = own if isinstance(own, Backbone) else None
    if own is not None:
        options["backbone"] = own.spec.name
    session = Session(recipe, options, on_event, backbone=own)
    session.command, recipe = command, session.recipe
    check_backbone(session)
    check_strategy(recipe)
    check_precision(session)
    if idle := idle_options(recipe):
        have = "has" if len(idle) == 1 else "have"
        session.notice(f"{', '.join(idle)} {have} no effect with --strategy probe: only the head is trained.")
    _ = session.device, session.rules  # mistakes in --device and --background are found before anything is read
    path = session.source(source)
    recipe = session.recipe  # with the classes of the source, where it orders them itself
    target = out_folder(out) if out is not None else Path("runs") / run_name(path)
    if recipe.strategy == "probe":
        return _train(session, path, target)
    return work_on(session, Job.begin(target, path, recipe, command=command))


def work_on(session: Session, job: Job, *, resumed: bool = False, force: bool = False) -> Run:
    """Train from the beginning or from the last checkpoint; once there is a checkpoint, unfinished work stays.

    Args:
        resumed: the job was unfinished before this call, and stays so when this call fails.
        force: also when images, versions or the device are not those it began with.
    """
    session.command = job.command
    with job.claimed():
        try:
            run = _train(session, job.source, job.target, job=job, force=force)
        except BaseException:
            if resumed or job.has_checkpoint:
                session.notice(f"Resume with: headstart resume {shlex.quote(str(job.target))}")
            else:
                job.done()
            raise
        job.done()
    return run


def _train(session: Session, source: Path, target: Path, *, job: Job | None = None, force: bool = False) -> Run:
    recipe = session.recipe
    with work_folder(target) as work:
        with session.step("audit"):
            dataset = session.dataset(source).with_split(recipe.test_share, recipe.seed)
        check_class_names(dataset.classes)
        summary = summary_of(dataset, source)
        session.on_event(summary)
        with session.step("backbone"):
            origin = None if job is None else job.origin
            start = choose_backbone(session) if origin is None else continue_from(Run.load(origin))
            check = check_images(session, start, dataset)
            start = replace(start, backbone=session.in_precision(start.backbone, dataset))
        if job is not None:
            job.pin(dataset.fingerprint(), start.backbone.fingerprint, force=force)
        fit = _Fit(session, dataset, start, work, job)
        fit.run()
        result = TrainingResult(
            source=source,
            folder=target,
            summary=summary,
            dataset=dataset,
            start=start,
            check=check,
            plan=fit.plan,
            extracted=fit.extracted,
            probe=fit.probe,
            fine_tuned=fit.fine_tuned,
            head=fit.head,
            evaluation=fit.evaluation,
        )
        with session.step("write"):
            write_run(session, work, result)
        if job is not None:
            job.seal(work)
        folder = publish_folder(work, target)
    session.on_event(Results(result.evaluation, result.warnings(), result.selection))
    written = tuple(name for name in FILES if (folder / name).exists())
    session.on_event(FilesWritten(folder, written, next_command(folder)))
    return Run.load(folder, module=_own_network(session, start))


def _own_network(session: Session, start: StartingPoint) -> nn.Module | None:
    """The user's network, which is needed to open the file; one of the catalogue is built again."""
    own = session.backbone is not None and not start.backbone.spec.builder
    return start.backbone.network if own else None


class _Fit:
    """From a split dataset and a backbone to features, head and evaluation; with a job, fine-tuned in between."""

    plan: Plan
    extracted: Extracted
    probe: LinearProbe
    head: Head
    evaluation: Evaluation
    fine_tuned: FineTuneOutcome | None = None

    def __init__(
        self, session: Session, dataset: Dataset, start: StartingPoint, work: Path, job: Job | None
    ) -> None:  # five values that belong to this one training
        self.session, self.dataset, self.start, self.work, self.job = session, dataset, start, work, job

    def run(self) -> None:
        """Do it all; the results are the attributes."""
        rows = None if self.job is None else self._rows()
        with self.session.step("features"):
            job = self.session.feature_job(self.dataset, self.start.backbone)
            self.plan = self._plan(job, rows)
            self.session.on_event(self.plan)
            into = self.work / (FEATURES if rows is None else _PROBE_FEATURES)
            self.extracted = self.session.features(job, into)
        given = self.extracted.features  # of the backbone before fine-tuning
        self._check_features(given)
        with self.session.step("head"):
            self.probe = self._solve(given, self.dataset.indices("train"))
            if self.probe.reason:
                self.session.notice(self.probe.reason)
        if rows is not None and self.job is not None:
            with self.session.step("fine-tune"):
                self.fine_tuned = self._fine_tune(given, rows, self.job)
            with self.session.step("features after fine-tuning"):
                job = self.session.feature_job(self.dataset, self.start.backbone)
                self.extracted = self.session.features(job, self.work / FEATURES)
        self.head = self._head()
        with self.session.step("evaluation"):
            self.evaluation = self._evaluate(given)
        del given
        remove(self.work / _PROBE_FEATURES)

    def _check_features(self, features: Features) -> None:
        constant, backbone = constant_stages(features), self.start.backbone
        if not constant or len(set(features.contents)) < 2:
            return
        usable = [stage for stage in backbone.spec.choose_stages(self.session.recipe.layers) if stage not in constant]
        if usable:
            self.session.notice(f"Constant features: {listed(constant, 6)} gives the same numbers for all images.")
            return
        raise BackboneError(
            expected="features that differ between images",
            found=f"constant features: all {len(features.names):,} images give the same numbers: nothing to learn",
            where=backbone.weights.source,
            hint="The weights are zero or dead: take others with --weights. headstart doctor shows where.",
        )

    def _plan(self, job: FeatureJob, rows: FineTuneRows | None) -> Plan:
        shown = plan_rows(self.session, self.start, job)
        if rows is not None:
            shown |= fine_tune_plan(self.start.backbone, self.session.recipe, rows)
        return Plan(shown)

    def _rows(self) -> FineTuneRows:
        """With `auto` folds judge and no image is spared, unless some have to choose among averages or flips."""
        recipe = self.session.recipe
        folds = recipe.strategy == "auto" and self.start.head is None
        chooses = recipe.average != "none" or recipe.flip_tta
        return fine_tune_rows(self.dataset, recipe.seed, hold_out=chooses or not folds)

    def _solve(
        self, features: Features, train: np.typing.NDArray[np.int64], *, alternatives: bool = True
    ) -> LinearProbe:
        """A head on the images of these indices; a validation split may choose.

        Args:
            alternatives: whether other choices of stages are scored for the reader.
        """
        recipe, dataset = self.session.recipe, self.dataset
        held = dataset.indices("validation")
        training = TrainingRows(
            rows=train,
            labels=dataset.labels[train],
            groups=dataset.groups()[train],
            classes=len(dataset.classes),
            validation_rows=held,
            validation_labels=dataset.labels[held],
        )
        layers = layer_choices(self.start.backbone, recipe.layers)
        return fit_linear_probe(
            features,
            training,
            layers=layers if alternatives else {recipe.layers: layers[recipe.layers]},
            kind=recipe.head,
            balance=recipe.balance,
            progress=self.session.progress("solve head", unit="%") if alternatives else no_progress,
        )

    def _fine_tune(self, features: Features, rows: FineTuneRows, job: Job) -> FineTuneOutcome:
        """From a head that has not seen the held-out images: that of the run it continues, or one solved here."""
        head = StartingHead(lambda train: self._solve(features, train, alternatives=False).head, self.start.head)
        outcome = fine_tune(self.session, self.start.backbone, head, self.dataset, rows=rows, job=job)
        if outcome.fine_tuned is None:
            self.start.backbone.flip_tta = self.start.flip_tta  # it predicts as it did before
        return outcome

    @property
    def _is_probe(self) -> bool:
        """Whether the classifier is the probe itself: nothing was fine-tuned, and no run is continued."""
        return self.start.head is None and (self.fine_tuned is None or self.fine_tuned.fine_tuned is None)

    def _head(self) -> Head:
        """The fine-tuned head; where there is none, that of the run it continues, as it was, else the probe's."""
        if self.fine_tuned is not None and self.fine_tuned.fine_tuned is not None:
            return self.fine_tuned.fine_tuned.head
        return replace(self.start.head or self.probe.head, flip_tta=self.start.flip_tta is not None)

    def _evaluate(self, given: Features) -> Evaluation:
        """The head on its own features; the baselines on those of the backbone as it was given."""
        dataset, classes = self.dataset, self.dataset.classes
        test, train, labels = dataset.indices("test"), dataset.indices("train"), dataset.labels
        stages = self.probe.head.stages
        test_view = given.view(test, stages)
        neighbours, k = predict_neighbours(given.view(train, stages), labels[train], test_view, classes=len(classes))
        about = f"vote of the {k} most similar training images, no training"
        baselines = {"kNN": BaselinePredictions(neighbours, about)}
        if not self._is_probe:
            alone = self.probe.head.probabilities_of(test_view).argmax(1)
            baselines["probe"] = BaselinePredictions(alone, "the head alone, on the backbone before fine-tuning")
        unknown: dict[str, int] = {}
        for i in dataset.indices("unknown"):
            label = dataset.samples[i].label or ""
            unknown[label] = unknown.get(label, 0) + 1
        groups = dataset.groups()
        return evaluate_probabilities(
            self.head.probabilities_of(self.extracted.features.view(test, self.head.stages)),
            EvaluatedImages(
                labels=labels[test],
                classes=classes,
                names=[dataset.samples[i].name for i in test],
                groups=[str(groups[i]) for i in test],
                leaked=dataset.leaked_test(),
                unknown=unknown,
            ),
            train_counts=np.bincount(labels[train], minlength=len(classes)).tolist(),
            baselines=baselines,
            held_out=self.probe.held_out_accuracy if self._is_probe else None,
            seed=self.session.recipe.seed,
        )
