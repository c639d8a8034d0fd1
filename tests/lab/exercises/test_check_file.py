"""check_file: in a process of its own, stopped at the limit with what it started; files that are no exercise."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from headstart.errors import RecipeError
from headstart.lab.exercises.check_file import EXERCISES, check_file, write_exercise


@pytest.mark.slow
def test_a_solution_passes_in_a_process_of_its_own(tmp_path: Path) -> None:
    file = write_exercise("running_statistics", out=tmp_path / "mine.py", solution=True)
    with file.open("a") as out:
        out.write("print('from the file')\n")

    grade = check_file(file)

    assert grade.passed, str(grade)
    assert "from the file" in grade.printed


@pytest.mark.slow
def test_only_the_process_that_runs_the_file_imports_torch(tmp_path: Path) -> None:
    file = write_exercise("batch-norm", out=tmp_path / "mine.py", solution=True)
    code = (
        "import sys\n"
        "from headstart.lab.exercises.check_file import check_file\n"
        f"grade = check_file({str(file)!r})\n"
        "print(grade.points, sorted({'torch', 'numpy', 'scipy'} & set(sys.modules)))\n"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.split() == ["3", "[]"]


@pytest.mark.slow
def test_a_loop_is_stopped_with_the_processes_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'], stdout=subprocess.DEVNULL)\n"
        "while True:\n    pass\n"
    )
    file = tmp_path / "loop.py"
    file.write_text(f'EXERCISE = "normalise"\n{code}')
    events: list[object] = []

    started = time.monotonic()
    grade = check_file(file, seconds=0.5, on_event=events.append)

    assert time.monotonic() - started < 60
    assert grade.points == 0
    assert "Stopped after 0.5 s" in grade.outcomes[0].problem


@pytest.mark.slow
def test_checks_that_passed_stay_passed_when_a_later_one_ends_the_process(tmp_path: Path) -> None:
    file = write_exercise("batch-norm", out=tmp_path / "mine.py", solution=True)
    line = "    variance = batch.var(0, unbiased=False)\n"
    leaves = (
        line + "    if (variance == 0).any():\n        __import__('os')._exit(3)\n"
    )  # only the third check has such a batch
    file.write_text(file.read_text("utf-8").replace(line, leaves), "utf-8")

    problems = [outcome.problem for outcome in check_file(file).outcomes]

    assert problems[:2] == ["", ""]
    assert "ended with code 3" in problems[2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1", "none"),
        ("EXERCISE = 3", "none"),
        ("x = 1\ndef", "invalid syntax (line 2)"),
        ('EXERCISE = "nothing"', "'nothing'"),
        ("\0", "null bytes"),
    ],
)
def test_a_file_that_is_no_exercise_is_refused_and_not_run(text: str, found: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)

    with pytest.raises(RecipeError) as error:
        check_file(file)
    assert found in error.value.found
    assert "<unknown>" not in error.value.found
    assert error.value.where == str(file)
    with pytest.raises(RecipeError, match="No such file"):
        check_file(tmp_path / "missing.py")


def test_a_file_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert write_exercise("batch-norm").name == "batch_norm.py"
    assert write_exercise("batch-norm", solution=True).name == "batch_norm_solution.py"
    assert "NotImplementedError" in Path("batch_norm.py").read_text()
    with pytest.raises(RecipeError, match="does not exist"):
        write_exercise("batch-norm")
    with pytest.raises(RecipeError, match="Did you mean batch-norm"):
        write_exercise("batchnorm")
    assert len(EXERCISES) == 10
