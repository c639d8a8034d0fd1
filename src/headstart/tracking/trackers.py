"""The three trackers as sinks; each package is imported when its sink is made. Where they store is theirs to say."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.errors import RecipeError, RunError, near
from headstart.files import make_folder, printable, remove, write_text
from headstart.output_paths import writable_folder
from headstart.tracking.sink import Sink
from headstart.untrusted import read_text

PROJECT = "headstart"
COMPLETE = "headstart.complete"
_SEAL = 100_000  # bytes of the file that says that a run is complete
_PARAM = 500  # characters of a parameter that every MLflow server takes


_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "WANDB_INIT_TIMEOUT": "20"}
"""Unless the user sets them: else MLflow asks a server that does not answer for a quarter of an hour, W&B for 90 s."""
_EVENTS, _OFFLINE = "events.out.tfevents.*", "*.wandb"  # the files that TensorBoard and W&B write
_SQLITE = "sqlite:///"
_PLACE = "Choose another with --place."


class TensorBoard:
    """Event files in FOLDER/RUN_ID; a run that was not completed, or whose files are gone, is written again."""

    def __init__(self, place: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make, self._folder = SummaryWriter, Path(place or "runs/tensorboard")
        self.at = str(self._folder)
        self.look = f"tensorboard --logdir {shlex.quote(self.at)}"

    def start(self, run_id: str, name: str) -> bool:
        """See Sink."""
        self._at = self._folder / f"{_plain(name)}-{run_id}"
        if _is_sealed(self._at):
            return False
        self._made = [one for one in (self._at, *self._at.parents) if not one.exists()]  # the innermost first
        make_folder(self._at, hint=_PLACE)
        self._clear()
        self._hook = threading.excepthook
        threading.excepthook = self._without_tensorboard  # its thread prints the error that flush and close raise here
        self._writer: Any = self._make(str(self._at))
        return True

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See Sink."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def end(self, params: Mapping[str, str], metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        """See Sink; files stay where they are, and are named."""
        rows = [f"    {name}: {value}" for name, value in params.items()]  # indented: code, so that no name is Markdown
        self._writer.add_text("options", "\n".join(rows), 0)
        self._writer.add_text("files", "\n".join(f"    {printable(path)}" for path in files), 0)
        for name, value in metrics.items():
            self._writer.add_scalar(f"test/{name}", value, 0)
        self._writer.flush()  # which raises what went wrong; close does not
        self._close()
        _seal(self._at, _EVENTS)

    def abandon(self) -> None:
        """See Sink."""
        with contextlib.suppress(Exception):  # it tries to write what could not be written
            self._close()
        self._clear()
        with contextlib.suppress(OSError):  # another run has written there meanwhile
            for folder in self._made:
                folder.rmdir()

    def _clear(self) -> None:
        """Remove what an earlier call has written, and nothing that somebody else put beside it."""
        for path in (*self._at.glob(_EVENTS), self._at / COMPLETE):
            if not path.is_dir():
                remove(path)

    def _close(self) -> None:
        try:
            self._writer.close()
        finally:
            threading.excepthook = self._hook

    def _without_tensorboard(self, failed: threading.ExceptHookArgs) -> None:
        if not type(failed.thread).__module__.startswith("tensorboard."):
            self._hook(failed)


class MLflow:
    """A run of the experiment `headstart`, found again by its tag; at MLFLOW_TRACKING_URI, else in mlruns."""

    def __init__(self, place: str) -> None:
        uri = place or os.environ.get("MLFLOW_TRACKING_URI") or "mlruns"
        if "://" not in uri and not uri.startswith("databricks"):
            uri = Path(uri).absolute().as_uri()
        if uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3.17 asks for it
        if uri.startswith(_SQLITE):  # MLflow tries for minutes to open a file in a folder that cannot be
            writable_folder(Path(uri.removeprefix(_SQLITE)).parent, "--place", for_model=True)
        from mlflow.tracking import MlflowClient

        self.at = without_password(uri)
        # a server shows its runs by itself; those of a folder need one, which mlflow-skinny does not have
        look = f"pip install mlflow, then MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {shlex.quote(uri)}"
        self.look = look if uri.startswith("file:") else ""
        self._client: Any = MlflowClient(tracking_uri=uri)

    def start(self, run_id: str, name: str) -> bool:
        """See Sink."""
        found = self._client.get_experiment_by_name(PROJECT)
        experiment = found.experiment_id if found else self._client.create_experiment(PROJECT)
        query = f"tags.`headstart.id` = '{run_id}'"
        same = self._client.search_runs([experiment], query)
        if any(COMPLETE in run.data.tags for run in same):
            return False
        for run in same:
            self._client.delete_run(run.info.run_id)
        made = self._client.create_run(experiment, run_name=name, tags={"headstart.id": run_id})
        self._id = made.info.run_id
        return True

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See Sink."""
        for name, value in values.items():
            self._client.log_metric(self._id, _key(name), value, step=step)

    def end(self, params: Mapping[str, str], metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        """See Sink."""
        for name, text in params.items():
            self._client.log_param(self._id, _key(name), text[:_PARAM])
        self.scalars(0, metrics)
        for path in files:
            self._client.log_artifact(self._id, str(path))
        self._client.set_tag(self._id, COMPLETE, "true")
        self._client.set_terminated(self._id)

    def abandon(self) -> None:
        """See Sink: the next `start` finds it by its tag, and deletes it."""


class WandB:
    """A run of the project `headstart`, offline in the folder wandb unless WANDB_MODE says otherwise."""

    def __init__(self, place: str) -> None:
        import wandb

        self._wandb, self._folder = wandb, Path(place or ".")
        self.at = str(self._folder / "wandb")
        # what was written offline is shown by the site of W&B, once it is there
        is_offline = os.environ.get("WANDB_MODE", "offline") == "offline"
        self.look = f"wandb sync --sync-all {shlex.quote(self.at)}" if is_offline else ""

    def start(self, run_id: str, name: str) -> bool:
        """See Sink."""
        if any(map(_is_sealed, self._folder.glob(f"wandb/*-{run_id}"))):
            return False
        make_folder(self._folder, hint=_PLACE)
        self._run: Any = self._wandb.init(
            project=PROJECT,
            id=run_id,
            name=name,
            resume="allow",
            dir=str(self._folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=self._wandb.Settings(silent=True, console="off"),
        )
        return True

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See Sink."""
        self._run.log(dict(values), step=step)

    def end(self, params: Mapping[str, str], metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        """See Sink."""
        self._run.config.update(dict(params), allow_val_change=True)
        self._run.summary.update({f"test/{name}": value for name, value in metrics.items()})
        for path in files:
            self._run.save(str(path), base_path=str(path.parent), policy="now")
        at = Path(self._run.dir).parent
        self._run.finish()
        _seal(at, _OFFLINE)

    def abandon(self) -> None:
        """See Sink: the next `start` resumes it by its id."""


def _seal(folder: Path, pattern: str) -> None:
    """Note that a run is complete: a line for each of its files, size in bytes and name."""
    files = sorted(path for path in folder.glob(pattern) if path.is_file())
    lines = [f"{path.stat().st_size} {path.name}\n" for path in files]
    write_text(folder / COMPLETE, "".join(lines), hint=_PLACE)


def _is_sealed(folder: Path) -> bool:
    """Whether a run is complete, and each of its files still as long as it was; before 0.3.0 none was noted."""
    try:
        text = read_text(folder / COMPLETE, most=_SEAL)
        noted = [line.split(" ", 1) for line in text.splitlines()]
        return all((folder / name).stat().st_size >= int(size) for size, name in noted)
    except (OSError, ValueError):  # a file is gone, or that one is not as it was written
        return False


TRACKERS: dict[str, Callable[[str], Sink]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
_INSTALL = {name: f"pip install 'headstart[{name}]'" for name in TRACKERS}


def check_tracker(tracker: str | None, option: str = "--track") -> None:
    """See, before anything is computed, that a tracker is known and its package installed; None is no tracker.

    Args:
        option: that named it, for the error.

    Raises:
        RecipeError: it is not.
    """
    if tracker is None:
        return
    if tracker not in TRACKERS:
        raise RecipeError(
            expected=" or ".join(TRACKERS), found=repr(tracker), where=option, hint=near(tracker, TRACKERS)
        )
    if importlib.util.find_spec(tracker) is None:
        raise RecipeError(
            expected=f"the package for {tracker}", found="not installed", where=option, hint=_INSTALL[tracker]
        )


def make_sink(tracker: str, place: str = "") -> Sink:
    """The sink of a tracker.

    Args:
        place: a folder, or for MLflow a folder or address; empty: the tracker's own default.

    Raises:
        RecipeError: the tracker is unknown, or its package is not installed.
        RunError: the folder cannot be written to.
    """
    check_tracker(tracker, "--to")
    if tracker != "mlflow" and "://" in place:  # else a folder of that name would be made
        raise RunError(
            expected="a folder", found="an address", where=f"--place {printable(place)}", hint="Name a folder."
        )
    if place and "://" not in place and not (tracker == "mlflow" and place.startswith("databricks")):
        place = str(writable_folder(place, "--place", for_model=True))
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    return TRACKERS[tracker](place)


def without_password(text: str) -> str:
    """A text whose addresses have no names and passwords: it is printed."""
    return re.sub(r"//[^/@\s]*@", "//…@", text)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"


def _key(name: str) -> str:
    """A name that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", name)
