"""Job: an unfinished training keeps its name, its plan, and what it was started with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart.errors import RunError
from headstart.finetune.cost import Cost
from headstart.finetune.judgement import judge
from headstart.finetune.plan import FineTunePlan
from headstart.recipe import Recipe
from headstart.workbench.job import Job, clear_job, unfinished_runs

JUDGEMENT = judge(
    np.eye(2)[np.arange(12) % 2], {"last-stage at 0.03": 2 * np.eye(2)[np.arange(12) % 2]}, labels=np.arange(12) % 2
)
RECIPE = Recipe(backbone="embedded", strategy="last-stage")
PLAN = FineTunePlan(
    strategy="last-stage",
    epochs=3,
    lr=0.03,
    halvings=1,
    cost=Cost(once=1.0, epoch=2.0, after=0.5, epochs=3, disk=10, memory=20),
    reasons=("a reason",),
    judgement=JUDGEMENT,
)


def begun(place: Path) -> Job:
    return Job.begin(place / "runs" / "a", place / "photos", RECIPE)


def test_a_job_is_found_again_by_the_name_of_its_run(tmp_path: Path) -> None:
    job = begun(tmp_path)
    assert Job.find(tmp_path / "runs" / "a") == job
    assert not job.has_checkpoint


def test_a_job_keeps_the_call_that_began_it(tmp_path: Path) -> None:
    Job.begin(tmp_path / "run", tmp_path / "photos", RECIPE, command="headstart train photos --strategy last-stage")
    assert Job.find(tmp_path / "run").command == "headstart train photos --strategy last-stage"


def test_a_job_keeps_its_tracker_and_its_id_there(tmp_path: Path) -> None:
    Job.begin(tmp_path / "run", tmp_path / "photos", RECIPE, tracked=("mlflow", "0a1b"))
    assert Job.find(tmp_path / "run").tracked == ("mlflow", "0a1b")


def test_two_jobs_never_share_a_name_nor_take_that_of_a_run(tmp_path: Path) -> None:
    jobs = [begun(tmp_path) for _ in range(2)]
    assert [job.target.name for job in jobs] == ["a", "a-2"]
    (tmp_path / "runs" / "a-3").mkdir()
    assert begun(tmp_path).target.name == "a-4"


def test_what_was_killed_before_its_first_checkpoint_blocks_no_name(tmp_path: Path) -> None:
    job = begun(tmp_path)
    (job.folder / ".job.json.part").write_text("{")
    job.lock.release()  # as the system does when a process is killed

    again = begun(tmp_path)

    assert again.target == job.target
    assert not (job.folder / ".job.json.part").exists()


@pytest.mark.parametrize("is_worth_keeping", [False, True])
def test_a_training_that_is_no_job_clears_one_of_its_name_without_a_checkpoint(
    tmp_path: Path, *, is_worth_keeping: bool
) -> None:
    job = begun(tmp_path)
    clear_job(job.target)
    assert job.folder.is_dir()  # somebody works on it
    if is_worth_keeping:
        (job.folder / "checkpoint.pth").touch()
    job.lock.release()

    clear_job(job.target)

    assert job.folder.is_dir() == is_worth_keeping


def test_a_run_that_was_killed_while_it_was_written_leaves_nothing_beside_the_next(tmp_path: Path) -> None:
    job = begun(tmp_path)
    (job.folder / "checkpoint.pth").touch()
    job.lock.release()
    half = job.target.with_name(".a-0123abcd.part")
    half.mkdir()

    assert begun(tmp_path).target.name == "a-2"  # the work can be resumed
    assert not half.exists()


def test_work_that_can_go_on_is_kept_and_blocks_its_name(tmp_path: Path) -> None:
    job = begun(tmp_path)
    (job.folder / "checkpoint.pth").touch()
    job.lock.release()

    assert begun(tmp_path).target.name == "a-2"
    assert Job.find(job.target).has_checkpoint


def test_only_work_that_can_go_on_is_listed(tmp_path: Path) -> None:
    empty, kept, over = (begun(tmp_path) for _ in range(3))
    for job in (kept, over):
        (job.folder / "checkpoint.pth").touch()
    over.target.mkdir()
    (over.target / "run.json").write_text("{}")
    over.seal(over.target)
    for job in (empty, kept, over):
        job.lock.release()

    assert unfinished_runs(tmp_path / "runs") == [kept.target]
    assert not over.folder.exists()
    assert unfinished_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize("is_begun_again", [False, True])
def test_a_job_whose_run_is_there_is_over(tmp_path: Path, *, is_begun_again: bool) -> None:
    """Killed between the two steps: the run has its name, the job is not yet removed."""
    job = begun(tmp_path)
    (job.folder / "checkpoint.pth").touch()
    job.target.mkdir()
    (job.target / "run.json").write_text("{}")
    job.seal(job.target)
    job.lock.release()

    if is_begun_again:
        assert begun(tmp_path).target != job.target
    else:
        with pytest.raises(RunError, match="a finished run"):
            Job.find(job.target)
    assert not job.folder.exists()


@pytest.mark.slow
def test_only_one_process_works_on_a_job(tmp_path: Path) -> None:
    job = begun(tmp_path)
    code = "import sys; from headstart.workbench.job import Job\nwith Job.find(sys.argv[1]).claimed(): print('mine')"
    command = [sys.executable, "-c", code, str(job.target)]

    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    job.lock.release()
    taken = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "another process that works on it" in refused.stderr
    assert taken.stdout == "mine\n"


def test_the_plan_comes_back_as_it_was_noted(tmp_path: Path) -> None:
    job = begun(tmp_path)
    assert job.recall() is None
    job.note(PLAN)
    assert Job.find(job.target).recall() == PLAN


def test_a_damaged_plan_is_made_again_and_takes_the_checkpoints_with_it(tmp_path: Path) -> None:
    job = begun(tmp_path)
    for damage in (lambda text: text[:20], lambda text: text.replace(str(PLAN.lr), "0.5"), lambda text: "[" * 9999):
        job.note(PLAN)
        (job.folder / "checkpoint.pth").touch()
        path = job.folder / "plan.json"
        changed = damage(path.read_text("utf-8"))
        assert changed != path.read_text("utf-8")
        path.write_text(changed, "utf-8")

        with pytest.warns(UserWarning, match="the fine-tuning starts again"):
            assert job.recall() is None

        assert not path.exists()
        assert not job.has_checkpoint


def test_other_images_or_weights_are_named_and_need_force(tmp_path: Path) -> None:
    job = begun(tmp_path)
    job.pin("images", "weights")
    job.pin("images", "weights")
    with pytest.raises(RunError, match="the images, their labels or their split; the pretrained weights"):
        job.pin("other images", "other weights")
    job.pin("other images", "other weights", force=True)
    job.pin("other images", "other weights")


def test_a_finished_job_leaves_nothing(tmp_path: Path) -> None:
    job = begun(tmp_path)
    job.done()
    assert list((tmp_path / "runs").iterdir()) == []
    with pytest.raises(RunError, match="an unfinished training"):
        Job.find(job.target)
