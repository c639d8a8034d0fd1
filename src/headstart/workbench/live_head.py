"""LiveHead: the head solved again after each change of a folder, with an accuracy that leaves groups out.

What `train --strategy probe` does between two images that arrive: features come from the same cache, the head from the
same closed form. No image is set aside: every image is scored by a head that has not seen its group.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headstart import runtime
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.classifier.familiarity import FamiliarImages, Familiarity, fit_familiarity
from headstart.data.bursts import find_groups
from headstart.data.image_index import ImageFacts, ImageIndex
from headstart.data.image_set import Sample
from headstart.data.images import OpenedImage
from headstart.data.split import merge_groups
from headstart.engines.choose import Engine
from headstart.errors import DataError
from headstart.evaluation.conformal import fit_conformal
from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import Interval, share_interval
from headstart.features.extract import ImageFiles, extract_features, open_store
from headstart.features.matrix import Features, FeatureView
from headstart.heads.knn import NEIGHBOURS, vote
from headstart.heads.linear_probe import LinearProbe, TrainingRows, fit_linear_probe
from headstart.wording import counted, listed
from headstart.workbench.arrivals import Arrivals
from headstart.workbench.session import Session
from headstart.workbench.starting_point import StartingPoint, choose_backbone
from headstart.workbench.training_plan import layer_choices

_COMPARED = 4000  # images between which all similarities are kept at once, 128 MB; above, no neighbours vote
_MOST_NAMED = 5
_MANY = 48  # waiting images that the first engine is chosen for; one that is ready at once, since someone is waiting
_FAR_MORE = 10  # times as many images as the engine was chosen for: another may be worth what it takes to build

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ClassScore:
    """How many images of a class a head got right that had not seen their group."""

    name: str
    images: int
    groups: int
    recall: Interval | None


@dataclass(frozen=True, eq=False)
class LiveResult:
    """N images and the head that was solved on them.

    Args:
        samples: N. labels: N int64, index into classes. groups: N int64; images of one group are left out together.
        classes: those with images that can be read. empty: the other classes; the head knows nothing of them.
        features: N×D. probe: the head; None where there is too little to learn from, as `missing` says.
        held_out: N×C probabilities by heads that have not seen the image's group; empty without a head.
        neighbours: N int64, the class for which the nearest images of other groups vote; empty where not computed.
        unreadable: name of an image → why it cannot be used. seconds: that solving took. computed: new features.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    labels: Labels
    groups: Labels
    features: Features
    probe: LinearProbe | None
    held_out: NDArray[np.float64]
    neighbours: Labels
    unreadable: dict[str, str]
    missing: str
    seconds: float
    computed: int
    empty: tuple[str, ...] = ()

    @cached_property
    def predicted(self) -> Labels:
        """N int64, the most probable class of each image, left out."""
        found: Labels = self.held_out.argmax(axis=1)
        return found

    @property
    def accuracy(self) -> Interval | None:
        """Share of images that were classified correctly while their group was left out."""
        return None if self.probe is None else self._share(self.predicted)

    @property
    def neighbour_accuracy(self) -> Interval | None:
        """The same of the nearest images of other groups: what features alone can do."""
        return self._share(self.neighbours) if len(self.neighbours) else None

    @property
    def majority(self) -> float:
        """Accuracy of always naming the largest class."""
        return float(np.bincount(self.labels).max() / len(self.labels)) if len(self.labels) else 0.0

    @property
    def group_count(self) -> int:
        """How many independent groups there are."""
        return len(np.unique(self.groups))

    def class_scores(self) -> tuple[ClassScore, ...]:
        """Each class with its recall, in the order of the classes."""
        found = []
        for number, name in enumerate(self.classes):
            own = self.labels == number
            groups = self.groups[own].tolist()
            hits = (self.predicted[own] == number) if self.probe is not None else np.empty(0, dtype=np.bool_)
            recall = share_interval(hits, shared_groups(groups)) if len(hits) else None
            found.append(ClassScore(name, int(own.sum()), len(set(groups)), recall))
        return tuple(found)

    def view(self) -> FeatureView:
        """N×D, as the head takes them.

        Raises:
            DataError: there is no head.
        """
        if self.probe is None:
            raise DataError(
                expected="a head",
                found=self.missing,
                where="live",
                hint="Collect images of at least two classes first.",
            )
        return self.features.view(np.arange(len(self.samples)), self.probe.head.stages)

    def _share(self, predicted: Labels) -> Interval:
        return share_interval(predicted == self.labels, shared_groups(self.groups.tolist()))


class LiveHead:
    """Solves a head on labelled images again and again; one call at a time.

    Args:
        session: its recipe names the backbone, the layers and the kind of head.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._engine: tuple[Engine, int] | None = None  # and the number of images it was chosen for
        self._arrivals = Arrivals(session)

    @cached_property
    def start(self) -> StartingPoint:
        """The backbone.

        Raises:
            BackboneError: it is unknown, or its weights are out of reach.
        """
        return choose_backbone(self.session)

    def solve(
        self, samples: Sequence[Sample], classes: Sequence[str], *, joined: Sequence[Sequence[str]] = ()
    ) -> LiveResult:
        """Features of the images that have none yet, then the head on all of them.

        Args:
            samples: those without one of the labels are left out.
            classes: one without images is no answer of the head; the others are learned without it.
            joined: groups of names of images that belong together, such as near duplicates that an audit found.

        Raises:
            DataError: an image changed while it was read.
        """
        known = set(classes)
        labelled = [sample for sample in samples if sample.label in known]
        facts = self._facts(labelled)
        kept = [i for i, fact in enumerate(facts) if fact.error is None]
        unreadable = {s.name: f.error for s, f in zip(labelled, facts, strict=True) if f.error is not None}
        used = tuple(labelled[i] for i in kept)
        features, computed = self._features(used, tuple(facts[i].content for i in kept))
        seen = {str(sample.label) for sample in used}
        filled, empty = [name for name in classes if name in seen], [name for name in classes if name not in seen]
        number = {name: i for i, name in enumerate(filled)}
        labels = np.array([number[str(sample.label)] for sample in used], dtype=np.int64)
        groups = self._groups(used, [facts[i] for i in kept], joined)
        began = time.perf_counter()
        missing = _too_little(labels, groups, empty)
        probe = None if missing else self._probe(features, labels, groups, classes=len(filled))
        held, neighbours = np.empty((0, len(filled))), np.empty(0, dtype=np.int64)
        if probe is not None:
            held = _softmax(probe.path.held_scores / probe.head.temperature)
            neighbours = _neighbours(features, labels, groups, stages=probe.head.stages)
        return LiveResult(
            samples=used,
            classes=tuple(filled),
            labels=labels,
            groups=groups,
            features=features,
            probe=probe,
            held_out=held,
            neighbours=neighbours,
            unreadable=unreadable,
            missing=missing,
            seconds=time.perf_counter() - began,
            computed=computed,
            empty=tuple(empty),
        )

    def open(self, data: bytes) -> OpenedImage:
        """Decode an image that has just come; `absorb` then need not do so again. Any thread may call it.

        Raises:
            BadImage: it cannot be used.
        """
        return self._arrivals.open(data, replace(self.session.rules, keep_damaged=False))

    def absorb(self) -> int:
        """Compute the features of some images that `open` has decoded; how many, 0: no more wait.

        Before the first of them the backbone is loaded and the engine made, so that both are there when images come.

        Raises:
            BackboneError: the backbone or the engine is not available here. RunError: the disk is full.
        """
        self._engine_for(_MANY)
        return self._arrivals.absorb(self.start, lambda waiting: self._engine_for(waiting).forward)

    def absorb_all(self) -> None:
        """As `absorb`, all images that wait at this moment.

        Raises:
            BackboneError, RunError: as `absorb`.
        """
        left = len(self._arrivals)
        while left > 0:
            left -= self.absorb() or left

    def features_of(self, samples: Sequence[Sample]) -> Features:
        """Features of images with or without labels; those that cannot be read are left out.

        Raises:
            DataError: an image changed while it was read.
        """
        readable = [(s, f.content) for s, f in zip(samples, self._facts(samples), strict=True) if f.error is None]
        return self._features(tuple(s for s, _ in readable), tuple(content for _, content in readable))[0]

    def classifier(self, result: LiveResult) -> Classifier:
        """The head with its backbone, as `train` makes it, on all images of the result, with its doubts.

        It knows which classes cannot be ruled out, and, up to 4,000 images, which images are unlike all of these.

        Raises:
            DataError: there is no head.
        """
        if result.probe is None:
            raise DataError(
                expected="a head",
                found=result.missing,
                where="live",
                hint="Collect images of at least two classes first.",
            )
        backbone, head = self.start.backbone, result.probe.head
        about = {"name": "live", "images": len(result.samples), "classes": list(result.classes)}
        rules = self.session.rules
        card = Card.of(
            backbone,
            head,
            result.classes,
            background=rules.background,
            bit_depth=rules.bit_depth,
            data=about,
            versions=self._versions,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        conformal = fit_conformal(result.held_out, result.labels, result.groups)
        return Classifier(backbone, head, card, familiarity=self._familiarity(result), conformal=conformal)

    @cached_property
    def _versions(self) -> dict[str, str]:
        """Looked up once: that takes as long as solving the head on a hundred images."""
        return runtime.versions()

    def _familiarity(self, result: LiveResult) -> Familiarity | None:
        """None where comparing all images with each other would take longer than solving the head."""
        if len(result.samples) > _COMPARED:
            return None
        recipe, stage = self.session.recipe, self.start.backbone.spec.stages[-1].name
        names = [sample.name for sample in result.samples]
        images = FamiliarImages(np.asarray(result.features[stage]), result.labels, result.groups, names)
        return fit_familiarity(images, stage=stage, rate=recipe.false_rejects, bank=recipe.bank, seed=recipe.seed)

    def _facts(self, samples: Sequence[Sample]) -> Sequence[ImageFacts]:
        index = ImageIndex(runtime.cache_folder())
        try:
            return index.facts(samples, self.session.rules, workers=self.session.workers)
        finally:
            index.close()

    def _groups(
        self, samples: Sequence[Sample], facts: Sequence[ImageFacts], joined: Sequence[Sequence[str]]
    ) -> Labels:
        """N int64: equal files or pixels, bursts, groups of a table, and what an audit found belong together."""
        names = {name: f"{number}" for number, group in enumerate(joined) for name in group}
        groupings: list[Sequence[str | None]] = [
            [fact.content for fact in facts],
            [fact.pixels for fact in facts],
            [names.get(sample.name) for sample in samples],
            *find_groups(samples, self.session.recipe.group_by),
        ]
        return np.array(merge_groups(len(samples), groupings), dtype=np.int64)

    def _features(self, samples: Sequence[Sample], contents: tuple[str, ...]) -> tuple[Features, int]:
        backbone, session = self.start.backbone, self.session
        files = ImageFiles(
            paths=tuple(sample.path for sample in samples),
            names=tuple(sample.name for sample in samples),
            contents=contents,
            rules=session.rules,
        )
        store = open_store(session.cache, backbone, session.rules)
        waiting = len({content for content in contents if content not in store})
        features, extraction = extract_features(
            files,
            backbone,
            self._engine_for(waiting),
            store,
            batch_size=session.recipe.batch_size,
            workers=session.workers,
            progress=session.progress("extract features"),
        )
        return features, extraction.computed

    def _engine_for(self, waiting: int) -> Engine:
        """An engine that is ready at once; once far more images wait than it was chosen for, the best for so many."""
        chosen_for = 0 if self._engine is None else self._engine[1]
        if self._engine is None or waiting > _FAR_MORE * chosen_for:
            many = waiting if waiting > _FAR_MORE * _MANY else _MANY
            engine = self.session.engine(self.start.backbone, many, may_export=many > _MANY)
            self._engine = engine, many
        return self._engine[0]

    def _probe(self, features: Features, labels: Labels, groups: Labels, *, classes: int) -> LinearProbe:
        none = np.empty(0, dtype=np.int64)
        rows = TrainingRows(
            rows=np.arange(len(labels)),
            labels=labels,
            groups=groups,
            classes=classes,
            validation_rows=none,
            validation_labels=none,
        )
        recipe = self.session.recipe
        stages = layer_choices(self.start.backbone, recipe.layers)[recipe.layers]
        layers = {recipe.layers: stages}
        return fit_linear_probe(features, rows, layers=layers, kind=recipe.head, balance=recipe.balance)


def _too_little(labels: Labels, groups: Labels, empty: Sequence[str]) -> str:
    """Why nothing can be learned yet; empty: it can."""
    filled = len(np.unique(labels))
    if filled + len(empty) < 2:
        return "Make at least two classes."
    if filled < 2:
        return f"Add images to {listed(empty, _MOST_NAMED)}."
    independent = [len(np.unique(groups[labels == number])) for number in range(filled)]
    if max(independent) < 2:
        return f"Add images: {counted(len(labels), 'image')} in one group a class cannot be held out."
    return ""


def _neighbours(features: Features, labels: Labels, groups: Labels, *, stages: Sequence[str]) -> Labels:
    """For each image, the class its nearest images of other groups vote for; empty above `_COMPARED` images."""
    if len(labels) > _COMPARED:
        return np.empty(0, dtype=np.int64)
    x = features.view(np.arange(len(labels)), stages).array()
    x -= x.mean(axis=0)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    similar = x @ x.T  # N×N
    similar[groups[:, None] == groups] = -2.0  # below any cosine: taken only where nothing else is left
    counts = np.bincount(labels)
    k = min(NEIGHBOURS, int(counts[counts > 0].min()), len(labels) - 1)
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :k]
    return vote(np.take_along_axis(similar, nearest, axis=1), labels[nearest], int(labels.max()) + 1)


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = grown / grown.sum(axis=1, keepdims=True)
    return found
