"""The system underneath, refusing: every command on full, read-only and forbidden disks, and with closed streams.

Needs root for the disks (a tmpfs is mounted); without it those trials are left out, and said to be.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drawn_photos import draw, draw_folder
from forked_commands import Outcome, clear, everything, run_command, unfinished, warm

NOBODY = 65534
_TRAIN = ("--backbone", "embedded", "--engine", "eager", "--offline", "--no-inside")

COMMANDS: dict[str, str] = {
    "train": f"train PLACE/photos --out OUT/run {' '.join(_TRAIN)}",
    "train last stage": f"train PLACE/photos --out OUT/run --strategy last-stage --epochs 1 {' '.join(_TRAIN)}",
    "train, all pages": f"train PLACE/photos --out OUT/run {' '.join(_TRAIN[:-1])}",
    "predict csv": "predict PLACE/run PLACE/photos --csv OUT/t.csv",
    "predict sorted": "predict PLACE/run PLACE/photos --sort-into OUT/sorted",
    "predict parquet": "predict PLACE/run PLACE/photos --format parquet --out OUT/t.parquet",
    "predict json": "predict PLACE/run PLACE/photos --format json --out OUT/t.json",
    "predict onnx": "predict PLACE/run/export/model.onnx PLACE/photos --csv OUT/t.csv",
    "predict": "predict PLACE/run PLACE/photos --json",
    "evaluate": "evaluate PLACE/run PLACE/photos",
    "embed": "embed PLACE/photos --backbone embedded --out OUT/features.parquet",
    "compare": "compare PLACE/run PLACE/run",
    "audit": "audit PLACE/photos",
    "audit json": "audit PLACE/photos --json",
    "show": "show PLACE/photos --out OUT/show.html",
    "review": "review PLACE/run",
    "review page": "review PLACE/run --out OUT/review.html",
    "review decision": "review OUT/copy --drop IMAGE",
    "forget": "forget PLACE/run IMAGE --out OUT/forgotten",
    "add-class": "add-class PLACE/run PLACE/rings --out OUT/added",
    "advise": "advise backbones PLACE/photos --backbones embedded --out OUT/advice",
    "advise more": "advise more PLACE/run",
    "advise label": "advise label PLACE/run PLACE/rings --count 3",
    "advise augment": "advise augment PLACE/photos --transforms horizontal-flip --figure OUT/augment.png",
    "explain": "explain PLACE/run PLACE/one --out OUT/explained",
    "inspect": "inspect filters PLACE/run PLACE/photos --figure OUT/filters.png",
    "inspect page": "inspect feature-maps PLACE/run PLACE/photos --out OUT/inside.html",
    "inspect list": "inspect",
    "doctor": "doctor PLACE/run",
    "export": "export PLACE/run --out OUT/export",
    "check": "check PLACE/run/export/model.onnx PLACE/photos",
    "card": "card PLACE/run --out OUT/card.md",
    "card in the run": "card OUT/copy",
    "recalibrate": "recalibrate PLACE/run PLACE/photos --out OUT/recalibrated.safetensors",
    "continue": "continue PLACE/run --strategy last-stage --epochs 1 --out OUT/continued",
    "track": "track PLACE/run --to tensorboard --place OUT/board",
    "demo": "demo OUT/demo --backbone embedded",
    "lab": "lab",
    "backbones": "backbones",
    "engines": "engines",
    "cache": "cache",
    "cache clear": "cache --clear",
    "help": "help train",
}
"""What is asked → the command line; PLACE is read, OUT is written to, IMAGE is one image of the run."""
WRITES = tuple(name for name, line in COMMANDS.items() if "OUT/" in line)
_DISK_MB = 64


@dataclass(frozen=True)
class Trouble:
    """One trial: the command, what the system did, and what was wrong with the outcome."""

    command: str
    trouble: str
    code: int | None
    wrong: tuple[str, ...]


class Campaign:
    """A folder with photos and a run, made once, and the trials on it."""

    def __init__(
        self, folder: Path, seed: int = 0, *, verbose: bool = True, commands: Sequence[str] = tuple(COMMANDS)
    ) -> None:
        warm()
        self.commands = commands
        self.folder, self.random, self.verbose = folder, random.Random(seed), verbose
        folder.chmod(0o755)
        self.place = folder / "place"
        self.out, self.cache = folder / "out", folder / "cache"
        for made in (self.place, self.out, self.cache):
            made.mkdir()
        draw_folder(self.place / "photos", per_class=8)
        shutil.copytree(self.place / "photos" / "disc", self.place / "one")
        for path in sorted((self.place / "one").iterdir())[1:]:
            path.unlink()
        self._draw_rings()
        self._prepare(f"train PLACE/photos --out PLACE/run {' '.join(_TRAIN)}")
        self._prepare("export PLACE/run")
        exported = self.place / "run" / "export"
        onnx = sorted(exported.rglob("*.onnx"))
        assert onnx, f"nothing was exported: {everything(self.place)}"
        self._onnx = str(onnx[0])
        self.trials: list[Trouble] = []
        self._own = {path.name for path in self.place.iterdir()} | {os.fsdecode(b"od\xffd")}

    def _draw_rings(self) -> None:
        import numpy as np

        rng = np.random.default_rng(3)
        (self.place / "rings").mkdir()
        for number in range(6):
            draw("stripes", rng).rotate(45).save(self.place / "rings" / f"{number * 977:x}.png")

    def _prepare(self, line: str) -> None:
        outcome = run_command(self.arguments(line), self.place, cache=self.cache)
        assert outcome.code == 0, f"{line}: {outcome}"

    def arguments(self, line: str, *, place: str = "", out: str = "") -> list[str]:
        """A command line with its paths: those of the campaign, or others."""
        image = next(iter(sorted((self.place / "photos" / "disc").iterdir())))
        words = [word.replace("PLACE/run/export/model.onnx", getattr(self, "_onnx", "")) for word in line.split()]
        words = [word.replace("PLACE", place or str(self.place)).replace("OUT", out or str(self.out)) for word in words]
        return [f"disc/{image.name}" if word == "IMAGE" else word for word in words]

    def fill_in(self, name: str) -> None:
        """Put into the output folder what a command finds there."""
        if "OUT/copy" in COMMANDS[name]:
            shutil.copytree(self.place / "run", self.out / "copy", ignore=shutil.ignore_patterns("export"))

    def trial(
        self, name: str, trouble: str, codes: tuple[int, ...], *, cache: Path | None = None, **how: object
    ) -> Outcome:
        """Run a command in trouble, and keep what was wrong with its outcome."""
        cache, paths = cache or self.cache, {key: str(how.pop(key)) for key in ("place", "out") if key in how}
        before = everything(self.out)
        outcome = run_command(self.arguments(COMMANDS[name], **paths), self.place, cache=cache, **how)  # type: ignore[arg-type]
        wrong = outcome.complaints(codes)
        left = everything(self.out) - before
        if outcome.code == 2 and "stdout" not in trouble:  # of output that is lost the files are whole
            wrong += [f"left {one}" for one in sorted(left) if not self._is_kept(name, one)]
        else:
            wrong += [f"left {one}" for one in sorted(unfinished(self.out) - before) if not one.endswith(RECORD)]
        wrong += [f"left in the cache {one}" for one in sorted(partial(cache))]
        wrong += [f"left in the working folder {one}" for one in sorted(unfinished(self.place))]
        wrong += [f"made {one}" for one in sorted({path.name for path in self.place.iterdir()} - self._own)]
        self.trials.append(Trouble(name, trouble, outcome.code, tuple(wrong)))
        if self.verbose and wrong:
            print(f"--- {name} | {trouble} | {outcome.code} | {wrong}\n{outcome.stderr[-1500:]}", flush=True)
        return outcome

    def _is_kept(self, name: str, path: str) -> bool:
        """Whether a command that fails keeps something on purpose: drawings that are whole, for the next call."""
        return name == "demo" and "run" not in Path(path).parts and (self.out / "demo" / "hands").is_dir()


RECORD = ".headstart-output.json"
"""By this the next scan knows pictures of ours; no leftover beside them."""


def partial(cache: Path) -> set[str]:
    """Temporary files and folders of a cache that nobody holds."""
    return {one for one in unfinished(cache) if not one.endswith(".lock")} if cache.is_dir() else set()


def run(count: int, seed: int, *, stages: Sequence[str] = (), share: tuple[int, int] = (1, 1)) -> dict[str, int]:
    """Trials by outcome.

    Args:
        count: the number of free sizes of a full disk for each command that writes.
        stages: names of those that are run; empty: all.
        share: (k, n): only the k-th of each n commands, so that n calls together make the whole.
    """
    known = {stage.__name__: stage for stage in _STAGES}
    if unknown := sorted(set(stages) - set(known)):
        raise SystemExit(f"unknown stages {unknown}; there are {sorted(known)}")
    with tempfile.TemporaryDirectory(prefix="headstart-system-") as name:
        campaign = Campaign(Path(name), seed, commands=tuple(COMMANDS)[share[0] - 1 :: share[1]])
        for stage in stages or known:
            done, began = len(campaign.trials), time.monotonic()
            known[stage](campaign, count)
            trials = campaign.trials[done:]
            print(f"{stage}: {_by_outcome(trials)}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return {"trials": len(campaign.trials), **_by_outcome(campaign.trials)}


def _by_outcome(trials: Sequence[Trouble]) -> dict[str, int]:
    words = {0: "done", 1: "done", 2: "refused", None: "hangs"}
    return dict(Counter("wrong" if one.wrong else words.get(one.code, "other") for one in trials))


def mounted(folder: Path, size: str) -> bool:
    """Mount a tmpfs of a size on a folder; False where that is not permitted."""
    folder.mkdir(exist_ok=True)
    try:
        answer = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    except FileNotFoundError:
        return False
    return answer.returncode == 0


def unmount(folder: Path) -> None:
    """Take a tmpfs away."""
    subprocess.run(["umount", str(folder)], check=True)


def _with_ballast(folder: Path, room: int) -> None:
    usage = shutil.disk_usage(folder)
    with (folder / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, usage.free - room))


def full_disks(campaign: Campaign, count: int) -> None:
    """Outputs on a disk with less room than they need."""
    if not mounted(campaign.out, f"{_DISK_MB}m"):
        print("mounting a small disk is not permitted here: no full disks", file=sys.stderr)
        return
    try:
        for name in (one for one in campaign.commands if one in WRITES):
            clear(campaign.out)
            campaign.fill_in(name)
            held = shutil.disk_usage(campaign.out).used
            campaign.trial(name, "none", (0, 1))
            needed = shutil.disk_usage(campaign.out).used - held
            rooms = [0, 4096, needed - 4096, needed // 2]
            rooms += [campaign.random.randrange(0, max(needed, 1)) for _ in range(count)]
            for room in rooms[: max(count, 1)]:
                clear(campaign.out)
                campaign.fill_in(name)
                _with_ballast(campaign.out, max(0, room))
                campaign.trial(name, f"disk with {room} of {needed} bytes", (0, 1, 2))
    finally:
        unmount(campaign.out)


def full_caches(campaign: Campaign, count: int) -> None:
    """The cache on a disk with less room than it needs."""
    cache = campaign.folder / "small-cache"
    if not mounted(cache, f"{_DISK_MB}m"):
        return
    try:
        for name in campaign.commands:
            clear(campaign.out)
            campaign.fill_in(name)
            clear(cache)
            campaign.trial(name, "an empty cache", (0, 1), cache=cache)
            needed = shutil.disk_usage(cache).used
            if not needed:
                continue
            rooms = [0, needed // 2, needed - 4096]
            rooms += [campaign.random.randrange(0, needed) for _ in range(count)]
            for room in rooms[: max(count, 1)]:
                clear(campaign.out)
                campaign.fill_in(name)
                clear(cache)
                _with_ballast(cache, max(0, room))
                campaign.trial(name, f"cache with {room} of {needed} bytes", (0, 1, 2), cache=cache)
    finally:
        unmount(cache)


def _become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    os.environ["HOME"] = "/nonexistent"


def forbidden(campaign: Campaign, count: int) -> None:
    """Another user, who may read all and write nothing: outputs, then also the cache."""
    if not hasattr(os, "geteuid") or os.geteuid():
        print("not root: nobody else's folders", file=sys.stderr)
        return
    own = campaign.folder / "nobodys-cache"
    own.mkdir()
    own.chmod(0o777)
    for name in campaign.commands:
        clear(campaign.out)
        campaign.fill_in(name)
        codes = (2,) if name in WRITES else (0, 1)
        campaign.trial(name, "outputs that are forbidden", codes, cache=own, prepare=_become_nobody)
        clear(campaign.out)
        campaign.fill_in(name)
        campaign.trial(name, "a cache that is forbidden", (0, 1, 2), prepare=_become_nobody)
    shutil.rmtree(own)


def read_only(campaign: Campaign, count: int) -> None:
    """Outputs, or the cache, on a disk that is mounted read-only."""
    if not mounted(campaign.out, f"{_DISK_MB}m"):
        return
    cache = campaign.folder / "read-only-cache"
    mounted(cache, f"{_DISK_MB}m")
    try:
        for name in campaign.commands:
            remount(campaign.out, "rw")
            clear(campaign.out)
            campaign.fill_in(name)
            remount(campaign.out, "ro")
            campaign.trial(name, "a read-only disk", (2,) if name in WRITES else (0, 1))
        remount(campaign.out, "rw")
        remount(cache, "ro")
        for name in campaign.commands:
            clear(campaign.out)
            campaign.fill_in(name)
            campaign.trial(name, "a read-only cache", (0, 1, 2), cache=cache)
    finally:
        unmount(campaign.out)
        unmount(cache)


def remount(folder: Path, how: str) -> None:
    """Make a tmpfs read-only (`ro`), or writable (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def _stream(number: int, path: str) -> Callable[[], None]:
    def prepare() -> None:
        handle = os.open(path, os.O_WRONLY)
        os.dup2(handle, number)

    return prepare


def _pipe_without_reader() -> None:
    read, write = os.pipe()
    os.dup2(write, 1)
    os.close(read)


def _closed(*numbers: int) -> Callable[[], None]:
    """Streams as a shell leaves them after `>&-`."""

    def prepare() -> None:
        for number in numbers:
            os.close(number)
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)

    return prepare


def _encoded(encoding: str) -> Callable[[], None]:
    def prepare() -> None:
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115

    return prepare


_STREAMS: dict[str, tuple[Callable[[], None], tuple[int, ...]]] = {
    "stdout without a reader": (_pipe_without_reader, (0, 1)),
    "closed stdout": (_closed(1), (0, 1)),
    "closed stderr": (_closed(2), (0, 1)),
    "all three closed": (_closed(0, 1, 2), (0, 1)),
    "stdout on /dev/full": (_stream(1, "/dev/full"), (0, 1, 2)),
    "stderr on /dev/full": (_stream(2, "/dev/full"), (0, 1)),
    "cp1252": (_encoded("cp1252"), (0, 1)),
    "ascii": (_encoded("ascii"), (0, 1)),
}


def streams(campaign: Campaign, count: int) -> None:
    """Standard streams that are closed, full, without a reader or in an old encoding."""
    for name in campaign.commands:
        for trouble, (prepare, codes) in _STREAMS.items():
            clear(campaign.out)
            campaign.fill_in(name)
            campaign.trial(name, trouble, codes, prepare=prepare)


def names(campaign: Campaign, count: int) -> None:
    """Paths that no disk can hold, homes of unknown users, and names that are not UTF-8."""
    odd = os.fsdecode(b"od\xffd")
    wrong = {
        "a name of 300 characters": "n" * 300,
        "a path of 5,000 characters": "/".join(["n" * 200] * 25),
        "an unknown user's home": "~no-such-user",
    }
    (campaign.place / odd).mkdir()
    for name in ("photos", "rings", "one", "run"):
        shutil.copytree(campaign.place / name, campaign.place / odd / name)
    photo = next((campaign.place / odd / "photos" / "square").iterdir())
    photo.rename(photo.with_name(f"{odd}.png"))
    (campaign.place / odd / "photos" / "disc").rename(campaign.place / odd / "photos" / odd)
    for name in campaign.commands:
        line = COMMANDS[name]
        for trouble, path in wrong.items():
            if "OUT/" in line and "OUT/copy" not in line:
                clear(campaign.out)
                campaign.trial(name, f"out: {trouble}", (2,), out=path)
            if "PLACE/" in line and "onnx" not in line:
                clear(campaign.out)
                campaign.trial(name, f"in: {trouble}", (2,), place=path)
        if "OUT/" in line and "OUT/copy" not in line:
            clear(campaign.out)
            (campaign.out / odd).mkdir()
            campaign.trial(name, "out: not UTF-8", (0, 1, 2), out=str(campaign.out / odd))
        if "PLACE/" in line and "onnx" not in line:
            clear(campaign.out)
            campaign.fill_in(name)
            campaign.trial(name, "in: not UTF-8", (0, 1, 2), place=str(campaign.place / odd))


def deleted_caches(campaign: Campaign, count: int) -> None:
    """A cache that is removed again and again while a command works."""

    def remove() -> None:
        shutil.rmtree(campaign.cache, ignore_errors=True)

    for name in campaign.commands:
        clear(campaign.out)
        campaign.fill_in(name)
        campaign.trial(name, "a cache that is deleted", (0, 1, 2), meanwhile=remove)


_STAGES = (full_disks, full_caches, forbidden, read_only, streams, names, deleted_caches)
