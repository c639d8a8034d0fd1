"""push: one commit with what the run holds, or none; nothing is sent for weights of unknown terms."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.cli.main import main
from headstart.errors import ClassifierError, HeadstartError, RunError
from headstart.progress import Event, Notice
from hub_server import NAME, Hub, hub

pytest.importorskip("huggingface_hub")
__all__ = ["hub"]  # a fixture


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def licensed(run: hs.Run, licence: str) -> hs.Run:
    record: dict[str, Any] = {**run.record, "backbone": {**run.record["backbone"], "licence": licence}}
    return dataclasses.replace(run, record=record)


@pytest.mark.slow
def test_the_files_of_the_run_and_its_card_arrive_in_one_private_commit(
    run: hs.Run, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed = hs.push(run, NAME)

    sent = hub.files(NAME)
    assert set(sent) == {"classifier.safetensors", "report.html", "README.md"}
    for name in ("classifier.safetensors", "report.html"):
        assert hashlib.sha256(sent[name]).digest() == hashlib.sha256((run.folder / name).read_bytes()).digest()
    assert b"license: " in sent["README.md"]
    assert b"model-index: " in sent["README.md"]
    assert str(run.evaluation.accuracy_over_groups or run.evaluation.accuracy).encode() in sent["README.md"]
    assert len(hub.repositories[NAME]) == 2  # the empty beginning and ours
    assert hub.private == {NAME: True}
    assert hub.tokens >= {"Bearer hf_secret"}
    assert pushed.address.startswith(f"hf://{NAME}@")
    output = capsys.readouterr()
    assert "hf_secret" not in output.out + output.err + str(pushed)


@pytest.mark.slow
def test_an_exported_file_goes_with_it_and_leaves_with_the_next_model(
    copied: Path, exported: Path, hub: Hub, tmp_path: Path
) -> None:
    shutil.copytree(exported, copied / "export")
    assert hs.push(copied, NAME, on_event=None).files[1:3] == ("export/classifier.onnx", "export/parity.json")
    hub.files(NAME)["notes.txt"] = b"of the user"
    shutil.rmtree(copied / "export")

    hs.push(copied, NAME, on_event=None)

    assert set(hub.files(NAME)) == {"classifier.safetensors", "report.html", "README.md", "notes.txt"}


@pytest.mark.slow
def test_an_exported_file_of_another_classifier_is_refused(
    fine_tuned_folder: Path, exported: Path, hub: Hub, tmp_path: Path
) -> None:
    folder = shutil.copytree(fine_tuned_folder, tmp_path / "run")
    shutil.copytree(exported, folder / "export")

    with pytest.raises(ClassifierError, match="another classifier"):
        hs.push(folder, NAME, on_event=None)
    assert not hub.asked


def test_the_card_that_the_user_completed_is_the_one_that_is_sent(copied: Path, hub: Hub) -> None:
    card = hs.card(copied)
    completed = card.text.replace("*Not stated.", "Leaves in daylight. *", 1)
    card.path.write_text(completed, encoding="utf-8")

    hs.push(copied, NAME, on_event=None)

    assert hub.files(NAME)["README.md"].decode() == completed


@pytest.mark.slow
def test_a_card_with_the_accuracy_of_another_run_is_told(copied: Path, hub: Hub) -> None:
    card = hs.card(copied)
    accuracy = str(hs.Run.load(copied).evaluation.accuracy)
    seen: list[Event] = []

    hs.push(copied, NAME, on_event=seen.append)
    assert not [event for event in seen if isinstance(event, Notice)]

    card.path.write_text(card.text.replace(accuracy, "99.9 % [99.0, 100.0]"), encoding="utf-8")
    hs.push(copied, NAME, on_event=seen.append)
    (told,) = [event for event in seen if isinstance(event, Notice)]
    assert f"does not state this run's accuracy, {accuracy}" in told.text


@pytest.mark.parametrize("licence", ["", "unknown", "CC BY-NC 4.0", "see its package"])
def test_weights_of_unknown_terms_are_sent_only_where_that_is_accepted(run: hs.Run, hub: Hub, licence: str) -> None:
    unknown = licensed(run, licence)
    with pytest.raises(RunError, match="--accept-licence"):
        hs.push(unknown, NAME, on_event=None)
    assert not hub.asked

    hs.push(unknown, NAME, accept_licence=True, on_event=None)
    identifier = "cc-by-nc-4.0" if "NC" in licence else "other"
    assert f'license: "{identifier}"'.encode() in hub.files(NAME)["README.md"]


@pytest.mark.parametrize("step", ["PUT /upload/", f"POST /api/models/{NAME}/commit/", f"POST /api/models/{NAME}/preup"])
def test_an_interrupted_push_leaves_no_half_model(run: hs.Run, hub: Hub, step: str) -> None:
    hub.refuses = {step: 403}

    with pytest.raises(RunError) as caught:
        hs.push(run, NAME, on_event=None)

    assert hub.files(NAME) == {}
    assert caught.value.found == "access denied (403)"
    assert "hf_secret" not in str(caught.value)


def test_a_connection_that_breaks_in_the_middle_leaves_no_half_model(run: hs.Run, hub: Hub) -> None:
    hub.drops = (f"POST /api/models/{NAME}/commit/",)

    with pytest.raises(RunError, match="a connection that broke"):
        hs.push(run, NAME, on_event=None)

    assert hub.files(NAME) == {}


def test_a_damaged_classifier_is_never_sent(copied: Path, hub: Hub) -> None:
    damaged = (copied / "classifier.safetensors").read_bytes()[:-1]
    (copied / "classifier.safetensors").write_bytes(damaged)

    with pytest.raises(HeadstartError):
        hs.push(copied, NAME, on_event=None)
    assert not hub.asked


def test_without_a_network_it_says_so(run: hs.Run, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.close()
    with pytest.raises(RunError, match="no connection"):
        hs.push(run, NAME, on_event=None)


@pytest.mark.slow
def test_the_command_shows_a_refusal_in_four_lines(
    run_folder: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refuses = {"POST /api/repos/create": 401}
    with pytest.raises(SystemExit) as ended:
        main(["push", str(run_folder), NAME])

    output = capsys.readouterr()
    assert ended.value.code == 2
    assert "without a login" in output.err
    assert "hf_secret" not in output.out + output.err
