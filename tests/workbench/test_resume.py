"""resume: killed or interrupted anywhere, a training ends with the weights of one that was not."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from headstart import progress
from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.data.images import open_image
from headstart.errors import RunError
from headstart.recipe import Recipe
from headstart.training.checkpoint_folder import LATEST, PREVIOUS
from headstart.workbench.job import Job
from headstart.workbench.resume import resume
from headstart.workbench.run import FILES, Run
from headstart.workbench.selftest import SelfTest, selftest_resume
from headstart.workbench.session import Session
from headstart.workbench.train import train
from trained_runs import SAME_BITS

KNOBS = {
    "backbone": "random", "strategy": "last-stage", "epochs": 4, "checkpoint_every": 0.0, "force": True,
    **SAME_BITS,
}  # fmt: skip


def weights(run: Run) -> str:
    return run.classifier.backbone.fingerprint + run.classifier.head.weight.tobytes().hex()


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train(photos, out=tmp_path_factory.mktemp("whole") / "run", on_event=lambda event: None, **KNOBS)


def stop_at(step: int) -> Callable[[progress.Event], None]:
    """Ctrl-C when so many steps are done."""

    def on_event(event: progress.Event) -> None:
        if isinstance(event, progress.Progress) and event.step == "fine-tune" and event.done >= step:
            raise KeyboardInterrupt

    return on_event


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.ProgressReporter, "__call__", lambda self, done, total: self._on_event(
        progress.Progress(self._step, done, total, 1.0, self._unit)
    ))  # fmt: skip


def broken(photos: Path, out: Path, step: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(photos, out=out, on_event=stop_at(step), **KNOBS)


@pytest.mark.slow
@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("step", [1, 2, 3])
def test_interrupted_at_any_step_and_resumed_it_ends_with_the_same_weights(
    photos: Path, tmp_path: Path, whole: Run, step: int
) -> None:
    out = tmp_path / "run"
    broken(photos, out, step)
    assert not out.exists()
    finished = resume(out, on_event=lambda event: None)
    assert weights(finished) == weights(whole)
    assert finished.evaluation == whole.evaluation
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.slow
@pytest.mark.usefixtures("every_step")
def test_images_in_memory_are_kept_so_that_their_training_can_be_resumed(photos: Path, tmp_path: Path) -> None:
    pairs = [(open_image(path).rgb, path.parent.name) for path in sorted(photos.glob("*/*.png"))]
    knobs = {**KNOBS, "epochs": 2, "inside": False}
    uninterrupted = train(pairs, out=tmp_path / "whole", on_event=lambda event: None, **knobs)
    with pytest.raises(KeyboardInterrupt):
        train(pairs, out=tmp_path / "run", on_event=stop_at(1), **knobs)
    del pairs

    finished = resume(tmp_path / "run", on_event=lambda event: None)

    assert weights(finished) == weights(uninterrupted)
    assert finished.evaluation == uninterrupted.evaluation


@pytest.mark.slow
@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("damage", ["cut", "40 flipped bits"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it(
    damage: str, photos: Path, tmp_path: Path, whole: Run
) -> None:
    out = tmp_path / "run"
    broken(photos, out, 3)
    latest = Job.find(out).folder / LATEST
    data = bytearray(latest.read_bytes()[: 1000 if damage == "cut" else None])
    for place in random.Random(0).sample(range(8 * len(data)), 40 if damage != "cut" else 0):
        data[place // 8] ^= 1 << place % 8
    latest.write_bytes(data)
    with pytest.warns(UserWarning, match="the one before it"):
        finished = resume(out, on_event=lambda event: None)
    assert weights(finished) == weights(whole)


@pytest.mark.slow
@pytest.mark.usefixtures("every_step")
def test_two_torn_checkpoints_are_an_error_and_stay(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    broken(photos, out, 3)
    for name in (LATEST, PREVIOUS):
        (Job.find(out).folder / name).write_bytes(b"")
    with pytest.warns(UserWarning, match="cannot be used"), pytest.raises(Exception, match="checkpoint"):
        resume(out, on_event=lambda event: None)
    assert (Job.find(out).folder / LATEST).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("every_step")
def test_changed_images_are_named_and_need_force(photos: Path, tmp_path: Path) -> None:
    mine, out = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photos, mine)
    broken(mine, out, 1)
    next((mine / "disc").iterdir()).unlink()
    with pytest.raises(RunError, match="the images, their labels or their split"):
        resume(out, on_event=lambda event: None)
    assert Job.find(out).has_checkpoint
    assert resume(out, force=True, on_event=lambda event: None).folder == out


@pytest.mark.slow
@pytest.mark.usefixtures("every_step")
def test_changed_weights_are_named(photos: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "weights.safetensors", tmp_path / "run"
    knobs = KNOBS | {"backbone": "cifar_resnet20", "weights": str(file)}

    def write(seed: int) -> None:
        save_file(
            {
                name: tensor.clone()
                for name, tensor in build_backbone(SPECS["cifar_resnet20"], seed=seed).state().items()
            },
            file,
        )

    write(1)
    with pytest.raises(KeyboardInterrupt):
        train(photos, out=out, on_event=stop_at(1), **knobs)
    write(2)
    with pytest.raises(RunError, match="the pretrained weights"):
        resume(out, on_event=lambda event: None)
    write(1)
    assert resume(out, on_event=lambda event: None).folder == out


@pytest.mark.slow
@pytest.mark.usefixtures("every_step")
def test_another_version_is_named(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart import runtime

    out = tmp_path / "run"
    broken(photos, out, 1)
    monkeypatch.setattr(runtime, "versions", lambda: {"torch": "99.0"})
    with pytest.raises(RunError, match=f"torch {torch.__version__.split('+')[0]}.* → 99.0"):
        resume(out, on_event=lambda event: None)


def test_another_device_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart import runtime

    monkeypatch.setattr(runtime, "choose_device", lambda name="auto": "cuda")
    job = Job.begin(tmp_path / "run", tmp_path, Recipe())
    job.pin("images", "weights")
    job.pin("images", "weights")
    monkeypatch.setattr(runtime, "choose_device", lambda name="auto": "cpu")
    with pytest.raises(RunError, match="device cuda → cpu"):
        job.pin("images", "weights")
    job.pin("images", "weights", force=True)


def test_a_resumed_training_keeps_its_id_in_the_tracker_and_says_how_to_send_the_rest(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Job.begin(tmp_path / "run", photos, Recipe(), tracked=("mlflow", "0a1b")).lock.release()
    ids: list[str] = []

    def work_on(session: Session, job: Job, **how: bool) -> SimpleNamespace:
        ids.append(session.run_id)
        return SimpleNamespace(folder=job.target)

    monkeypatch.setattr(sys.modules["headstart.workbench.resume"], "work_on", work_on)
    told: list[progress.Event] = []
    resume(tmp_path / "run", on_event=told.append)

    assert ids == ["0a1b"]
    assert isinstance(told[-1], progress.Notice)
    assert told[-1].text.endswith(f"headstart track {tmp_path / 'run'} --to mlflow")


@pytest.mark.slow
def test_what_was_killed_before_its_first_checkpoint_is_still_there_after_a_resume_that_failed(
    photos: Path, tmp_path: Path
) -> None:
    job = Job.begin(tmp_path / "run", photos, Recipe(**KNOBS))
    job.pin("other images", "other weights")
    job.lock.release()  # the process that began it is gone
    told: list[progress.Event] = []
    with pytest.raises(RunError, match="With --force it continues"):
        resume(tmp_path / "run", on_event=told.append)
    assert Job.find(tmp_path / "run") == job
    assert any(isinstance(event, progress.Notice) and "headstart resume" in event.text for event in told)


def test_there_must_be_something_to_resume(tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(RunError, match="a finished run"):
        resume(run_folder)
    with pytest.raises(RunError, match="found none"):
        resume(tmp_path / "nothing")
    with pytest.raises(RunError, match="an unfinished training"):
        resume("..")


@pytest.mark.slow
@pytest.mark.usefixtures("every_step")
def test_a_second_training_of_that_name_leaves_the_unfinished_one_alone(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    broken(photos, out, 1)
    other = train(photos, out=out, on_event=lambda event: None, **KNOBS)
    assert other.folder.name == "run-2"
    assert Job.find(out).has_checkpoint


@pytest.mark.slow
def test_a_mistake_before_the_first_step_leaves_nothing(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="stage"):
        train(photos, out=tmp_path / "run", on_event=lambda event: None, **(KNOBS | {"unfreeze": "stage9"}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["last-stage", "probe-then-full"])
def test_killed_with_no_warning_and_resumed_it_ends_with_the_same_weights(strategy: str) -> None:
    found = selftest_resume(strategy, kills=2, on_event=lambda event: None)
    assert len(found.kills) >= 1
    assert found.passed, str(found)


def test_a_selftest_that_fails_says_so() -> None:
    found = SelfTest("full", (0.5,), "aa", "bb")
    assert not found.passed
    assert "OTHER WEIGHTS" in str(found)
    assert found.to_dict()["passed"] is False
    never = SelfTest("full", (), "aa", "aa")  # a training that was not killed proves nothing
    assert not never.passed
    assert "nothing was tested" in str(never)
