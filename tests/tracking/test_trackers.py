"""The trackers, read back with their own readers: the record's numbers, once, however often a run is sent."""

from __future__ import annotations

import errno
import os
import shlex
import threading
from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import RecipeError, RunError
from headstart.tracking.sink import metrics_of
from headstart.tracking.trackers import TRACKERS, MLflow, check_tracker, make_sink
from headstart.workbench.track import run_id


def test_an_unknown_tracker_is_refused() -> None:
    check_tracker(None)
    with pytest.raises(RecipeError, match="Did you mean mlflow") as refused:
        check_tracker("mlfow")
    assert refused.value.where == "--track"
    with pytest.raises(RecipeError) as refused:  # `headstart track RUN --to`
        make_sink("nothing")
    assert refused.value.where == "--to"


@pytest.mark.slow
def test_tensorboard_has_the_numbers_of_the_run_once(run: hs.Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = hs.track(run, to="tensorboard", place=str(tmp_path))
    files = sorted(tmp_path.rglob("events*"))
    again = hs.track(run, to="tensorboard", place=str(tmp_path))

    assert (first.existed, again.existed) == (False, True)
    assert sorted(tmp_path.rglob("events*")) == files
    events = EventAccumulator(str(files[0].parent))
    events.Reload()
    for name, value in metrics_of(run.record).items():
        (event,) = events.Scalars(f"test/{name}")
        assert event.value == pytest.approx(value, rel=1e-6)


def test_what_is_said_last_names_the_folder_and_a_command_that_reads_it(run: hs.Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    board = tmp_path / "my board"

    tracked = hs.track(run, to="tensorboard", place=str(board))

    assert shlex.split(tracked.look) == ["tensorboard", "--logdir", str(board)]
    assert list(board.rglob("events*"))
    assert str(tracked).splitlines()[-1] == f"It is in {board}; to look at it: {tracked.look}"
    again = hs.track(run, to="tensorboard", place=str(board))
    assert (again.existed, again.at, again.look) == (True, tracked.at, tracked.look)


def test_a_server_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("mlflow.tracking")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@example.org/ml")

    sink = make_sink("mlflow")

    assert (sink.at, sink.look) == ("https://…@example.org/ml", "")
    # mlflow-skinny, which the extra brings, has no `mlflow ui`
    assert make_sink("mlflow", str(tmp_path)).look.startswith("pip install mlflow, then ")


def test_a_tracker_that_cannot_be_made_is_an_error_without_its_password(
    run: hs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow raises an error of its own at an address of another scheme, and names the address in it."""

    def broken(place: str) -> MLflow:
        raise LookupError(f"unsupported URI {place!r}")

    monkeypatch.setattr("headstart.tracking.trackers.check_tracker", lambda tracker, option: None)
    monkeypatch.setitem(TRACKERS, "mlflow", broken)

    with pytest.raises(RunError, match="LookupError: unsupported URI 'foo://…@host'") as refused:
        hs.track(run, to="mlflow", place="foo://me:secret@host")

    assert refused.value.where == "foo://…@host"


def test_a_server_that_does_not_answer_is_not_waited_for_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own defaults MLflow asks eight times, and waits 120 s for each answer."""
    monkeypatch.setattr("headstart.tracking.trackers.check_tracker", lambda tracker, option: None)
    monkeypatch.setitem(TRACKERS, "mlflow", lambda place: None)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")

    make_sink("mlflow", "http://127.0.0.1:1")

    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "2"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"  # the user's own


def test_a_run_that_was_cut_off_is_written_anew(run: hs.Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    sink = make_sink("tensorboard", str(tmp_path))
    assert sink.start(run_id(run), run.folder.name)
    sink.scalars(1, {"train/loss": 3.0})

    assert not hs.track(run, to="tensorboard", place=str(tmp_path)).existed
    assert len(list(tmp_path.rglob("events*"))) == 1


def test_a_full_disk_under_tensorboard_is_an_error_and_no_traceback_of_its_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    record_writer = pytest.importorskip("tensorboard.summary.writer.record_writer")
    before = threading.excepthook

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    sink = make_sink("tensorboard", str(tmp_path / "runs" / "board"))
    assert sink.start("id", "run")
    monkeypatch.setattr(record_writer.RecordWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        sink.scalars(0, {"loss": 1.0})
    with pytest.raises(OSError, match="No space left"):
        sink.end({"a": "b"}, {"accuracy": 0.5}, [])
    sink.abandon()

    assert list(tmp_path.iterdir()) == []
    assert threading.excepthook is before
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("place", ["~nobody-of-this-name/board", "n" * 300])
def test_a_place_that_cannot_be_is_refused(place: str, run: hs.Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")

    with pytest.raises(RunError, match=r"home directory|too long"):
        hs.track(run, to="tensorboard", place=place)


def test_a_run_that_cannot_be_sent_leaves_nothing(run: hs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")

    def full(path: Path, text: str, **_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("headstart.tracking.trackers.write_text", full)
    with pytest.raises(RunError, match="No space left"):
        hs.track(run, to="tensorboard", place=str(tmp_path))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "cut", "unmarked"])
def test_a_run_whose_files_were_damaged_is_sent_again(damage: str, run: hs.Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    hs.track(run, to="tensorboard", place=str(tmp_path))
    (events,) = tmp_path.rglob("events*")
    size = events.stat().st_size
    if damage == "unmarked":
        (events.parent / "headstart.complete").write_text("x")
    elif damage == "cut":
        events.write_bytes(events.read_bytes()[: size // 2])
    else:
        events.unlink()

    assert not hs.track(run, to="tensorboard", place=str(tmp_path)).existed

    (events,) = tmp_path.rglob("events*")
    assert events.stat().st_size == pytest.approx(size, abs=100)
    assert hs.track(run, to="tensorboard", place=str(tmp_path)).existed


def test_what_others_put_beside_a_run_stays(run: hs.Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    mine = tmp_path / "board" / f"run-{run_id(run)}"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    (mine / "events.out.tfevents.old").write_text("of a call that was killed")

    sink = make_sink("tensorboard", str(tmp_path / "board"))
    assert sink.start(run_id(run), "run")
    sink.end({}, {}, [])
    assert (mine / "notes.txt").read_text() == "mine"
    assert len(list(mine.glob("events*"))) == 1
    (mine / "headstart.complete").unlink()
    assert sink.start(run_id(run), "run")
    sink.abandon()
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    (mine / "notes.txt").unlink()
    mine.rmdir()
    mine.write_text("a file of that name")
    with pytest.raises(RunError, match=r"--place"):
        sink.start(run_id(run), "run")
    assert mine.read_text() == "a file of that name"


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
def test_an_address_is_no_folder(tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(tracker)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(RunError, match="found an address"):
        make_sink(tracker, "file:///tmp/board")
    assert list(tmp_path.iterdir()) == []


def test_a_database_where_none_can_be_is_refused_before_mlflow_tries_for_minutes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(RunError, match="Expected a folder that can be written, found a file"):
        MLflow(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_mlflow_has_parameters_metrics_and_files_once(run: hs.Run, tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")

    hs.track(run, to="mlflow", place=str(tmp_path))
    assert hs.track(run, to="mlflow", place=str(tmp_path)).existed

    client = tracking.MlflowClient(tracking_uri=tmp_path.as_uri())
    (found,) = client.search_runs([client.get_experiment_by_name("headstart").experiment_id])
    assert found.data.params["backbone"] == "embedded"
    assert found.data.metrics["accuracy_low"] == run.evaluation.accuracy.low
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {"run.json", "report.html"}


def test_wandb_offline_is_sent_once(run: hs.Run, tmp_path: Path) -> None:
    pytest.importorskip("wandb")

    hs.track(run, to="wandb", place=str(tmp_path))
    assert hs.track(run, to="wandb", place=str(tmp_path)).existed

    (folder,) = (tmp_path / "wandb").glob(f"offline-run-*-{run_id(run)}")
    assert list(folder.glob("*.wandb"))
