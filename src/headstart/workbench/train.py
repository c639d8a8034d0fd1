"""train: from a folder of images to a run with a classifier, an accuracy with its interval, and a report.

scan ▶ audit ▶ split ▶ backbone ▶ features ▶ head ▶ evaluation ▶ files
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from torch import nn

from headstart.advice.learning_curve import Heads, gain_of_second_half
from headstart.backbones.backbone import Backbone
from headstart.classifier.card import Card, check_class_names
from headstart.classifier.classifier import Classifier
from headstart.curation.decisions import find_decisions
from headstart.curation.overlay import Overlay, ReviewedScore, reviewed_score
from headstart.data.dataset import Dataset
from headstart.data.python_source import Source
from headstart.distributed.engine import Cluster, On
from headstart.errors import BackboneError
from headstart.evaluation.evaluate import BaselinePredictions, EvaluatedImages, evaluate_probabilities
from headstart.evaluation.evaluation import Evaluation
from headstart.evaluation.intervals import Interval
from headstart.features.matrix import Features, constant_stages
from headstart.files import free_name, publish_folder, remove, work_folder
from headstart.finetune.auto import check_strategy, idle_options
from headstart.heads.head import Head
from headstart.heads.knn import predict_neighbours
from headstart.heads.linear_probe import LinearProbe, TrainingRows, fit_linear_probe
from headstart.invocation import line
from headstart.options import TrainOptions, takes
from headstart.progress import OnEvent, no_progress, print_event
from headstart.recipe import Recipe
from headstart.tracking.trackers import check_tracker
from headstart.wording import listed
from headstart.workbench.choose_augmentation import choose_augmentation
from headstart.workbench.events import FilesWritten, NextSteps, Plan, Results
from headstart.workbench.fine_tune import FineTuneOutcome, StartingHead, fine_tune, fine_tune_plan
from headstart.workbench.fine_tune_images import FineTuneRows, fine_tune_rows
from headstart.workbench.fit_trust import Trust, TrustInput, fit_trust, measure_trust
from headstart.workbench.job import Job, clear_job
from headstart.workbench.preprocessing_check import check_images
from headstart.workbench.processes import cluster_for, in_first_process, with_processes
from headstart.workbench.run import FEATURES, FILES, Run, out_folder, run_name, run_name_of
from headstart.workbench.session import Extracted, FeatureJob, Session
from headstart.workbench.starting_point import (
    StartingPoint,
    check_backbone,
    check_precision,
    choose_backbone,
    continue_from,
)
from headstart.workbench.track import follow
from headstart.workbench.training_plan import layer_choices, plan_rows
from headstart.workbench.training_result import TrainingResult, WorkersTraining, summary_of
from headstart.workbench.write_run import next_command, write_run

_CHEAP = 1000  # training images: two heads on half of them take a fraction of a second
_PROBE_FEATURES = "probe-features.safetensors"  # of the backbone before it is fine-tuned; not kept


@takes(TrainOptions)
@in_first_process
def train(
    source: Source,
    *,
    out: str | Path | None = None,
    track: str | None = None,
    on: On | None = None,
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
        track: also send the run to `tensorboard`, `mlflow` or `wandb`, epoch by epoch; whatever happens there
            changes nothing here.
        on: where images are read and the head is solved: local (worker processes), ray, spark, or a Cluster; the source
            may then also be Parquet files or webdataset tars, here or at an address. None: this process.
        recipe: where the options start from.
        on_event: called with what happens, see `headstart.progress`; None: silence.
        options: fields of Recipe, such as `backbone="resnet18"`; `backbone` may also be a Backbone of your own.

    Raises:
        HeadstartError: of the kind that says what is wrong: data, backbone, recipe or run.
    """
    command = line("train", source, options={"out": out, "track": track, "on": on, "recipe": recipe, **options})
    own = options.get("backbone")
    own = own if isinstance(own, Backbone) else None
    if own is not None:
        options["backbone"] = own.spec.name
    session = Session(recipe, options, on_event, backbone=own)
    session.command, recipe = command, session.recipe
    check_backbone(session)
    check_strategy(recipe)
    if track is not None:
        check_tracker(track)
    check_precision(session)
    if idle := idle_options(recipe):
        have = "has" if len(idle) == 1 else "have"
        session.notice(f"{', '.join(idle)} {have} no effect with --strategy probe: only the head is trained.")
    cluster = cluster_for(on, recipe)
    if cluster is not None:
        from headstart.workbench.cluster_training import check_recipe  # it needs pyarrow

        check_recipe(session)
    _ = session.rules  # mistakes in --device and --background are found before anything is read
    recipe = session.recipe = recipe if cluster is not None else with_processes(recipe, session.device)
    named = None if out is None else out_folder(out)
    if recipe.review is not None:  # a resumed training may be started in another folder
        session.recipe = recipe.with_options({"review": str(find_decisions(recipe.review).path.absolute())})
    if cluster is not None:
        from headstart.workbench.cluster_job import source_path

        text = source_path(session, source)
        target = named or out_folder(Path("runs") / run_name_of(text))
        finish = _as_it_is if track is None else follow(session, track, target.name)
        return finish(_train_on(session, cluster, text, target))
    path = session.source(source)
    recipe = session.recipe  # with the classes of the source, where it orders them itself
    target = named or out_folder(Path("runs") / run_name(path))
    finish = _as_it_is if track is None else follow(session, track, target.name)
    if recipe.strategy == "probe":
        return finish(_train(session, path, target))
    tracked = None if track is None else (track, session.run_id)
    return finish(work_on(session, Job.begin(target, path, recipe, command=command, tracked=tracked)))


def _as_it_is(run: Run) -> Run:
    return run


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
    if job is None:
        clear_job(target)
    with work_folder(target) as work:
        with session.step("audit"):
            dataset = (overlay := session.overlay(source)).dataset
        check_class_names(dataset.classes)
        session.on_event(summary := summary_of(dataset, source))
        with session.step("backbone"):
            origin = None if job is None else job.origin
            start = choose_backbone(session) if origin is None else continue_from(Run.load(origin))
            check = check_images(session, start, dataset)
            start = replace(start, backbone=session.in_precision(start.backbone, dataset))
        if job is not None:
            job.pin(dataset.fingerprint(), start.backbone.fingerprint, force=force)
        fit = _Fit(session, dataset, start, work, job)
        fit.run()
        result = fit.result(str(source), free_name(target), summary=summary, check=check, overlay=overlay)
        with session.step("write"):
            write_run(session, work, result)
        if job is not None:
            job.seal(work)
        folder = publish_folder(work, target)
    _report(session, result, folder)
    return Run.load(folder, module=_own_network(session, start))


def _train_on(session: Session, cluster: Cluster, source: str, target: Path) -> Run:  # as `_train`, and where
    """As `_train` for the head alone, with images and statistics on workers."""
    from headstart.workbench.cluster_training import ClusterTraining  # it needs pyarrow

    clear_job(target)
    with work_folder(target) as work, cluster.start() as engine:
        with session.step("backbone"):
            training = ClusterTraining(session, cluster, engine, source)
        with session.step("features"):
            dataset = (overlay := training.extract()).dataset
        check_class_names(dataset.classes)
        session.on_event(summary := summary_of(dataset, source))
        fit = _Fit(session, dataset, training.start, work, None)
        fit.run_on(training)
        result = fit.result(source, free_name(target), summary=summary, check=training.check, overlay=overlay)
        with session.step("write"):
            training.write_files(fit.evaluation)
            write_run(session, work, result)
            training.write_bad(work)
        folder = publish_folder(work, target)
    _report(session, result, folder)
    return Run.load(folder, module=_own_network(session, training.start))


def _report(session: Session, result: TrainingResult, folder: Path) -> None:
    trust, basis = result.trust.sentences, result.basis
    session.on_event(Results(result.evaluation, result.warnings(), result.selection, trust=trust, basis=basis))
    session.on_event(NextSteps(tuple(result.next_steps())))
    written = tuple(name for name in FILES if (folder / name).exists())
    session.on_event(FilesWritten(folder, written, next_command(folder)))


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
    trust: Trust
    fine_tuned: FineTuneOutcome | None = None
    second_half: Interval | None = None

    def __init__(
        self, session: Session, dataset: Dataset, start: StartingPoint, work: Path, job: Job | None
    ) -> None:  # five values that belong to this one training
        self.session, self.dataset, self.start, self.work, self.job = session, dataset, start, work, job

    def run(self) -> None:
        """Do it all; the results are the attributes."""
        if self.job is not None:
            choose_augmentation(self.session, self.dataset, self.start.backbone)
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
        with self.session.step("familiarity"):
            self.trust = self._trust(self._trust_input(rows))
        with self.session.step("evaluation"):
            self.evaluation = self._evaluate(given)
            self.second_half = self._second_half(given)
        del given
        remove(self.work / _PROBE_FEATURES)

    def run_on(self, training: WorkersTraining) -> None:
        """Do it with features and statistics of workers; the results are the attributes."""
        self.plan = Plan(training.plan())
        self.session.on_event(self.plan)
        with self.session.step("gather features"):
            self.extracted = training.features(self.work / FEATURES)
        self._check_features(self.extracted.features)
        with self.session.step("head"):
            self.probe = training.solve()
        self.head = self._head()
        with self.session.step("familiarity"):
            self.trust = self._trust(self._trust_input(None))
        with self.session.step("evaluation"):
            self.evaluation = self._evaluate(self.extracted.features)
            if training.leaves_out:  # a head of half the images is compared with one of all but an image
                self.second_half = self._second_half(self.extracted.features)

    def result(self, source: str, folder: Path, **found: Any) -> TrainingResult:
        """All of it as one value.

        Args:
            found: summary, check and overlay of the images, which were there before.
        """
        return TrainingResult(
            source=source,
            folder=folder,
            start=self.start,
            plan=self.plan,
            extracted=self.extracted,
            probe=self.probe,
            fine_tuned=self.fine_tuned,
            head=self.head,
            evaluation=self.evaluation,
            reviewed=self.reviewed_score(found["overlay"]),
            trust=self.trust,
            second_half=self.second_half,
            **found,
        )

    def _check_features(self, features: Features) -> None:
        constant, backbone = constant_stages(features), self.start.backbone
        if not constant or len(set(features.contents)) < 2:
            return
        usable = [stage for stage in backbone.spec.choose_stages(self.session.recipe.layers) if stage not in constant]
        if usable:
            gives = "gives" if len(constant) == 1 else "give"
            self.session.notice(f"Constant features: {listed(constant, 6)} {gives} the same numbers for all images.")
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
        return self.start.head is None and not self._is_fine_tuned

    @property
    def _is_fine_tuned(self) -> bool:
        return self.fine_tuned is not None and self.fine_tuned.fine_tuned is not None

    def _head(self) -> Head:
        """The fine-tuned head; where there is none, that of the run it continues, as it was, else the probe's."""
        if self.fine_tuned is not None and self.fine_tuned.fine_tuned is not None:
            return self.fine_tuned.fine_tuned.head
        return replace(self.start.head or self.probe.head, flip_tta=self.start.flip_tta is not None)

    def reviewed_score(self, overlay: Overlay) -> ReviewedScore | None:
        """The accuracy by the decisions about test images, beside that by their labels."""
        dataset, test = self.dataset, self.dataset.indices("test")
        if not overlay.test:
            return None
        return reviewed_score(
            self.head.probabilities_of(self.extracted.features.view(test, self.head.stages)).argmax(axis=1),
            dataset.labels[test],
            decided=[overlay.test.get(int(i)) for i in test],
            classes=dataset.classes,
            groups=dataset.groups()[test],
        )

    def _trust(self, given: TrustInput) -> Trust:
        """Thresholds of the new classifier; one that continues a run and stays as it was keeps its own."""
        before = None if self._is_fine_tuned or self.start.head is None else self.start.classifier
        if before is None:
            trust = fit_trust(given, self.session.recipe)
        else:
            none = "" if before.conformal is not None else "the classifier it continues had none"
            trust = Trust(before.familiarity, before.conformal, none)
        backbone = self.start.backbone
        card = Card.of(backbone, self.head, self.dataset.classes)
        model = Classifier(backbone, self.head, card, familiarity=trust.familiarity, conformal=trust.conformal)
        return replace(trust, evaluation=measure_trust(self.session, given, trust, model=model))

    def _trust_input(self, rows: FineTuneRows | None) -> TrustInput:
        trained, outcome = rows if self._is_fine_tuned else None, self.fine_tuned
        is_as_judged = outcome is not None and outcome.fine_tuned is not None and outcome.fine_tuned.from_folds
        judgement = outcome.plan.judgement if outcome is not None and is_as_judged else None
        return TrustInput(
            dataset=self.dataset,
            features=self.extracted.features,
            stage=self.start.backbone.spec.stages[-1].name,
            probe=self.probe,
            head=self.head if self._is_fine_tuned else None,
            trained=None if trained is None else trained.train,
            held_out=None if trained is None else trained.held_out,
            from_folds=None if judgement is None else judgement.conformal,
        )

    def _second_half(self, given: Features) -> Interval | None:
        """What the second half of the training images gained; None where it would take long, or says little."""
        path, train = self.probe.path, self.dataset.indices("train")
        is_default = self._is_probe and self.probe.head.kind == "ridge" and self.session.recipe.balance == "none"
        if not is_default or path.held_groups is None or len(train) > _CHEAP:
            return None
        view = given.view(train, self.probe.head.stages)
        heads = Heads(view, self.dataset.labels[train], self.dataset.groups()[train], len(self.dataset.classes))
        return gain_of_second_half(heads, path.held_scores.argmax(1) != path.held_labels, seed=self.session.recipe.seed)

    def _evaluate(self, given: Features) -> Evaluation:
        """The head on its own features; the baselines on those of the backbone as it was given."""
        dataset, classes = self.dataset, self.dataset.classes
        test, train, labels = dataset.indices("test"), dataset.indices("train"), dataset.labels
        stages = self.probe.head.stages
        test_view = given.view(test, stages)
        known = given.view(train, stages)
        nearest, about = predict_neighbours(known, labels[train], test_view, classes=len(classes))
        baselines = {"kNN": BaselinePredictions(nearest, about)}
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
