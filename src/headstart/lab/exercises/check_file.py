"""Grade a student's file: run it in a process of its own, with a time limit, and take the outcome of each check.

The file is code, and is run because the user asks for it; it gets the rights of the user.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

from headstart.errors import RecipeError, near
from headstart.files import expanded, write_text
from headstart.lab.exercises.exercise import CheckOutcome, Exercise, Grade
from headstart.lab.exercises.formulas import EXERCISES as LEVEL_1
from headstart.lab.exercises.measuring import EXERCISES as LEVEL_3
from headstart.lab.exercises.networks import EXERCISES as LEVEL_2
from headstart.progress import OnEvent, Working, silent
from headstart.public_api import public_api
from headstart.untrusted import read_object, read_text

EXERCISES = {exercise.name: exercise for exercise in (*LEVEL_1, *LEVEL_2, *LEVEL_3)}
"""Name → exercise, in the order of their levels."""

TIME_LIMIT = 60.0  # seconds: the import of torch takes up to ten of them, the checks less than one
_MOST_PRINTED = 4000  # bytes of what the file prints that are shown
_SIGN = 5.0  # seconds between two signs of life


def exercise_named(name: str, *, where: str | Path = "lab") -> Exercise:
    """The exercise of that name, with hyphens or underscores.

    Raises:
        RecipeError: there is none.
    """
    known = name.replace("_", "-")
    if known not in EXERCISES:
        raise RecipeError(expected="an exercise", found=repr(name), where=where, hint=near(known, EXERCISES))
    return EXERCISES[known]


@public_api
def write_exercise(name: str, *, out: str | Path | None = None, solution: bool = False) -> Path:
    """Write the file that a student starts from, or one that passes; a file that exists is never overwritten.

    Raises:
        RecipeError: there is no such exercise, or the file exists. RunError: it cannot be written.
    """
    exercise = exercise_named(name)
    usual = exercise.name.replace("-", "_") + ("_solution.py" if solution else ".py")
    path = expanded(out if out is not None else usual)
    if path.exists():
        raise RecipeError(expected="a file that does not exist", found="one that does", where=path, hint="Use --out.")
    write_text(path, exercise.file(solved=solution))
    return path


@public_api
def check_file(file: str | Path, *, seconds: float = TIME_LIMIT, on_event: OnEvent | None = None) -> Grade:
    """Run a student's file in a process of its own and grade it.

    Args:
        seconds: after which it is stopped, with all processes it started.

    Raises:
        RecipeError: the file cannot be read, or says of no exercise that it is its.
    """
    path = expanded(file)
    exercise = exercise_named(exercise_in(path), where=path)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        answer, printed = Path(folder) / "answer.json", Path(folder) / "printed.txt"
        with printed.open("wb") as out:
            code = _run(path, answer, out=out, seconds=seconds, on_event=on_event or silent)
        outcomes = _outcomes(answer, exercise, _problem(code, seconds))
        size = printed.stat().st_size
        with printed.open("rb") as shown:
            shown.seek(max(0, size - _MOST_PRINTED))
            text = shown.read().decode("utf-8", "replace")
    return Grade(exercise.name, outcomes, text, round(time.perf_counter() - started, 1))


def exercise_in(path: Path) -> str:
    """The value of EXERCISE in a file, which is parsed and not run."""
    try:
        tree = ast.parse(read_text(path))
    except (OSError, ValueError, SyntaxError, RecursionError) as error:
        raise RecipeError(expected="a Python file", found=_fault(error), where=path) from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["EXERCISE"]:
            value = getattr(node.value, "value", None)
            if isinstance(value, str):
                return value
    raise RecipeError(
        expected='a line EXERCISE = "NAME"', found="none", where=path, hint="Start from: headstart lab exercise NAME"
    )


def _fault(error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{error.msg} (line {error.lineno})"  # its text names a file <unknown>
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _run(path: Path, answer: Path, *, out: BinaryIO, seconds: float, on_event: OnEvent) -> int | None:
    """The exit code of the process that runs the checks; None: it was stopped at the time limit."""
    command = [sys.executable, "-m", "headstart.lab.exercises.run_checks", str(path.absolute()), str(answer)]
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that what it starts is stopped with it
    )
    try:
        while True:
            left = seconds - (time.monotonic() - started)
            if left <= 0:
                return None
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(min(left, _SIGN))
            on_event(Working(f"check {path.name}", time.monotonic() - started))
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):  # all of its group are gone
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _problem(code: int | None, seconds: float) -> str:
    if code is None:
        return f"Stopped after {seconds:g} s. Is there a loop that does not end?"
    return f"The process ended with code {code} before all checks were done."


def _outcomes(answer: Path, exercise: Exercise, problem: str) -> tuple[CheckOutcome, ...]:
    """What the process reported; checks that it did not come to have the problem."""
    try:
        found = read_object(answer, {"outcomes": list})["outcomes"]
        reported = {str(check): str(text) for check, text in found}
    except (OSError, ValueError, TypeError):  # it was stopped, or the student's code left early
        reported = {}
    return tuple(CheckOutcome(check, reported.get(check, problem)) for check in exercise.checks)


def as_json(outcomes: tuple[CheckOutcome, ...]) -> str:
    """What the process that runs the checks writes for the one that waits."""
    return json.dumps({"outcomes": [(outcome.check, outcome.problem) for outcome in outcomes]})
