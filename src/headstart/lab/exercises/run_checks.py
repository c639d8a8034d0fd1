"""The process that runs a student's file and its checks: `python -m headstart.lab.exercises.run_checks FILE ANSWER`."""

from __future__ import annotations

import contextlib
import importlib
import runpy
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart.files import write_text
from headstart.lab.exercises.check_file import as_json, exercise_in, exercise_named
from headstart.lab.exercises.comparison import Wrong
from headstart.lab.exercises.exercise import CheckOutcome, Exercise

_MOST_PRINTED = 16_000_000  # bytes: a loop that prints does not fill the disk


def main(file: str, answer: str) -> None:
    """Run the file, then each check of its exercise, and write what came out."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_PRINTED, _MOST_PRINTED))
    try:
        names = runpy.run_path(file)
        exercise = exercise_named(str(names["EXERCISE"]))
    except BaseException as error:  # a student's file may raise anything, SystemExit too
        exercise = exercise_named(exercise_in(Path(file)))
        problem = f"The file cannot be run: {describe(error, file)}"
        write_text(Path(answer), as_json(tuple(CheckOutcome(check, problem) for check in exercise.checks)))
        return
    done: list[CheckOutcome] = []
    for outcome in grade(exercise, names, file):
        done.append(outcome)
        write_text(Path(answer), as_json(tuple(done)))  # at once: the next check may not end


def grade(exercise: Exercise, names: Mapping[str, Any], file: str = "") -> Iterator[CheckOutcome]:
    """Run each check on the names that a student's file defines, one after the other."""
    checks = importlib.import_module(exercise.checked_by).CHECKS[exercise.name]
    for text, check in zip(exercise.checks, checks, strict=True):
        yield CheckOutcome(text, _problem(check, names, file))


def _problem(check: Any, names: Mapping[str, Any], file: str) -> str:
    try:
        check(names)
    except Wrong as wrong:
        return str(wrong)
    except NotImplementedError:
        return "Not written yet."
    except BaseException as error:  # a student's code may raise anything, SystemExit too
        return describe(error, file)
    return ""


def describe(error: BaseException, file: str) -> str:
    """An error in one line, with the student's line that it came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    place = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}"[:400] + place


if __name__ == "__main__":
    main(*sys.argv[1:])
