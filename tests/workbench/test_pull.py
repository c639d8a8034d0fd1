"""pull: a pinned commit, whole and checked, or nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import ClassifierError, HeadstartError, RunError
from hub_server import NAME, Hub, hub

pytest.importorskip("huggingface_hub")
__all__ = ["hub"]  # a fixture
CLASSIFIER = "classifier.safetensors"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(hub: Hub, run_folder: Path) -> str:
    files = {CLASSIFIER: (run_folder / CLASSIFIER).read_bytes(), "report.html": b"<p>report", "README.md": b"# Card"}
    return hub.add(NAME, {**files, ".gitattributes": b"", "model.pkl": b"never fetched"})


@pytest.mark.slow
def test_the_files_of_one_commit_arrive_checked_and_the_classifier_predicts(
    run: hs.Run, photos: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = put(hub, run.folder)
    hub.add(NAME, {CLASSIFIER: b"a later one"})

    pulled = hs.pull(f"hf://{NAME}@{first}")

    assert pulled.folder == Path("leaf-diseases")
    names = {path.name for path in pulled.folder.rglob("*")}
    assert names == {CLASSIFIER, "report.html", "README.md", "source.json"}
    assert pulled.sha256[CLASSIFIER] == hashlib.sha256((run.folder / CLASSIFIER).read_bytes()).hexdigest()
    source = json.loads((pulled.folder / "source.json").read_text("utf-8"))
    assert source == {"address": f"hf://{NAME}@{first}", "sha256": dict(pulled.sha256)}
    image = next(photos.rglob("*.png"))
    here, there = (hs.predict(folder, image, on_event=None)[0] for folder in (pulled.folder, run.folder))
    assert here.probabilities == there.probabilities
    assert "hf_secret" not in "".join(capsys.readouterr())


@pytest.mark.slow
def test_the_newest_commit_is_pinned_and_a_taken_name_gets_a_number(run_folder: Path, hub: Hub, tmp_path: Path) -> None:
    commit = put(hub, run_folder)
    (tmp_path / "taken").mkdir()

    pulled = hs.pull(f"hf://{NAME}", out=tmp_path / "taken", on_event=None)

    assert pulled.folder == tmp_path / "taken-2"
    assert pulled.address == f"hf://{NAME}@{commit}"
    assert not [asked for asked in hub.asked if "/resolve/" in asked and commit not in asked]
    assert not [asked for asked in hub.asked if "pkl" in asked]


@pytest.mark.parametrize("name", [CLASSIFIER, "report.html"])
def test_a_tampered_file_is_refused_and_nothing_is_left(run_folder: Path, hub: Hub, tmp_path: Path, name: str) -> None:
    put(hub, run_folder)
    data = bytearray(hub.files(NAME)[name])
    data[-1] ^= 1
    hub.sends = {name: bytes(data)}

    with pytest.raises(ClassifierError) as caught:
        hs.pull(f"hf://{NAME}", on_event=None)

    assert name in caught.value.expected
    kind = hashlib.sha256(data) if name == CLASSIFIER else hashlib.sha1(f"blob {len(data)}\0".encode() + data)
    assert caught.value.found == f"another file: {kind.hexdigest()}"
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_too_large_is_refused_before_it_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, {CLASSIFIER: b"x", "report.html": bytes(2_000_000)})
    monkeypatch.setattr("headstart.workbench.pull._MOST_BYTES", 1_000_000)

    with pytest.raises(ClassifierError, match=r"at most 0\.001 GB, found report\.html of 0\.0 GB"):
        hs.pull(f"hf://{NAME}", on_event=None)

    assert not [asked for asked in hub.asked if "/resolve/" in asked]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("files", "found"), [({}, "no files"), ({"model.safetensors": b"x"}, "model.safetensors"), ({CLASSIFIER: b"x"}, "")]
)
def test_a_repository_without_a_classifier_of_ours_is_refused(
    hub: Hub, tmp_path: Path, files: dict[str, bytes], found: str
) -> None:
    hub.add(NAME, files)

    with pytest.raises(ClassifierError) as caught:
        hs.pull(f"hf://{NAME}", on_event=None)

    assert found in caught.value.found
    assert NAME in caught.value.where
    assert ".part" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("refused", "code", "found"),
    [
        ("GET /api/models", 403, "access denied (403)"),
        ("GET /anna/leaf-diseases/resolve", 403, "access denied (403)"),
        ("HEAD /anna/leaf-diseases/resolve", 403, "access denied (403)"),
        ("GET /api/models", 503, "an error of the server (503)"),
    ],
)
def test_an_interrupted_pull_leaves_nothing(
    run_folder: Path, hub: Hub, tmp_path: Path, refused: str, code: int, found: str
) -> None:
    put(hub, run_folder)
    hub.refuses = {refused: code}

    with pytest.raises(RunError) as caught:
        hs.pull(f"hf://{NAME}", on_event=None)

    assert caught.value.found == found
    assert "hf_secret" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_stop_between_two_files_leaves_nothing(
    run_folder: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    put(hub, run_folder)
    download = HfApi.hf_hub_download

    def stopped(self: HfApi, repository: str, name: str, **options: object) -> str:
        if name != CLASSIFIER:
            raise KeyboardInterrupt
        return str(download(self, repository, name, **options))  # type: ignore[call-overload]

    monkeypatch.setattr(HfApi, "hf_hub_download", stopped)
    with pytest.raises(KeyboardInterrupt):
        hs.pull(f"hf://{NAME}", on_event=None)
    assert not list(tmp_path.iterdir())


def test_what_is_not_there_is_said(hub: Hub, run_folder: Path, tmp_path: Path) -> None:
    put(hub, run_folder)
    with pytest.raises(RunError, match="no such repository"):
        hs.pull("hf://anna/nothing", on_event=None)
    with pytest.raises(RunError, match="no such branch, tag or commit"):
        hs.pull(f"hf://{NAME}@v9", on_event=None)
    hub.close()
    with pytest.raises(RunError, match="no connection"):
        hs.pull(f"hf://{NAME}", on_event=None)
    with pytest.raises(HeadstartError, match="hf://USER/NAME"):
        hs.pull(NAME, on_event=None)
    assert not list(tmp_path.iterdir())


def test_offline_by_the_users_wish_is_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants, utils

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    utils.close_session()
    try:
        with pytest.raises(RunError, match="HF_HUB_OFFLINE"):
            hs.pull(f"hf://{NAME}", on_event=None)
    finally:
        utils.close_session()
