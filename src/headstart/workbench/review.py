"""review: images of a run whose labels are likely wrong, and what a person decides about them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headstart.curation.decisions import ACTIONS, FILE, Decision, DecisionFile, Decisions
from headstart.curation.label_errors import Margins, expected_errors, label_margins
from headstart.curation.what_if import WhatIf, what_if
from headstart.data.worker_sources import training_words
from headstart.errors import DataError, RecipeError, RunError, near
from headstart.heads.knn import nearest
from headstart.heads.regularization_path import LabelledFeatures, Labels, Matrix
from headstart.heads.revised_ridge import RevisableRidge
from headstart.heads.ridge import solve_ridge
from headstart.output_paths import PAGES, writable_file
from headstart.plain import Plain
from headstart.progress import Notice, OnEvent, print_event, silent
from headstart.public_api import public_api, public_methods
from headstart.reports.review_page import ReviewPage, SuspectOnPage, write_review
from headstart.wording import counted, listed
from headstart.workbench.events import FilesWritten
from headstart.workbench.run import Run
from headstart.workbench.run_rows import RunRows, paths_of

PAGE = "review.html"
MOST = 100
"""Suspects that are listed: more than anybody looks through at once; the next ones come after these are decided."""
NEIGHBOURS = 3  # images of each class beside a suspect: enough to see what the class looks like
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Suspect(Plain):
    """An image whose label is likely wrong.

    Args:
        image: its name in the data set. path: its file now; None where it is not found.
        label, suggested: class names. margin: by how much the suggested class wins, on a scale where a label is 2.
        split: `train`, `validation` or `test`.
        like_label, like_suggested: names of the most similar training images of both classes, nearest first.
        decision: what holds for it; None where nothing was decided.
    """

    image: str
    path: Path | None
    label: str
    suggested: str
    margin: float
    split: str
    like_label: tuple[str, ...]
    like_suggested: tuple[str, ...]
    decision: Decision | None

    @property
    def neighbours(self) -> dict[str, tuple[str, ...]]:
        """Class → its most similar training images; those of the label first."""
        return {self.label: self.like_label, self.suggested: self.like_suggested}


@public_methods("decide", "undo", "what_if", "write_page")
class Review:
    """The review of a run: suspects, decisions, and what they would change.

    Attributes:
        run: that is reviewed. expected: estimated number of wrong labels among the training images.
        notes: what else to know, sentences.
    """

    def __init__(self, run: Run, *, most: int = MOST, on_event: OnEvent | None = None) -> None:
        self.run, self._most, self._on_event = run, most, on_event or silent
        self.rows = RunRows.of(run)
        self._file = DecisionFile(run.folder / FILE)
        self._paths, missing = paths_of(run, self.rows.names)
        self._train = self.rows.indices("train")
        stages = run.record.get("head", {}).get("stages") or self.rows.features.stages[-1:]
        known = set(self.rows.features.stages)
        self._stages = tuple(stage for stage in stages if stage in known) or self.rows.features.stages[-1:]
        view = self.rows.features.view(self.rows.at[self._train], self._stages)
        self._data = LabelledFeatures.of(
            view, self.rows.labels[self._train], len(self.rows.classes), groups=self.rows.groups[self._train]
        )
        path = solve_ridge(self._data)
        self._lambda = float(path.lambdas[path.best])
        self._weight, self._bias = path.weight, path.bias
        self.expected = expected_errors(path.held_scores, path.held_labels)
        self._scores = self._all_scores(path.held_scores)
        self._known: dict[int, tuple[Labels, Matrix]] = {}  # class → its training images, once asked for
        self._neighbours: dict[int, dict[int, tuple[str, ...]]] = {}
        kind = run.record.get("recipe", {}).get("head", "ridge")
        kernel = f"The classifier's head is {kind}; suspects are ranked by ridge on the same features."
        self.notes = tuple(note for note in (missing, kernel if kind != "ridge" else "") if note)

    @property
    def decisions(self) -> Decisions:
        """What holds now."""
        return self._file.read()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.rows.classes

    @property
    def file(self) -> Path:
        """Where decisions are kept."""
        return self._file.path

    @property
    def suspects(self) -> tuple[Suspect, ...]:
        """Images that another class wins, the most suspicious first; at most `most` of each split, training first."""
        held = self.decisions.by_content
        return tuple(self._suspect(i, held) for split in _SPLITS for i in self._ranked(split)[: self._most])

    def count(self, split: str = "train") -> int:
        """How many images of a split another class wins."""
        return len(self._ranked(split))

    def decide(self, image: str | Path, action: str, label: str = "") -> Decision:
        """Note what is true about an image; it is on the disk when this returns, and changes no image.

        Args:
            image: its name in the data set, its path, or a unique end of its name; any image of the run.
            action: `relabel`, `drop` (do not train on it) or `keep` (its label is right).
            label: with `relabel`: the class; empty: the one that the review suggests.

        Raises:
            RunError: there is no such image, or the decision cannot be written.
            RecipeError: the action or the class is unknown, or it is the label that the image has.
        """
        if action not in ACTIONS:
            hint = near(action, ACTIONS)
            raise RecipeError(
                expected=f"an action: {', '.join(ACTIONS)}", found=repr(action), where="action", hint=hint
            )
        i = self._find(image)
        if action == "relabel":
            label = label or self.rows.classes[int(self._margins.suggested[i])]
            self._check_label(i, label)
        elif label:
            raise RecipeError(
                expected=f"no class with {action}", found=repr(label), where="label", hint="Leave the label out."
            )
        old = self._label(i)
        decision = Decision(sha256=self.rows.contents[i], image=self.rows.names[i], action=action, old=old, new=label)
        self._file.append(decision)
        return decision

    def undo(self) -> Decision | None:
        """Take back the last decision that holds; None where there is none."""
        return self._file.undo()

    def what_if(self, *, drop: Iterable[str] = (), relabel: Mapping[str, str] | None = None) -> WhatIf:
        """The head that the decisions so far, and these, would give, exactly, at the same regularization strength.

        Nothing is written. Only training images count: how decisions change the test accuracy is not said here, for a
        decision must not be made for its sake.

        Args:
            drop: images to leave out. relabel: image → class.

        Raises:
            RunError: there is no such image. RecipeError: there is no such class.
            DataError: a class would have no image left.
        """
        labels, kept = self._decided()
        for image in drop:
            kept[self._find(image)] = False
        for image, label in (relabel or {}).items():
            i = self._find(image)
            self._check_label(i, label, same=True)
            labels[i], kept[i] = self.rows.classes.index(label), True
        left = np.bincount(labels[self._train][kept[self._train]], minlength=len(self.rows.classes))
        had = np.bincount(self.rows.labels[self._train], minlength=len(self.rows.classes))
        for name, now, was in zip(self.rows.classes, left, had, strict=True):
            if was and not now:
                raise DataError(
                    expected="training images of every class",
                    found=f"none of {name!r}",
                    where="what_if",
                    hint="Keep at least one image of the class.",
                )
        names = tuple(self.rows.names[i] for i in self._train)
        return what_if(self._ridge, labels[self._train], kept[self._train], names=names)

    def write_page(self, path: str | Path, *, most: int = 40) -> Path:
        """Write the suspects, with thumbnails and their neighbours, as one HTML page.

        Args:
            most: suspects of each split on the page.

        Raises:
            RunError: the file cannot be written there.
        """
        shown = [one for split in _SPLITS for one in [s for s in self.suspects if s.split == split][:most]]
        names = {name for one in shown for name in (*one.like_label, *one.like_suggested, one.image)}
        page = ReviewPage(
            title=Path(str(self.run.record["source"])).name or self.run.folder.name,
            run=str(self.run.folder),
            expected=self.expected,
            training=len(self._train),
            counts={split: self.count(split) for split in _SPLITS if len(self.rows.indices(split))},
            decisions=tuple(str(one) for one in self.decisions.by_content.values()),
            suspects=tuple(self._on_page(one) for one in shown),
            apply=self.apply_command,
            notes=(*self.notes, *filter(None, [self.decisions.warning])),
        )
        return write_review(Path(path), page, {name: self._paths[name] for name in names if name in self._paths})

    @property
    def apply_command(self) -> str:
        """The command that trains with the decisions."""
        return shlex.join([*training_words(self.run.record["source"]), "--review", str(self.run.folder)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "run": str(self.run.folder),
            "expected_label_errors": self.expected,
            "images": {split: len(self.rows.indices(split)) for split in _SPLITS},
            "contradicted": {split: self.count(split) for split in _SPLITS},
            "suspects": [one.to_dict() for one in self.suspects],
            "decisions": [one.to_dict() for one in self.decisions.by_content.values()],
            "notes": list(self.notes),
        }

    @cached_property
    def _margins(self) -> Margins:
        return label_margins(self._scores, np.maximum(self.rows.labels, 0))

    @cached_property
    def _ridge(self) -> RevisableRidge:
        return RevisableRidge(self._data, self._lambda)

    def _all_scores(self, held: Matrix) -> Matrix:
        """N×C: of training images left out, of all others by the head of the training images."""
        others = self.rows.features.view(self.rows.at, self._stages)
        scores = np.concatenate([x @ self._weight + self._bias for _, x in others.blocks()])
        scores[self._train] = held
        return scores

    def _ranked(self, split: str) -> Labels:
        rows = self.rows.indices(split)
        rows = rows[self._margins.margin[rows] > 0]
        return rows[np.argsort(-self._margins.margin[rows], kind="stable")]

    def _suspect(self, i: int, held: Mapping[str, Decision]) -> Suspect:
        rows, suggested = self.rows, int(self._margins.suggested[i])
        like = self._like(i)
        return Suspect(
            image=rows.names[i],
            path=self._paths.get(rows.names[i]),
            label=rows.classes[rows.labels[i]],
            suggested=rows.classes[suggested],
            margin=float(self._margins.margin[i]),
            split=rows.splits[i],
            like_label=like[int(rows.labels[i])],
            like_suggested=like[suggested],
            decision=held.get(rows.contents[i]),
        )

    def _like(self, i: int) -> dict[int, tuple[str, ...]]:
        """The most similar training images of the label's class and of the suggested one, of other groups."""
        if i in self._neighbours:
            return self._neighbours[i]
        rows, found = self.rows, dict[int, tuple[str, ...]]()
        for label in (int(rows.labels[i]), int(self._margins.suggested[i])):
            members, x = self._members(label)
            others = rows.groups[members] != rows.groups[i]
            query = rows.features.view(rows.at[[i]], self._stages).array()
            order = nearest(x[others], query, NEIGHBOURS)[1][0] if others.any() else []
            found[label] = tuple(rows.names[members[others][place]] for place in order)
        self._neighbours[i] = found
        return found

    def _members(self, label: int) -> tuple[Labels, Matrix]:
        """The training images of a class, and their features."""
        if label not in self._known:
            members = self._train[self.rows.labels[self._train] == label]
            self._known[label] = members, self.rows.features.view(self.rows.at[members], self._stages).array()
        return self._known[label]

    def pair(self, image: str, label: str) -> tuple[str, str]:
        """An image and its class, where one text IMAGE=CLASS was cut in two at the last sign of equality.

        A name may have such signs itself: those of the run's images and classes say which one is meant.
        """
        pieces = f"{image}={label}".split("=")
        cuts = [("=".join(pieces[:at]), "=".join(pieces[at:])) for at in range(1, len(pieces))]
        return next((cut for cut in ((image, label), *cuts) if self._is_pair(*cut)), (image, label))

    def _is_pair(self, image: str, label: str) -> bool:
        if label not in self.rows.classes:
            return False
        try:
            self._find(image)
        except RunError:
            return False
        return True

    def _find(self, image: str | Path) -> int:
        return self.rows.find(image, root=Path(str(self.run.record["source"])))

    def _label(self, i: int) -> str:
        label = int(self.rows.labels[i])
        return self.rows.classes[label] if label >= 0 else ""

    def _check_label(self, i: int, label: str, *, same: bool = False) -> None:
        if label not in self.rows.classes:
            raise RecipeError(
                expected=f"a class of the run: {listed(self.rows.classes)}",
                found=repr(label),
                where="--relabel",
                hint=near(label, self.rows.classes),
            )
        if label == self._label(i) and not same:
            raise RecipeError(
                expected="another class than its label",
                found=f"{self.rows.names[i]!r} is labelled {label!r} already",
                where="--relabel",
                hint="Where its label is right: --keep IMAGE",
            )

    def _decided(self) -> tuple[Labels, Any]:
        """Labels, and which images are kept, by the decisions that hold."""
        labels, kept, held = self.rows.labels.copy(), np.ones(len(self.rows), dtype=np.bool_), self.decisions.by_content
        for i, content in enumerate(self.rows.contents):
            one = held.get(content)
            if one is not None and one.label is None:
                kept[i] = False
            elif one is not None and one.label in self.rows.classes:
                labels[i] = self.rows.classes.index(one.label)
        return labels, kept

    def _on_page(self, one: Suspect) -> SuspectOnPage:
        run = ["headstart", "review", str(self.run.folder)]
        commands = (
            shlex.join([*run, "--relabel", f"{one.image}={one.suggested}"]),
            shlex.join([*run, "--drop", one.image]),
            shlex.join([*run, "--keep", one.image]),
        )
        return SuspectOnPage(
            image=one.image,
            label=one.label,
            suggested=one.suggested,
            margin=one.margin,
            split=one.split,
            decision="" if one.decision is None else str(one.decision),
            like_label=one.like_label,
            like_suggested=one.like_suggested,
            commands=commands,
        )


@public_api
def review(
    run: str | Path | Run,
    *,
    drop: Sequence[str] = (),
    relabel: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
    undo: bool = False,
    out: str | Path | None = None,
    most: int = MOST,
    on_event: OnEvent | None = print_event,
) -> Review:  # eight: a run, four kinds of decisions, and what to show
    """Find images whose labels are likely wrong, and note decisions about them; no image is changed.

    Each training image is scored by a head that never saw it or its group; one that another class wins is a suspect.
    Decisions are kept in review.jsonl in the run's folder, and applied by `train` and `audit` with `review`.

    Args:
        drop: images not to train on. relabel: image → its true class. keep: images whose label is right.
        undo: take the last decision back; before the others.
        out: an HTML page to write, with the suspects, their neighbours and the commands to decide.
        most: suspects of each split that are listed.

    Raises:
        RunError: there is no run, an image is not in it, or a decision cannot be written.
        RecipeError: a class is unknown.
    """
    if most < 1:
        raise RecipeError(
            expected="at least one suspect",
            found=str(most),
            where="--most",
            hint="Leave --most out for the usual number.",
        )
    page = None if out is None else writable_file(out, replaces=PAGES)
    found = Review(run if isinstance(run, Run) else Run.load(run), most=most, on_event=on_event)
    say = on_event or silent
    if found.decisions.warning:
        say(Notice(found.decisions.warning))
    if undo:
        last = found.undo()
        say(Notice("Nothing to undo." if last is None else f"Taken back: {last}"))
    made = [found.decide(image, "drop") for image in drop]
    for image, label in (relabel or {}).items():
        image, label = found.pair(image, label)  # where IMAGE=CLASS was cut at another sign
        made.append(found.decide(image, "relabel", label))
    made += [found.decide(image, "keep") for image in keep]
    for one in made:
        say(Notice(f"Noted: {one}"))
    if made or undo:
        say(Notice(f"{counted(len(found.decisions), 'decision')} in {found.file}"))
    if page is not None:
        found.write_page(page)
        say(FilesWritten(page.parent, (page.name,), found.apply_command))
    return found
