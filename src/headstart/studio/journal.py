"""Journal: every change of the studio as moves of files, written down before they are made, so that each can be undone.

The file `.headstart/journal.jsonl` in the folder has a line for each change. A change that a killed process left half
done is completed when the folder is opened again; nothing is ever deleted, removed files lie in `.headstart/trash`.
Several studios may have one folder open: each reads what the others have written before it writes.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from headstart import files
from headstart.data.folder_scan import STUDIO
from headstart.errors import DataError, HeadstartError, shown
from headstart.line_file import append_line, one_at_a_time
from headstart.untrusted import parse_json
from headstart.wording import counted

HIDDEN = STUDIO
_MOST_BYTES = 200_000_000  # a million moved files

Move = tuple[str, str]
"""From and to: posix paths relative to the folder."""


@dataclass(frozen=True)
class Change:
    """One change.

    Args:
        number: from 1. text: what was done, for people. batch: changes of one batch are undone together; empty: alone.
        moves: done in order. back: done in order to undo it. undoes: numbers of the changes that this one undid.
    """

    number: int
    text: str
    moves: tuple[Move, ...]
    back: tuple[Move, ...]
    batch: str = ""
    undoes: tuple[int, ...] = ()


class Journal:
    """The changes of one folder, which several studios may share; the caller lets one thread at a time use it.

    Raises:
        DataError: the journal is not one of ours.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._path = self.folder / HIDDEN / "journal.jsonl"
        self.changes: list[Change] = []
        self._undone: set[int] = set()
        self._size = self._depth = 0  # bytes that were read; blocks of `alone` that are open
        self._due: tuple[Move, ...] = ()  # of the last change that was read: perhaps half done
        if self._path.is_file():
            with self.alone():
                pass

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which no other studio changes the folder; what others have changed is read first.

        On a file system without locks nobody is kept out.
        """
        with contextlib.ExitStack() as opened:
            if not self._depth:
                self._lock(opened)
                self._catch_up()
                self._complete()
            self._depth += 1
            opened.callback(self._leave)
            yield

    def refresh(self) -> None:
        """Read what other studios have written; that one has spoilt the journal is said when something is changed."""
        with contextlib.suppress(DataError):
            self._catch_up(whole_lines=True)

    def _complete(self) -> None:
        moves, self._due = self._due, ()
        self._perform(moves)

    def _leave(self) -> None:
        self._depth -= 1

    def _lock(self, opened: contextlib.ExitStack) -> None:
        with contextlib.suppress(OSError, HeadstartError):  # the change itself says why nothing can be written there
            files.make_folder(self._path.parent)
            opened.enter_context(one_at_a_time(self._path.parent / "lock"))

    @property
    def next_number(self) -> int:
        """Of the change that comes next."""
        return len(self.changes) + 1

    def trash(self, path: str) -> str:
        """Where a file is moved when the next change removes it; what an earlier journal removed stays there."""
        place, again = f"{HIDDEN}/trash/{self.next_number}/{path}", 1
        while os.path.lexists(self.folder / place):
            again += 1
            place = f"{HIDDEN}/trash/{self.next_number}-{again}/{path}"
        return place

    def record(self, text: str, moves: Sequence[Move], back: Sequence[Move], *, batch: str = "") -> Change:
        """Write a change down and do it.

        Raises:
            DataError: a path leads out of the folder. RunError: a file cannot be moved.
        """
        with self.alone():
            return self._add(Change(self.next_number, text, tuple(moves), back=tuple(back), batch=batch))

    @property
    def undoable(self) -> tuple[Change, ...]:
        """The changes that `undo` would undo: the last one that is not undone, with its batch."""
        open_ = [change for change in self.changes if not change.undoes and self.stands(change.number)]
        if not open_:
            return ()
        last = open_[-1]
        return tuple(c for c in open_ if c is last or (last.batch and c.batch == last.batch))

    def stands(self, number: int) -> bool:
        """Whether a change was not undone."""
        return number not in self._undone

    def undo(self) -> Change | None:
        """Undo the last change, with its whole batch; None: there is nothing to undo.

        Raises:
            DataError: something else has the place of what would come back. RunError: a file cannot be moved.
        """
        with self.alone():
            return self._undo()

    def _undo(self) -> Change | None:
        undone = self.undoable
        if not undone:
            return None
        moves = [move for change in reversed(undone) for move in change.back]
        self._check_free(moves)
        gone = self._gone(moves)
        numbers = tuple(change.number for change in undone)
        text = f"Undone: {said_together(undone)}"
        if gone:
            text += f" (gone for good: {gone} of {counted(len(moves), 'file or folder', 'files or folders')})"
        return self._add(Change(self.next_number, text, tuple(moves), (), undoes=numbers))

    def _add(self, change: Change) -> Change:
        for move in change.moves:
            self._places(move)
        files.make_folder(self._path.parent)
        line = {
            "number": change.number,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "text": change.text,
            "moves": change.moves,
            "back": change.back,
            "batch": change.batch,
            "undoes": change.undoes,
        }
        append_line(self._path, json.dumps(line))
        self._catch_up()
        self._complete()
        return change

    def _check_free(self, moves: Sequence[Move]) -> None:
        """Nothing stands where a move would bring something back, unless a move before it takes that away."""
        left = set[PurePosixPath]()
        for old, new in moves:
            here, there = self._places((old, new))
            target = PurePosixPath(new)
            is_free = not left.isdisjoint((target, *target.parents))
            if os.path.lexists(here) and os.path.lexists(there) and not is_free:
                raise DataError(
                    expected=f"the place of {old} to be free: {new}",
                    found="something else, which was put there since",
                    where=there,
                    hint="Rename or move it, then undo again.",
                )
            left.add(PurePosixPath(old))

    def _gone(self, moves: Sequence[Move]) -> int:
        """How many moves have nothing to move, neither now nor after those before them."""
        gone, brought = 0, set[PurePosixPath]()
        for old, new in moves:
            path = PurePosixPath(old)
            is_there = any(os.path.lexists(place) for place in self._places((old, new)))  # there, or moved already
            if is_there or not brought.isdisjoint((path, *path.parents)):
                brought.add(PurePosixPath(new))
            else:
                gone += 1
        return gone

    def _perform(self, moves: Sequence[Move]) -> None:
        """Move what is still at its old place; what is there already is done."""
        for move in moves:
            with files.os_errors(self.folder, kind=DataError):  # a name that is too long
                old, new = self._places(move)
                is_due = old.exists() and not new.exists()
            if is_due:
                files.make_folder(new.parent)
                files.replace_file(old, new)

    def _places(self, move: Move) -> tuple[Path, Path]:
        return self._inside(move[0]), self._inside(move[1])

    def _inside(self, name: str) -> Path:
        steps = PurePosixPath(name)
        path = self.folder / steps
        if steps.is_absolute() or ".." in steps.parts or not path.parent.resolve().is_relative_to(self.folder):
            raise DataError(
                expected="files inside the folder",
                found=f"{name!r}, which leads out of it",
                where=self.folder,
                hint="Links to other folders can be read, but what is behind them is not moved.",
            )
        return path

    def _catch_up(self, *, whole_lines: bool = False) -> None:
        """Read what was written since; of a journal that was replaced, all.

        Args:
            whole_lines: without a line at the end that has no line break yet: another studio may be writing it.
        """
        with files.os_errors(self._path, kind=DataError):
            size = self._path.stat().st_size if self._path.is_file() else 0
            if size > _MOST_BYTES:
                raise self._foreign("one that is too large")
            if size < self._size:
                self.changes, self._undone, self._size = [], set(), 0
            if size == self._size:
                return
            with self._path.open("rb") as file:
                file.seek(self._size)
                content = file.read(size - self._size)
        if whole_lines:
            content = content[: content.rfind(b"\n") + 1]
        found: list[Change] = []
        for line in content.split(b"\n"):
            try:
                values = parse_json(line)
            except ValueError:
                continue  # empty, or cut off when the process was killed: its change was never begun
            found.append(self._change(values, self.next_number + len(found)))
        self.changes += found
        self._undone.update(number for change in found for number in change.undoes)
        self._size += len(content)
        self._due = found[-1].moves if found else self._due

    def _change(self, values: Any, number: int) -> Change:
        try:
            moves, back = ([(str(a), str(b)) for a, b in values[key]] for key in ("moves", "back"))
            undoes = tuple(int(one) for one in values["undoes"])
            change = Change(
                number, str(values["text"]), tuple(moves), back=tuple(back), batch=str(values["batch"]), undoes=undoes
            )
            stated = values["number"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:  # an infinite number
            raise self._foreign(f"line {number}, which is no change") from error
        if stated != number:  # a line is lost
            raise self._foreign(f"change {shown(repr(stated)[:40])} where {number} comes next")
        return change

    def _foreign(self, found: str) -> DataError:
        hint = "Move it away; images and classes stay, only the way back is lost."
        return DataError(expected="a journal of the studio", found=found, where=self._path, hint=hint)


def said_together(changes: Sequence[Change]) -> str:
    """What changes that are undone together did; empty: there are none."""
    more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
    return f"{changes[0].text}{more}" if changes else ""
