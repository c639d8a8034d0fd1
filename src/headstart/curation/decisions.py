"""Decisions about images, one line of JSON each in a file that only grows: relabel, drop, keep, undo.

In: a person's decision. Out: what holds now, by the content of the image, so that a renamed file keeps its decision.
A line is on the disk when `append` returns; a process that is killed while it writes leaves at most an unfinished last
line, which is reported, ignored, and removed by the next decision. The images stay untouched.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from headstart.errors import RunError
from headstart.line_file import append_line
from headstart.plain import Plain
from headstart.untrusted import Untrusted, parse_object, read_bytes

FILE = "review.jsonl"
ACTIONS = ("relabel", "drop", "keep")
_UNDO = "undo"
_KINDS = {"sha256": str, "image": str, "action": str, "old": str, "new": str, "when": str}
_BEGINNING = b'{"sha256": "'  # of a line
_MOST_BYTES = 200_000_000  # a million decisions


@dataclass(frozen=True, kw_only=True)
class Decision(Plain):
    """What was decided about one image.

    Args:
        sha256: of the image file's bytes, hex. image: its name in the data set when it was decided.
        action: `relabel`, `drop` (not used for training), `keep` (the label is right).
        old: its label then. new: the class it is relabelled to; else empty.
        when: ISO 8601, UTC.
    """

    sha256: str
    image: str
    action: str
    old: str
    new: str = ""
    when: str = ""

    @property
    def label(self) -> str | None:
        """The class that the image has by this decision; None where it is dropped."""
        return None if self.action == "drop" else self.new or self.old

    def __str__(self) -> str:
        done = {"relabel": f"{self.old} → {self.new}", "drop": "dropped", "keep": f"kept as {self.old}"}
        return f"{self.image}: {done[self.action]}"


@dataclass(frozen=True)
class Decisions:
    """What holds after all lines of a file.

    Args:
        standing: in the order in which they were made, undone ones left out; a later one about the same image wins.
        torn: how many bytes at the end are an unfinished line.
    """

    standing: tuple[Decision, ...] = ()
    torn: int = 0

    @property
    def by_content(self) -> dict[str, Decision]:
        """Content hash of an image → the decision that holds for it."""
        return {one.sha256: one for one in self.standing}

    def __len__(self) -> int:
        return len(self.by_content)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what holds, in no order; empty where nothing was decided."""
        lines = sorted(f"{one.sha256} {one.action} {one.new}" for one in self.by_content.values())
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest() if lines else ""

    @property
    def warning(self) -> str:
        """That the last line is unfinished; empty where it is not."""
        if not self.torn:
            return ""
        return f"The last line of {FILE} is unfinished ({self.torn} bytes): its decision was not saved. Decide again."


@dataclass(frozen=True)
class DecisionFile:
    """The file of a run's decisions; several processes may append to it."""

    path: Path

    def read(self) -> Decisions:
        """What holds now; nothing where there is no file.

        Raises:
            RunError: a line, other than an unfinished last one, is damaged, or the file cannot be read.
        """
        try:
            data = read_bytes(self.path, _MOST_BYTES)
        except FileNotFoundError:
            return Decisions()
        except (OSError, ValueError) as error:
            raise _damaged(self.path, str(error)) from error
        return self._parse(data)

    def append(self, decision: Decision) -> None:
        """Add a decision; it is on the disk when this returns.

        Raises:
            RunError: the file is damaged or cannot be written.
        """
        self._write({"sha256": decision.sha256, "image": decision.image, "action": decision.action,
                     "old": decision.old, "new": decision.new})  # fmt: skip

    def undo(self) -> Decision | None:
        """Take back the last decision that stands; None where there is none.

        Raises:
            RunError: the file is damaged or cannot be written.
        """
        standing = self.read().standing
        if not standing:
            return None
        last = standing[-1]
        self._write({"sha256": last.sha256, "image": last.image, "action": _UNDO, "old": "", "new": ""})
        return last

    def _write(self, values: dict[str, str]) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        append_line(self.path, json.dumps({**values, "when": now}), is_whole=lambda line: not _is_torn(line))

    def _parse(self, data: bytes) -> Decisions:
        *lines, last = data.split(b"\n")
        torn = len(last) if last and _is_torn(last) else 0
        lines += [last] if last and not torn else []  # an editor may have taken the last line break
        standing: list[Decision] = []
        for number, line in enumerate(lines, 1):
            if not line.strip():  # an editor may have left it
                continue
            try:
                values = parse_object(line, _KINDS)
                self._apply(standing, {key: values[key] for key in _KINDS})
            except (Untrusted, UnicodeDecodeError) as error:
                raise _damaged(self.path, f"line {number}: {error}") from error
        return Decisions(tuple(standing), torn)

    @staticmethod
    def _apply(standing: list[Decision], values: dict[str, str]) -> None:
        if values["action"] == _UNDO:
            same = [place for place, one in enumerate(standing) if one.sha256 == values["sha256"]]
            if same:
                del standing[same[-1]]
            return
        if values["action"] not in ACTIONS or bool(values["new"]) != (values["action"] == "relabel"):
            raise Untrusted(f"no decision: {values['action']!r:.40} with the new class {values['new']!r:.40}")
        standing.append(Decision(**values))


def find_decisions(named: str | Path) -> DecisionFile:
    """The file of decisions that a user names: itself, or the folder of the run that it lies in.

    Raises:
        RunError: there is none.
    """
    path = Path(named)
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise RunError(
            expected=f"decisions: the folder of a run with a {FILE}, or that file",
            found="none",
            where=file,
            hint="Make some: headstart review RUN --drop IMAGE",
        )
    return DecisionFile(file)


def _is_torn(line: bytes) -> bool:
    """Whether a line without a line break is the beginning of a decision, as a killed process leaves it.

    A cut object never ends with its own brace. What begins otherwise, or has another kind of line break in it, was not
    written by us: it may hold whole decisions, which must not be removed.
    """
    written = line.rstrip(b"\0")  # some file systems fill what did not reach the disk with zeros
    if written[: len(_BEGINNING)] != _BEGINNING[: len(written)] or b"\r" in written:
        return False
    try:
        parse_object(line, _KINDS)
    except (Untrusted, UnicodeDecodeError):
        return True
    return False


def _damaged(path: Path, found: str) -> RunError:
    return RunError(
        expected="a file of decisions, one JSON object a line",
        found=found,
        where=path,
        hint="Fix or remove that line with a text editor; the other decisions are whole.",
    )
