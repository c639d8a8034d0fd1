"""Session: one call of a verb: its recipe, cache, device, workers and events, and what is made with them."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.backbones.preprocess import Preprocess
from headstart.curation.decisions import Decisions, find_decisions
from headstart.curation.overlay import Overlay, lay_over
from headstart.data.batches import PixelBatch, pixel_batches
from headstart.data.dataset import Dataset, load_dataset, rules_of
from headstart.data.image_set import Sample
from headstart.data.images import ImageRules
from headstart.data.python_source import Source, is_path, keep_source, kept_fault
from headstart.engines.bfloat16 import attach_bfloat16
from headstart.engines.choose import FEW, Engine, choose_engine
from headstart.engines.forward import Forward
from headstart.engines.int8 import CALIBRATION_IMAGES, CalibrationImages, quantize
from headstart.errors import DataError, RecipeError
from headstart.features.cache import FeatureCache, FeatureStore
from headstart.features.extract import Extraction, ImageFiles, extract_features, open_store
from headstart.features.matrix import Features
from headstart.inspection.inspected_images import InspectedImages
from headstart.progress import Detail, Event, Notice, OnEvent, ProgressReporter, Working, silent
from headstart.recipe import Recipe
from headstart.source_layout import SourceLayout
from headstart.wording import counted
from headstart.workbench.run import check_not_run

SILENCE = 5.0  # seconds without an event after which a step gives a sign of life
_BATCH = 32  # images decoded at once when they are read into memory


@dataclass(frozen=True)
class Extracted:
    """Features of a dataset, how they were computed, and by which engine."""

    features: Features
    extraction: Extraction
    engine: Engine


@dataclass(frozen=True)
class FeatureJob:
    """What extraction will do: the files, the cache's store for them, how many images wait, and the chosen engine."""

    backbone: Backbone
    files: ImageFiles
    store: FeatureStore
    waiting: int
    engine: Engine


class Session:
    """Makes datasets, features and images in memory by one recipe, and reports what happens.

    Args:
        recipe: of this call; None: the defaults. options: fields of the recipe to change.
        on_event: called with each event; None: silence.
        backbone: the user's own, in place of the one that the recipe names.

    Attributes:
        seconds: name of each finished step → how long it took.
        command: the call that it does, one line; empty where nobody says.

    Raises:
        RecipeError: an option is unknown or not allowed.
    """

    def __init__(
        self,
        recipe: Recipe | None = None,
        options: Mapping[str, object] | None = None,
        on_event: OnEvent | None = None,
        *,
        backbone: Backbone | None = None,
    ) -> None:
        given: list[tuple[object, type]] = [(recipe, Recipe), (options, Mapping), (backbone, Backbone)]
        for value, kind in given:
            if value is not None and not isinstance(value, kind):
                expected = f"a {kind.__name__} or None"
                raise RecipeError(
                    expected=expected,
                    found=type(value).__name__,
                    where="headstart.Session",
                    hint="Leave it out for the usual one.",
                )
        self.backbone = backbone
        self.recipe = (recipe or Recipe()).with_options(options or {})
        self.seconds: dict[str, float] = {}
        self.command, self.run_id = "", secrets.token_hex(8)  # trackers know the run by it
        self._on_event = on_event or silent
        self._lock = threading.Lock()  # signs of life come from a second thread
        self._last_event = time.monotonic()
        self._going_on: list[tuple[str, float]] = []  # names of what is watched, the innermost last, and when it began

    def on_event(self, event: Event) -> None:
        """Report an event."""
        with self._lock:
            self._last_event = time.monotonic()
            self._on_event(event)

    def listen(self, wrap: Callable[[OnEvent], OnEvent]) -> None:
        """Put a listener before the one that events go to."""
        self._on_event = wrap(self._on_event)

    def notice(self, text: str) -> None:
        """Report a sentence to read."""
        self.on_event(Notice(text))

    def detail(self, text: str) -> None:
        """Report a sentence for those who want to know more."""
        self.on_event(Detail(text))

    def progress(self, step: str, unit: str = "images") -> ProgressReporter:
        """A function to call with (done, total) during a step."""
        return ProgressReporter(self.on_event, step, unit)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step, and give signs of life while it runs."""
        began = time.perf_counter()
        with self.signs_of_life(name):
            yield
        runtime.return_memory()
        seconds = time.perf_counter() - began
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.detail(f"{name}: {seconds:.1f} s")

    @contextlib.contextmanager
    def signs_of_life(self, name: str) -> Iterator[None]:
        """Report every five seconds that something goes on under this name, unless other events come.

        Inside another one, under this name while it lasts.
        """
        own = (name, time.perf_counter())
        self._going_on.append(own)
        try:
            if len(self._going_on) > 1:  # somebody watches already
                yield
                return
            finished = threading.Event()

            def watch() -> None:
                while not finished.wait(SILENCE / 5):
                    if time.monotonic() - self._last_event >= SILENCE:
                        now, began = self._going_on[-1]
                        self.on_event(Working(now, time.perf_counter() - began))

            watcher = threading.Thread(target=watch, name=f"watch {name}", daemon=True)
            watcher.start()
            try:
                yield
            finally:
                finished.set()
                watcher.join()
        finally:
            self._going_on.remove(own)  # not the last one: another thread may have begun something since

    @cached_property
    def device(self) -> str:
        """Name of the torch device.

        Raises:
            RecipeError: it is not in this machine.
        """
        return runtime.choose_device(self.recipe.device)

    def _device_of(self, backbone: Backbone) -> str:
        """Where a backbone runs: the processor where nothing else is asked for and nothing else can run int8."""
        is_int8 = backbone.low_precision is not None and bool(backbone.low_precision.model)
        return "cpu" if is_int8 and self.recipe.device == "auto" else self.device

    @cached_property
    def workers(self) -> int:
        """Threads that decode images."""
        return self.recipe.workers or runtime.cores()

    @cached_property
    def cache(self) -> FeatureCache:
        """The user's cache of features under the recipe's limit."""
        return FeatureCache(runtime.cache_folder() / "features", self.recipe.cache_limit_gb * 1e9)

    @property
    def rules(self) -> ImageRules:
        """How the recipe opens images.

        Raises:
            RecipeError: the background is not a colour.
        """
        return rules_of(self.recipe)

    def source(self, source: Source) -> Path:
        """The path of a data set; one that is given as values is first kept as a table in the cache.

        Where it has an order of classes, the recipe takes it, unless that names its own.

        Raises:
            DataError: it is no data set.
        """
        cache = runtime.cache_folder()
        if is_path(source):
            if isinstance(source, str) and not source.strip():  # a path would be the folder one is in
                hint = "Give a folder or a table; . is the folder you are in."
                raise DataError(expected="the name of a data set", found="an empty text", where="source", hint=hint)
            fault = kept_fault(Path(source), cache)
            if fault:
                hint = "It was given as values and kept in the cache: give it again."
                raise DataError(expected="the kept data set", found=fault, where=source, hint=hint)
            return Path(source)
        kept = keep_source(source, cache, layout=self.layout, progress=self.progress("keep images"))
        if len(kept.classes) > 1 and not self.recipe.classes:
            self.recipe = self.recipe.with_options({"classes": kept.classes})
        for text in kept.notes:
            self.notice(text)
        if kept.in_memory:
            where, size = kept.table.parent, f"{kept.size_bytes / 1e6:,.1f} MB"
            what = f"{counted(kept.in_memory, 'image')} from memory kept in {where} ({size}), to be read again;"
            self.notice(f"{what} headstart cache --clear removes them.")
        return kept.table

    def dataset(
        self,
        source: Source,
        *,
        least_classes: int = 2,
        rules: ImageRules | None = None,
        known: Sequence[str] = (),
        stop: bool = True,
        reviewed: bool = False,
    ) -> Dataset:
        """The audited images of a source; see `load_dataset` and, for one that is no path, `keep_source`.

        Args:
            reviewed: audit them with the labels of the recipe's review; else `overlay` applies it, after the split.

        Raises:
            DataError: there is no usable set, or the source is a run.
        """
        path = self.source(source)
        check_not_run(path)
        return load_dataset(
            path,
            self.recipe,
            progress=self.progress,
            least_classes=least_classes,
            rules=rules,
            known=known,
            stop=stop,
            decided={key: one.label for key, one in self.decisions.by_content.items()} if reviewed else None,
        )

    @cached_property
    def decisions(self) -> Decisions:
        """Those that the recipe's `review` names; none without it.

        Raises:
            RunError: there are none, or their file is damaged.
        """
        if self.recipe.review is None:
            return Decisions()
        found = find_decisions(self.recipe.review).read()
        if found.warning:
            self.notice(found.warning)
        return found

    def overlay(self, source: Source) -> Overlay:
        """The audited images of a source with their split, under the decisions of the recipe's `review`.

        Raises:
            DataError: as `dataset`, no honest test is possible, or the decisions do not fit these images.
        """
        dataset = self.dataset(source).with_split(
            self.recipe.test_share, self.recipe.seed, stable=self.recipe.stable_split
        )
        found = lay_over(dataset, self.decisions)
        if self.recipe.review is not None:
            self.notice(found.summary)
        return found

    @property
    def layout(self) -> SourceLayout:
        """How the recipe reads tables and folders.

        Raises:
            RecipeError: the delimiter or the level of the class is none.
        """
        return self.recipe.layout

    def engine(self, backbone: Backbone, waiting: int, *, may_export: bool = True) -> Engine:
        """The engine of the recipe for so many images; `may_export`: see `choose_engine`.

        Raises:
            BackboneError: it is not available here.
        """
        with self.signs_of_life("prepare engine"):
            return choose_engine(
                backbone,
                name=self.recipe.engine,
                device=self._device_of(backbone),
                waiting=waiting,
                batch_size=self.recipe.batch_size,
                cache_folder=runtime.cache_folder(),
                may_export=may_export,
            )

    def forward(self, backbone: Backbone, waiting: int) -> Forward | None:
        """The engine's function over pixels; None for a few images on the CPU, which the network takes as it is.

        Raises:
            BackboneError: the engine is not available here.
        """
        if waiting < FEW and self.recipe.engine == "auto" and self._device_of(backbone) == "cpu":
            return None
        return self.engine(backbone, waiting).forward

    def in_precision(self, backbone: Backbone, dataset: Dataset) -> Backbone:
        """The backbone in the recipe's precision: itself in float32, else a copy.

        int8 is calibrated on training images, at most 64, drawn by the seed.

        Raises:
            BackboneError: it cannot be had here. DataError: no image could be read.
        """
        precision = self.recipe.precision
        if precision == "float32":
            return backbone
        if precision == "bfloat16":
            twin = backbone.copy()
            attach_bfloat16(twin)
            return twin
        train = dataset.indices("train")
        return self.quantized(
            backbone,
            [dataset.samples[i] for i in train],
            [dataset.contents[i] for i in train],
            rules=dataset.rules,
        )

    def quantized(
        self, backbone: Backbone, training: Sequence[Sample], contents: Sequence[str], *, rules: ImageRules
    ) -> Backbone:
        """A copy of the backbone in int8, calibrated on at most 64 of the training images, drawn by the seed.

        Args:
            training: all of them, in the order of the data set. contents: their hashes.

        Raises:
            BackboneError: it cannot be quantised here. DataError: no image could be read.
        """
        order = np.random.default_rng(self.recipe.seed).permutation(len(training))
        chosen = sorted(order[:CALIBRATION_IMAGES].tolist())
        samples = [training[i] for i in chosen]

        def read() -> torch.Tensor:
            pixels, kept = self.pixels(samples, backbone.preprocess, rules, step="calibrate int8")
            if not kept:
                raise DataError(
                    expected="training images to calibrate int8 with",
                    found="none that can be read",
                    where=samples[0].path,
                    hint="headstart audit names what is wrong with each image.",
                )
            return backbone.preprocess.normalise(pixels)

        images = CalibrationImages(tuple(contents[i] for i in chosen), read)
        return quantize(backbone, images, cache_folder=runtime.cache_folder())

    def feature_job(self, dataset: Dataset, backbone: Backbone) -> FeatureJob:
        """Look up what the cache has of a dataset, and choose the engine for the rest."""
        files = ImageFiles(
            paths=tuple(sample.path for sample in dataset.samples),
            names=tuple(sample.name for sample in dataset.samples),
            contents=dataset.contents,
            rules=dataset.rules,
        )
        return self.job_of(files, backbone)

    def job_of(self, files: ImageFiles, backbone: Backbone) -> FeatureJob:
        """As `feature_job`, of images whose contents are known."""
        store = open_store(self.cache, backbone, files.rules)
        waiting = len({content for content in files.contents if content not in store})
        engine = self.engine(backbone, waiting)
        return FeatureJob(backbone, files, store, waiting=waiting, engine=engine)

    def features(self, job: FeatureJob, into: Path | None = None) -> Extracted:
        """Features of a dataset: cached ones read, the others computed.

        Args:
            into: a file to hold the matrix; None: see `extract_features`.

        Raises:
            DataError: an image can no longer be read. RunError: the disk is full.
        """
        features, extraction = extract_features(
            job.files,
            job.backbone,
            job.engine,
            job.store,
            into=into,
            batch_size=self.recipe.batch_size,
            workers=self.workers,
            progress=self.progress("extract features"),
        )
        cached = len(set(job.files.contents)) - job.waiting
        engine = job.engine
        computed = f"; {job.waiting:,} computed by the engine {engine.name} on {engine.device}" if job.waiting else ""
        self.detail(f"features: {cached:,} different images from the cache in {self.cache.folder}{computed}")
        self.cache.shrink(keep=job.store)
        return Extracted(features, extraction, job.engine)

    def pixels(
        self, samples: Sequence[Sample], preprocess: Preprocess, rules: ImageRules, *, step: str = ""
    ) -> tuple[torch.Tensor, list[int]]:
        """Prepared images N×3×S×S uint8 in memory, and which of the samples they are; unreadable ones are reported.

        Args:
            step: its progress is reported under this name; empty: not at all.
        """
        progress = self.progress(step) if step else None
        pictures = [torch.empty(0, 3, preprocess.crop, preprocess.crop, dtype=torch.uint8)]
        kept: list[int] = []
        done = 0
        for batch in self.batches([sample.path for sample in samples], preprocess, rules):
            pictures += [batch.pixels] if batch.positions else []
            kept += batch.positions
            done += len(batch.positions) + len(batch.failures)
            for position, reason in batch.failures.items():
                self.notice(f"{samples[position].name} is left out: {reason}")
            if progress is not None:
                progress(done, len(samples))
        return torch.cat(pictures), kept

    def batches(
        self,
        paths: Sequence[Path],
        preprocess: Preprocess,
        rules: ImageRules,
        *,
        contents: Sequence[str] | None = None,
    ) -> Iterator[PixelBatch]:
        """Prepared images in batches, decoded by the session's workers; `contents`: see `pixel_batches`."""
        return pixel_batches(
            paths, preprocess.prepare, rules=rules, batch_size=_BATCH, workers=self.workers, contents=contents
        )

    def read(
        self, samples: Sequence[Sample], preprocess: Preprocess, rules: ImageRules, *, classes: Sequence[str] = ()
    ) -> InspectedImages:
        """Samples as a network sees them, for inspection; unreadable ones are reported and left out.

        Args:
            classes: of the model, the order of the labels; empty: those that occur.
        """
        prepared, kept = self.pixels(samples, preprocess, rules)
        found = [samples[i] for i in kept]
        known = tuple(classes) or tuple(sorted({one.label for one in found if one.label is not None}))
        number = {name: i for i, name in enumerate(known)}
        labels = [number.get(one.label or "", -1) for one in found]
        labelled = bool(found) and min(labels) >= 0
        return InspectedImages(
            pixels=preprocess.normalise(prepared),
            names=tuple(one.name for one in found),
            prepared=prepared,
            labels=torch.tensor(labels) if labelled else None,
            classes=known if labelled else (),
            paths=tuple(one.path for one in found),
        )
