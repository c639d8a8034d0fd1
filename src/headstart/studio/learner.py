"""Learner: two threads that follow the folder: one solves the head after each change, one audits when it is quiet.

In: the project. Out: events for the pages (`changed`, `learned`, `audited`), the last LiveResult and its classifier.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headstart.classifier.classifier import Classifier
from headstart.data.finding import Finding
from headstart.data.images import OpenedImage
from headstart.errors import HeadstartError
from headstart.files import os_error
from headstart.progress import Event, Notice, Progress
from headstart.studio.event_hub import EventHub
from headstart.studio.project import Project
from headstart.studio.waiting import Waiting
from headstart.workbench.live_head import LiveHead, LiveResult
from headstart.workbench.session import Session

_POLL = 1.0  # seconds between two looks for changes from elsewhere, while a page is open
_EVERY = 1.0  # seconds at least between two solutions while images still come
_SHARE = 2.0  # and this many times what a solution takes, so that a large set does not keep the images waiting
_PAUSE = 0.3  # seconds after a change in which an audit that runs stands still
_QUIET = 1.5  # seconds without a change before the audit compares images with each other


@dataclass(frozen=True)
class Audited:
    """Findings of an audit, and groups of names of images that are duplicates of each other."""

    findings: tuple[Finding, ...] = ()
    joined: tuple[tuple[str, ...], ...] = ()
    revision: str = ""


class Learner:
    """Follows a project until it is stopped.

    Args:
        options: of the recipe, such as the backbone.
    """

    def __init__(self, project: Project, hub: EventHub, options: dict[str, Any]) -> None:
        self._project, self._hub, self._options = project, hub, options
        self._live = LiveHead(Session(None, options, self._on_event))
        self.waiting = Waiting(self._live)
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._solved: tuple[LiveResult, Classifier | None] | None = None
        self._audited = Audited()
        self._learned: tuple[str, Audited] | None = None
        self._changed = time.monotonic()
        self._receiving = 0  # uploads under way
        self._next = 0.0  # when the head may be solved again although images still come
        self._busy = True  # whether a change is being learned: the audit would take half of the processor
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=f"studio {name}", daemon=True)
            for name, work in (("learn", self._learn), ("audit", self._audit))
        ]

    def start(self) -> None:
        """Begin to follow the folder."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; what is being computed is finished first."""
        self._stopping.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(timeout=10)

    @contextlib.contextmanager
    def receiving(self) -> Iterator[None]:
        """Say that an image is on its way: those before it are computed, and the head is solved with all of them."""
        with self._lock:
            self._receiving += 1
        try:
            yield
        finally:
            with self._lock:
                self._receiving -= 1
            self.wake()

    def open(self, data: bytes) -> OpenedImage:
        """Decode an image that has come, once: its features are computed from these pixels.

        Raises:
            BadImage: it cannot be used.
        """
        return self._live.open(data)

    def wake(self) -> None:
        """Say that the folder has changed."""
        self._wake.set()

    @property
    def result(self) -> LiveResult | None:
        """The last result; None: none yet."""
        with self._lock:
            return self._solved[0] if self._solved else None

    @property
    def classifier(self) -> Classifier | None:
        """The live classifier; None: there is too little to learn from."""
        with self._lock:
            return self._solved[1] if self._solved else None

    @property
    def audited(self) -> Audited:
        """The last audit."""
        with self._lock:
            return self._audited

    @property
    def backbone(self) -> str:
        """Name of the backbone."""
        return self._live.start.backbone.spec.name

    def _run(self, work: Any) -> None:
        said = ""
        while not self._stopping.is_set():
            try:
                work()
                said = ""
            except (HeadstartError, OSError) as error:  # such as a folder that was removed meanwhile
                self._busy = False
                text = str(os_error(error) if isinstance(error, OSError) else error)
                if text != said:  # once, not each second
                    self._hub.publish("notice", {"text": text})
                said = text
                self._stopping.wait(_POLL)
            except Exception:  # a page must not hang in silence: the bug is shown, and the folder followed further
                traceback.print_exc()
                self._hub.publish("notice", {"text": f"A bug of headstart: {traceback.format_exc(limit=-1)}"})
                self._stopping.wait(_POLL)

    def _learn(self) -> None:
        came = self._live.absorb()  # the backbone is loaded while the user makes the first class
        if came:
            self._changed = time.monotonic()
        else:
            self._wake.wait(_POLL)
        self._wake.clear()
        if self._stopping.is_set():
            return
        if (came or self._receiving) and time.monotonic() < self._next:
            if came:
                self._wake.set()  # for what has come since, or for the head, once nothing more comes
            return
        if self._state() == self._learned:
            self._busy = False
            self._look_ahead()
            return
        self._changed, self._busy = time.monotonic(), True
        try:
            self._solve()
        finally:
            taken, self._changed, self._busy = time.monotonic() - self._changed, time.monotonic(), False
            self._next = self._changed + max(_EVERY, _SHARE * taken)

    def _state(self) -> tuple[str, Audited]:
        return self._project.revision, self.audited

    def _solve(self) -> None:
        seen, _ = self._learned = self._state()  # before anything can fail: what fails is said once, not each second
        self._hub.publish("changed", {"revision": seen})
        self._live.absorb_all()  # meanwhile more can come: the snapshot has these, too
        revision, audited = self._learned = self._state()
        if revision != seen:
            self._hub.publish("changed", {"revision": revision})
        snapshot = self._project.look()
        self._live.absorb_all()  # the images of the snapshot have all been decoded
        samples = [picture.sample for picture in snapshot.pictures]
        began = time.perf_counter()
        result = self._live.solve(samples, snapshot.classes, joined=audited.joined)
        classifier = None if result.probe is None else self._live.classifier(result)
        with self._lock:
            self._solved = result, classifier
        seconds = time.perf_counter() - began
        self._hub.publish("learned", {**summary(result), "revision": revision, "total_seconds": seconds}, keep=True)

    def _look_ahead(self) -> None:
        """Features of some images without a class; the rest comes after the next look for changes, which is at once."""
        unlabelled = self._project.look().unlabelled
        if self.waiting.step(unlabelled):
            self._hub.publish("ahead", {"done": self.waiting.done(unlabelled), "total": len(unlabelled)})
            self._wake.set()

    def _audit(self) -> None:
        self._stopping.wait(0.3)
        revision = self._project.revision
        if self._busy or revision == self.audited.revision or time.monotonic() - self._changed < _QUIET:
            return
        findings: tuple[Finding, ...] = ()
        joined: tuple[tuple[str, ...], ...] = ()
        if self._project.look().pictures:
            dataset = Session(None, self._options, self._on_audit).dataset(self._project.folder, stop=False)
            groups: dict[int, list[str]] = {}
            for sample, group in zip(dataset.image_set.samples, dataset.audit.groups_for_split, strict=True):
                if group is not None:
                    groups.setdefault(group, []).append(sample.name)
            joined = tuple(tuple(names) for names in groups.values() if len(names) > 1)
            findings = dataset.audit.findings
        changes = joined != self.audited.joined
        with self._lock:
            self._audited = Audited(findings, joined, revision)
        self._hub.publish("audited", {"revision": revision, "findings": len(findings)}, keep=True)
        if changes:
            self._wake.set()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._hub.publish("progress", {"step": event.step, "done": event.done, "total": event.total})
        elif isinstance(event, Notice):
            self._hub.publish("notice", {"text": event.text})

    def _on_audit(self, event: Event) -> None:
        while (self._busy or time.monotonic() - self._changed < _PAUSE) and not self._stopping.is_set():
            time.sleep(_PAUSE / 10)  # what someone waits for comes first
        if isinstance(event, Progress) and event.done < event.total and event.seconds > 1:
            self._hub.publish("progress", {"step": event.step, "done": event.done, "total": event.total})


def summary(result: LiveResult) -> dict[str, Any]:
    """What a page shows of a result, as plain values."""
    return {
        "missing": result.missing,
        "images": len(result.samples),
        "groups": result.group_count,
        "accuracy": result.accuracy,
        "neighbours": result.neighbour_accuracy,
        "majority": result.majority,
        "classes": result.class_scores(),
        "empty": result.empty,
        "unreadable": len(result.unreadable),
        "seconds": result.seconds,
        "held_out": result.probe.path.held_out if result.probe else "",
    }
