"""A disk that fails on demand: the file operations below some folders are counted, and the N-th one is refused.

Python's own doors are wrapped (open, write, fsync, mkdir, rename, replace, fallocate), and those of the C and Rust
writers that headstart uses (safetensors, torch.save, SQLite), each of which says a full disk in its own words.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import io
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

_SAFETENSORS = {
    "headstart.features.cache": ("save_file", "safe_open"),
    "headstart.features.features_file": ("safe_open",),
    "headstart.classifier.file": ("safe_open",),
}


class FaultyDisk:
    """Counts operations on paths below `places`; `fail_at` arms it, `log` says what was asked for."""

    def __init__(self, patch: pytest.MonkeyPatch, *places: Path) -> None:
        self.places = tuple(str(place) for place in places)
        self.log: list[str] = []
        self.failed = ""
        self._at, self._code = 0, 0
        self._is_on = False
        self._wrap(patch)

    def fail_at(self, number: int, code: int) -> None:
        """Refuse the operation of this number, counted from 1; 0 refuses none."""
        self.log, self.failed, self._at, self._code, self._is_on = [], "", number, code, True

    def rest(self) -> None:
        """Count and refuse nothing any more."""
        self._is_on = False

    def step(self, what: str, path: object, make: Callable[[int], Exception] | None = None) -> None:
        """One operation: counted, and refused if it is the one."""
        text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
        if not self._is_on or not text.startswith(self.places):
            return
        self.log.append(f"{what} {text}")
        if len(self.log) == self._at:
            self.failed = self.log[-1]
            raise make(self._code) if make else OSError(self._code, os.strerror(self._code), text)

    def _wrap(self, patch: pytest.MonkeyPatch) -> None:
        real_open = builtins.open
        patch.setattr(builtins, "open", self._open(real_open))
        patch.setattr(io, "open", self._open(real_open))
        for name in ("open", "mkdir", "replace", "rename"):
            patch.setattr(os, name, self._first_argument(name, getattr(os, name)))
        for name in ("fsync", "posix_fallocate"):
            if hasattr(os, name):
                patch.setattr(os, name, self._descriptor(name, getattr(os, name)))
        for module, names in _SAFETENSORS.items():
            for name in names:
                real = getattr(importlib.import_module(module), name)
                at = 1 if name == "save_file" else 0
                patch.setattr(f"{module}.{name}", self._foreign(name, real, at, _safetensors))
        patch.setattr(torch, "save", self._foreign("torch.save", torch.save, 1, _torch))
        patch.setattr(sqlite3, "connect", self._foreign("sqlite", sqlite3.connect, 0, _sqlite))

    def _first_argument(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(path: Any, *arguments: Any, **named: Any) -> Any:
            self.step(name, path)
            return real(path, *arguments, **named)

        return called

    def _descriptor(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(handle: int, *arguments: Any) -> Any:
            link = Path(f"/proc/self/fd/{handle}")
            self.step(name, link.readlink() if link.exists() else self.places[0])
            return real(handle, *arguments)

        return called

    def _foreign(
        self, name: str, real: Callable[..., Any], at: int, make: Callable[[int], Exception]
    ) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            self.step(name, arguments[at], make)
            return real(*arguments, **named)

        return called

    def _open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            if isinstance(file, int):
                return real(file, mode, buffering, *rest, **named)
            self.step("open" if mode.strip("bt") == "r" else f"open({mode})", file)
            if not self._is_on or not os.fspath(file).startswith(self.places) or mode.strip("bt") not in ("w", "x"):
                return real(file, mode, buffering, *rest, **named)
            raw = io.BufferedWriter(_Writer(self, file, mode.strip("bt")))
            if "b" in mode:
                return raw
            words = ("encoding", "errors", "newline")
            return io.TextIOWrapper(raw, **dict(zip(words, rest, strict=False)), **named)

        return called


class _Writer(io.FileIO):
    def __init__(self, disk: FaultyDisk, path: Any, mode: str) -> None:
        super().__init__(path, mode)
        self._disk, self._path = disk, path

    def write(self, data: Any) -> int:
        self._disk.step("write", self._path)
        return super().write(data) or 0


def _safetensors(code: int) -> Exception:
    return SafetensorError(f"Error while serializing: I/O error: {os.strerror(code)} (os error {code})")


def _torch(code: int) -> Exception:
    return RuntimeError(f"[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0: {os.strerror(code)}")


def _sqlite(code: int) -> Exception:
    words = {errno.ENOSPC: "database or disk is full", errno.EROFS: "attempt to write a readonly database"}
    return sqlite3.OperationalError(words.get(code, "unable to open database file"))
