"""fetch, pull and push on disks that refuse and connections that break: our error, its reason, nothing half there."""

from __future__ import annotations

import errno
import io
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import headstart as hs
from faulty_disk import FaultyDisk
from headstart.errors import HeadstartError
from hub_server import NAME, Hub, hub
from local_server import Server
from small_disk import small_disk

pytest.importorskip("huggingface_hub")
__all__ = ["hub"]  # a fixture
CLASSIFIER = "classifier.safetensors"
REASONS = {
    errno.ENOSPC: ("full disk", "No space left"),
    errno.EACCES: ("Permission denied",),
    errno.EROFS: ("Read-only file system",),
    errno.EIO: ("Input/output error",),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, beside which are a cache and a home; nobody waits for a second try."""
    for name in ("here", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return tmp_path / "here"


@pytest.fixture
def server() -> Iterator[Server]:
    photos = io.BytesIO()
    with zipfile.ZipFile(photos, "w") as archive:
        for name in ("disc", "square"):
            for number in range(3):
                archive.writestr(f"set/{name}/{number}.png", _png(number))
    made = Server({"set.zip": photos.getvalue()})
    yield made
    made.close()


def _png(number: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (number * 40, 90, 200)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB."""
    with small_disk(tmp_path / "small", "300k") as folder:
        yield folder


def refuse_next_fetch(disk: FaultyDisk, place: Path, server: Server, at: Callable[[str], bool]) -> None:
    """Fetch once to number the steps; the first such step of the next fetch has no permission."""  # four: one set-up
    disk.fail_at(0, 0)
    fetch(server)
    number = next(number for number, step in enumerate(disk.log, 1) if at(step))
    shutil.rmtree(place / "set")
    server.asked.clear()
    disk.fail_at(number, errno.EACCES)


def put(hub: Hub, run_folder: Path) -> None:
    hub.add(NAME, {CLASSIFIER: (run_folder / CLASSIFIER).read_bytes(), "report.html": b"<p>report", "README.md": b"#"})


def fetch(server: Server, folder: Path | None = None) -> object:
    return hs.fetch(server.url("set.zip"), out=(folder or Path.cwd()) / "set", on_event=None)


def pull(folder: Path | None = None) -> object:
    return hs.pull(f"hf://{NAME}", out=(folder or Path.cwd()) / "pulled", on_event=None)


def left(place: Path) -> list[str]:
    """All that lies in the working folder but downloads that the next call resumes."""
    names = [path for path in place.rglob("*") if path.is_file()]
    return [str(path.relative_to(place)) for path in names if not path.parent.name.endswith(".fetching")]


def broken_promises(place: Path, disk: FaultyDisk, verb: Callable[[], object]) -> list[str]:
    """What a verb did wrong, when each of its operations was refused in turn, with each time the next code."""
    disk.fail_at(0, 0)
    verb()
    many, wrong = len(disk.log), []
    assert many > 5, disk.log  # the layer sees something
    for number in range(1, many + 1):
        for path in list(place.iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        code = list(REASONS)[number % len(REASONS)]
        disk.fail_at(number, code)
        try:
            verb()
        except HeadstartError as error:
            if not any(words in str(error) for words in REASONS[code]):
                wrong.append(f"{disk.failed}: blames {error.found}, not {os.strerror(code)}")
            wrong += [f"{disk.failed}: left {name}" for name in left(place)]
        except Exception as error:
            wrong.append(f"{disk.failed}: {type(error).__name__}: {error}")
        disk.rest()
    return wrong


@pytest.mark.slow
def test_every_refused_operation_of_fetch_is_our_error(
    place: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert broken_promises(place, FaultyDisk(monkeypatch, place), lambda: fetch(server)) == []


@pytest.mark.slow
def test_every_refused_operation_of_pull_is_our_error(
    place: Path, run_folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hub, run_folder)
    assert broken_promises(place, FaultyDisk(monkeypatch, place), pull) == []


@pytest.mark.slow
def test_every_refused_operation_of_push_is_our_error_and_nothing_is_sent(
    place: Path, run_folder: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    disk = FaultyDisk(monkeypatch, run)
    disk.fail_at(0, 0)
    hs.push(run, NAME, on_event=None)
    many, wrong = len(disk.log), []

    for number in range(1, many + 1):
        code, before = list(REASONS)[number % len(REASONS)], len(hub.repositories[NAME])
        disk.fail_at(number, code)
        try:
            hs.push(run, NAME, on_event=None)
        except HeadstartError as error:
            wrong += [disk.failed] * (not error.found or len(hub.repositories[NAME]) != before)
        except Exception as error:
            wrong.append(f"{disk.failed}: {type(error).__name__}: {error}")
        disk.rest()

    assert many > 2
    assert wrong == []


def test_a_disk_that_refuses_while_unpacking_does_not_cost_the_download(
    place: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FaultyDisk(monkeypatch, place)
    refuse_next_fetch(disk, place, server, lambda step: step.endswith("0.png"))

    with pytest.raises(HeadstartError, match="Permission denied"):
        fetch(server)
    disk.rest()
    fetch(server)

    assert server.ranges == [None]  # asked once for all of it, and not again
    assert len(list(place.rglob("*.png"))) == 6


def test_a_folder_that_cannot_be_written_is_not_blamed_on_the_server(
    place: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FaultyDisk(monkeypatch, place)
    refuse_next_fetch(disk, place, server, lambda step: step.startswith("open(wb)"))

    with pytest.raises(HeadstartError) as caught:
        fetch(server)

    assert (caught.value.expected, caught.value.found) == ("a folder that can be written to", "Permission denied")
    assert len(server.asked) == 1  # a second try does not help


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 4096, 20_000])
def test_a_full_disk_is_said_and_holds_nothing_half_written(
    place: Path, run_folder: Path, hub: Hub, server: Server, small: Path, room: int
) -> None:
    put(hub, run_folder)
    server.files["set.zip"] += bytes(400_000)
    (small / "ballast").write_bytes(bytes(shutil.disk_usage(small).free - room))

    verbs: tuple[Callable[[], object], ...] = (lambda: fetch(server, small), lambda: pull(small))
    for verb in verbs:
        with pytest.raises(HeadstartError) as caught:
            verb()
        assert any(words in str(caught.value).lower() for words in ("space", "full", "disk")), caught.value
        assert ".part" not in caught.value.where
    assert not (small / "set").exists()
    assert {path.name for path in small.iterdir()} <= {"ballast", ".set.fetching"}


@pytest.mark.slow
@pytest.mark.parametrize("cut", [0, 1, 1000])
def test_a_connection_that_always_breaks_leaves_no_folder(
    place: Path, run_folder: Path, hub: Hub, server: Server, cut: int
) -> None:
    put(hub, run_folder)
    hub.cuts = {CLASSIFIER: cut}
    server.breaks = [cut] * 100

    with pytest.raises(HeadstartError):
        pull()
    assert list(place.iterdir()) == []

    if cut < 1000:  # 1: it goes on for a hundred tries
        with pytest.raises(HeadstartError, match=f"{100 * cut} of"):
            fetch(server)
        assert left(place) == []
    else:
        fetch(server)
        assert len(list(place.rglob("*.png"))) == 6


@pytest.mark.slow
@pytest.mark.parametrize("step", ["PUT /upload/", f"POST /api/models/{NAME}/commit/", "GET /api/models"])
def test_a_push_whose_connection_is_cut_leaves_no_half_model(
    place: Path, run_folder: Path, hub: Hub, step: str
) -> None:
    hub.drops = (step,)

    with pytest.raises(HeadstartError) as caught:
        hs.push(run_folder, NAME, on_event=None)

    assert "connection" in caught.value.found
    assert hub.repositories[NAME] == [{}]
