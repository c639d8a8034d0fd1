"""Job: a training under way, so that it can be resumed after a kill: `runs/.NAME.unfinished` until it is done."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart import runtime
from headstart.errors import RecipeError, RunError
from headstart.files import (
    FOR_OUT,
    FolderLock,
    make_folder,
    os_errors,
    remove,
    remove_abandoned,
    remove_if_abandoned,
    write_text,
)
from headstart.finetune.plan import FineTunePlan
from headstart.recipe import Recipe
from headstart.training.checkpoint_folder import LATEST, PREVIOUS, CheckpointFolder
from headstart.untrusted import Kind, check_kinds, read_object, sha256_of, write_sealed
from headstart.workbench.run import RECORD, out_folder

_CARD, _PLAN, _RUN = "job.json", "plan.json", "run.sha256"
_VERSION = 1
_KINDS: dict[str, Kind] = {"source": str, "recipe": dict, "pinned": dict, "origin": (str, type(None))}
_PINNED: dict[str, Kind] = {"data": str, "weights": str, "versions": dict}


@dataclass(frozen=True)
class Job:
    """What is trained, where its checkpoints lie, and the name its run will have.

    Args:
        folder: of the unfinished work. target: folder of the finished run. source: of the images, absolute.
        origin: folder of the run whose weights are trained further; None: a new training.
        command: the call that began it.
        tracked: the tracker that it is sent to, and its id there; None: to none.
    """

    folder: Path
    target: Path
    source: Path
    recipe: Recipe
    origin: Path | None = None
    command: str = ""
    tracked: tuple[str, str] | None = None

    @classmethod
    def begin(
        cls,
        target: Path,
        source: Path,
        recipe: Recipe,
        *,
        origin: Path | None = None,
        command: str = "",
        tracked: tuple[str, str] | None = None,
    ) -> Job:  # six: what the card says, the last three by name
        """A new job under the first name that neither a run nor another job has: NAME, NAME-2, …

        This process holds it until `done` or `claimed` ends. What a killed process left before its first checkpoint
        is removed and blocks no name.

        Raises:
            RunError: the folder cannot be made.
        """
        number, free = 1, target
        make_folder(target.parent)
        with os_errors(target.parent, expected="a folder that can be written", hint=FOR_OUT):
            while True:
                where = (_folder_of(free), free, source.absolute())
                job = cls(*where, recipe, origin=origin, command=command, tracked=tracked)
                _clear_finished(job.folder, free)
                remove_abandoned(free)  # of this name, too, where it is taken
                if not free.exists() and job._claim_new():
                    return job
                number += 1
                free = target.with_name(f"{target.name}-{number}")

    @classmethod
    def find(cls, run: str | Path) -> Job:
        """The unfinished job of a run's folder.

        Raises:
            RunError: there is none, or its card cannot be read.
        """
        target = out_folder(run)
        folder = _folder_of(target)
        _clear_finished(folder, target)
        if not (folder / _CARD).is_file():
            done = (target / RECORD).exists()
            raise RunError(
                expected="an unfinished training",
                found="a finished run" if done else "no run at all" if target.exists() else "none",
                where=target,
                hint="It needs no resuming." if done else "Begin one: headstart train FOLDER --strategy last-stage",
            )
        try:
            values = read_object(folder / _CARD, _KINDS)
            _check_pinned(values["pinned"])
            origin = Path(values["origin"]) if values.get("origin") else None
            recipe, command = Recipe.from_dict(values["recipe"]), values.get("command", "")
            job = cls(folder, target, Path(values["source"]), recipe, origin=origin, command=command)
            tracker = values.get("tracker")  # an older job does not say
            return replace(job, tracked=(tracker, values.get("id", ""))) if tracker else job
        except (OSError, ValueError, TypeError, RecipeError) as error:
            raise _damaged(folder / _CARD, error) from error

    @property
    def checkpoints(self) -> CheckpointFolder:
        """Of its fine-tuning."""
        return CheckpointFolder(self.folder, self.recipe.checkpoint_every)

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is work to go on from."""
        return _has_checkpoint(self.folder)

    def pin(self, data: str, weights: str, *, force: bool = False) -> None:
        """Note images, weights, versions and the device the first time; later see that they are the same.

        Args:
            data: fingerprint of the images, their labels and splits. weights: of the backbone before it is fine-tuned.
            force: go on with others.

        Raises:
            RunError: something differs; it is named.
        """
        versions, device = runtime.versions(), runtime.choose_device(self.recipe.device)
        pinned = self._pinned()
        if not pinned or force:
            self._write({"data": data, "weights": weights, "versions": versions, "device": device})
            return
        then: dict[str, str] = pinned["versions"]
        differs = [] if pinned["data"] == data else ["the images, their labels or their split"]
        differs += [] if pinned["weights"] == weights else ["the pretrained weights"]
        differs += [
            f"{name} {then.get(name, 'absent')} → {versions.get(name, 'absent')}"
            for name in sorted({**then, **versions})
            if then.get(name) != versions.get(name)
        ]
        was = pinned.get("device", device)  # an older job does not say
        differs += [] if was == device else [f"device {was} → {device}"]
        if differs:
            raise RunError(
                expected="images, weights, versions and device as when the training began",
                found="; ".join(differs),
                where=self.target,
                hint="With --force it continues, and its weights may differ from those of an uninterrupted run.",
            )

    def note(self, plan: FineTunePlan) -> None:
        """Keep the plan made on this machine, so that a resumed training follows it."""
        write_sealed(self.folder / _PLAN, plan.to_dict())

    def recall(self) -> FineTunePlan | None:
        """The plan made before the training was interrupted; None where there is none.

        Raises:
            RunError: the damaged note cannot be removed.

        A damaged one is made again. The checkpoints followed it, so they go with it: the fine-tuning starts again.
        """
        path = self.folder / _PLAN
        if not path.exists():
            return None
        try:
            return FineTunePlan.from_dict(read_object(path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            warnings.warn(f"{_PLAN} cannot be used ({error}); the fine-tuning starts again", stacklevel=2)
            for name in (_PLAN, LATEST, PREVIOUS):
                remove(self.folder / name, strict=True)
            return None

    @cached_property
    def lock(self) -> FolderLock:
        """Held by the one process that works on the job."""
        return FolderLock(self.folder)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Work on it alone: until the block ends, no other process can.

        Raises:
            RunError: another process works on it.
        """
        with os_errors(self.folder, expected="the folder of an unfinished training"):
            is_free = self.lock.acquire()
        if not is_free:
            raise RunError(
                expected="an unfinished training that nobody works on",
                found="another process that works on it",
                where=self.target,
                hint="Wait until it ends, or stop it.",
            )
        try:
            yield
        finally:
            self.lock.release()

    def seal(self, work: Path) -> None:
        """Note which run comes of it, just before that gets its name: a kill in between is then no unfinished work."""
        write_text(self.folder / _RUN, sha256_of(work / RECORD))

    def done(self) -> None:
        """Remove the unfinished work: the run is there, or nothing is worth keeping."""
        self.lock.release()  # Windows cannot remove an open file
        remove(self.folder)

    def _claim_new(self) -> bool:
        """Make the folder and its card; False where another process has it, or it holds work to go on from."""
        _clear_empty(self.folder)
        made = False
        try:
            made = self.lock.make()
            if made:
                self._write({})
        except BaseException:
            self.lock.release()  # Windows cannot remove an open file
            if made:
                remove(self.folder)
            else:  # a signal came between making it and saying so
                _clear_empty(self.folder)
            raise
        return made

    def _pinned(self) -> dict[str, Any]:
        try:
            return _check_pinned(read_object(self.folder / _CARD, _KINDS)["pinned"])
        except (OSError, ValueError) as error:
            raise _damaged(self.folder / _CARD, error) from error

    def _write(self, pinned: Mapping[str, Any]) -> None:
        values = {
            "version": _VERSION,
            "source": str(self.source),
            "origin": None if self.origin is None else str(self.origin),
            "command": self.command,
            "tracker": self.tracked[0] if self.tracked else "",
            "id": self.tracked[1] if self.tracked else "",
            "recipe": self.recipe.to_dict(),
            "pinned": pinned,
        }
        write_sealed(self.folder / _CARD, values)


def _check_pinned(pinned: dict[str, Any]) -> dict[str, Any]:
    """What a job has noted of its images, weights and versions; empty before the first time."""
    return check_kinds(pinned, _PINNED if pinned else {})


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(expected="the card of an unfinished training", found=str(error), where=path, hint="Train again.")


def _is_finished(folder: Path, target: Path) -> bool:
    """Whether the run of a job is there, although the process was killed before it removed the job."""
    try:
        sealed = (folder / _RUN).read_text("utf-8")
        names = target.parent.glob(f"{glob.escape(target.name)}*/{RECORD}")
        return any(sha256_of(record) == sealed for record in names)
    except OSError:
        return False


def _clear_finished(folder: Path, target: Path) -> None:
    """Remove the job of a process that was killed after its run had got its name."""
    if _is_finished(folder, target):
        remove_if_abandoned(folder)


def clear_job(target: Path) -> None:
    """Remove the job of a run whose process was killed before there was work to go on from, or after the run was there.

    For a training of that name which is no job of its own.
    """
    folder = _folder_of(target)
    _clear_finished(folder, target)
    _clear_empty(folder)


def _clear_empty(folder: Path) -> None:
    if folder.is_dir() and not _has_checkpoint(folder):
        remove_if_abandoned(folder)


def _has_checkpoint(folder: Path) -> bool:
    return any((folder / name).exists() for name in (LATEST, PREVIOUS))


def _folder_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.unfinished")


def unfinished_runs(parent: Path) -> list[Path]:
    """Folders that the runs of the interrupted trainings in a folder will have, of those with a checkpoint; sorted."""
    found = []
    for folder in sorted(parent.glob(".*.unfinished")):
        target = folder.with_name(folder.name[1 : -len(".unfinished")])
        _clear_finished(folder, target)
        if _has_checkpoint(folder):
            found.append(target)
    return found
