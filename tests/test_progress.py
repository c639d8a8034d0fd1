"""Events of long jobs: how they are reported, printed and described."""

from __future__ import annotations

import pytest

from headstart.progress import Detail, Event, Notice, Progress, ProgressReporter, print_event, progress_line, silent


def test_a_rate_and_the_time_left_follow_from_what_is_done() -> None:
    half = Progress("extract features", 50, 200, seconds=10.0)
    assert (half.rate, half.seconds_left) == (5.0, 30.0)
    start = Progress("extract features", 0, 200, seconds=0.0)
    assert (start.rate, start.seconds_left) == (0.0, float("inf"))


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            Progress("extract", 120, 397, seconds=4.0),
            "extract  120/397 images  30.0 images/s  9 s left",
        ),
        (
            Progress("get", 1500, 3000, seconds=1.0, unit="bytes"),
            "get  1,500/3,000 bytes  1500.0 bytes/s  1 s left",
        ),
        (Progress("solve head", 51, 100, seconds=2.0, unit="%"), "solve head  51 %  2 s left"),  # no `25.5 %/s`
        (Progress("explain", 2, 4, seconds=110.0), "explain  2/4 images  0.018 images/s  110 s left"),
        (Progress("read", 0, 9, seconds=3.0), "read  0/9 images  …"),
        (Progress("read", 3, 9, seconds=0.01), "read  3/9 images  …"),
        (Progress("read", 9, 9, seconds=0.01), "read  9/9 images  900.0 images/s  0 s left"),
    ],
)
def test_a_line_has_a_rate_once_it_means_something(event: Progress, line: str) -> None:
    assert progress_line(event).rstrip() == line


def test_of_many_calls_the_last_is_always_reported() -> None:
    events: list[Event] = []
    report = ProgressReporter(events.append, "read", unit="files")
    for done in range(1, 1001):
        report(done, 1000)

    last = events[-1]
    assert isinstance(last, Progress)
    assert (last.step, last.done, last.total, last.unit) == ("read", 1000, 1000, "files")
    assert len(events) < 1000  # ten a second
    assert last.seconds >= 0


def test_events_are_printed_to_stderr_and_silence_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_event(Notice("Downloading 47 MB."))
    print_event(Progress("read", 1, 2, seconds=1.0))
    print_event(Progress("read", 2, 2, seconds=1.0))
    print_event(Event())
    silent(Notice("not shown"))

    printed = capsys.readouterr()
    assert printed.out == ""
    notice, progress = printed.err.split("\n")[:2]
    assert notice == "Downloading 47 MB."
    assert [line.split("  ")[1] for line in progress.split("\r")] == ["1/2 images", "2/2 images"]
    assert printed.err.endswith("\n")


def test_details_are_for_faces_that_ask_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_event(Detail("audit: 1.2 s"))
    print_event(Notice("read this"))

    assert capsys.readouterr().err == "read this\n"
