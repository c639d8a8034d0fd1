"""selftest: does resume keep its word here? A training killed at random moments, against one that was left alone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from headstart.datasets.hands import draw_hands
from headstart.errors import RecipeError, RunError
from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.training.checkpoint_folder import LATEST
from headstart.workbench.run import Run
from headstart.workbench.session import Session

_PER_CLASS = 24  # hands, drawn in some seconds
_PATIENCE = 600.0  # seconds for a training of some hundred steps; slower means that it hangs
_TRAIN = "import sys, json; from headstart.workbench.train import train; train(**json.loads(sys.argv[1]))"
_RESUME = "import sys; from headstart.workbench.resume import resume; resume(sys.argv[1])"
# two trainings are compared: neither may choose by what it measured on a machine that is busier now than then
_SAME_BITS = {"engine": "eager", "step_precision": "float32"}
_EPOCHS = {"last-stage": 40, "full": 6, "probe-then-full": 6}  # enough steps to be killed in


@dataclass(frozen=True)
class SelfTest:
    """What came of it.

    Args:
        kills: moments, in seconds after the first checkpoint, at which the process was killed (SIGKILL).
        weights: SHA-256 of all weights after the killed and resumed training; expected: of the one left alone.
    """

    strategy: str
    kills: tuple[float, ...]
    weights: str
    expected: str

    @property
    def passed(self) -> bool:
        """Whether it was killed at all, and both are the same, bit for bit."""
        return bool(self.kills) and self.weights == self.expected

    def to_dict(self) -> dict[str, object]:
        """Plain values for `--json`."""
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        if not self.kills:
            return f"{self.strategy}: the training was over before it could be killed, so nothing was tested"
        kills = ", ".join(f"{moment:.1f} s" for moment in self.kills)
        told = "the same weights, bit for bit" if self.passed else "OTHER WEIGHTS: resume does not keep its word here"
        return (
            f"{self.strategy}: killed {len(self.kills)} times ({kills} after it could be resumed): {told}\n"
            f"  sha256 {self.weights}\n  sha256 {self.expected} of the training that was left alone"
        )


@public_api
def selftest(
    what: str, *, strategy: str = "last-stage", kills: int = 3, seed: int = 0, on_event: OnEvent | None = print_event
) -> SelfTest:
    """One of the selftests by its name.

    Raises:
        RecipeError: there is none of that name, or no such strategy.
    """
    if what != "resume":
        raise RecipeError(
            expected="resume", found=repr(what), where="selftest", hint="headstart selftest resume is the only one."
        )
    if kills < 1:
        raise RecipeError(expected="at least one kill", found=str(kills), where="--kills", hint="Such as --kills 3.")
    if strategy not in _EPOCHS:
        raise RecipeError(
            expected=" or ".join(_EPOCHS),
            found=repr(strategy),
            where="--strategy",
            hint="Leave --strategy out for the first of them.",
        )
    return selftest_resume(strategy, kills=kills, seed=seed, on_event=on_event)


def selftest_resume(
    strategy: str = "last-stage", *, kills: int = 3, seed: int = 0, on_event: OnEvent | None = print_event
) -> SelfTest:
    """Train twice on drawn hands: once undisturbed, once killed without warning `kills` times and resumed each time.

    Everything lies in a temporary folder, with a cache of its own.

    Args:
        kills: how often. seed: of the moments.

    Raises:
        RunError: a training ended by itself with an error.
    """
    rng, session = np.random.default_rng(seed), Session(on_event=on_event)
    with tempfile.TemporaryDirectory(prefix="headstart-selftest-") as name:
        place = Path(name)
        photos = place / "hands"
        draw_hands(photos, train_per_class=_PER_CLASS, test_per_class=6, seed=seed)
        session.notice(f"A training by {strategy} that nobody disturbs")
        whole = _finish(_start(place, photos, place / "whole", strategy=strategy), place / "whole")
        moments: list[float] = []
        process = _start(place, photos, place / "killed", strategy=strategy)
        while len(moments) < kills:
            moment = _kill(process, place / ".killed.unfinished", float(rng.uniform(0, 2.0)))
            if moment is None:
                break  # it was faster
            moments.append(moment)
            session.notice(f"Killed {moment:.1f} s after it could be resumed; resumed")
            process = _python(place, _RESUME, str(place / "killed"))
        killed = _finish(process, place / "killed")
    return SelfTest(strategy, tuple(moments), killed, whole)


def _start(place: Path, photos: Path, out: Path, *, strategy: str) -> subprocess.Popen[str]:
    knobs = {"backbone": "embedded", "offline": True, "checkpoint_every": 0.0, **_SAME_BITS}
    about = {"source": str(photos), "out": str(out), "strategy": strategy, "epochs": _EPOCHS[strategy], "force": True}
    return _python(place, _TRAIN, json.dumps({**about, **knobs}))


def _python(place: Path, code: str, argument: str) -> subprocess.Popen[str]:
    """Another process, since this one must live on."""
    return subprocess.Popen(
        [sys.executable, "-c", code, argument],
        env={**os.environ, "HEADSTART_CACHE": str(place / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _kill(process: subprocess.Popen[str], folder: Path, wait: float) -> float | None:
    """Kill a moment after there is a checkpoint; None when the training was over by then."""
    began = time.monotonic()
    while not (folder / LATEST).exists() and process.poll() is None and time.monotonic() - began < _PATIENCE:
        time.sleep(0.02)
    time.sleep(wait)
    if process.poll() is not None:
        return None
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.communicate()
    return wait


def _finish(process: subprocess.Popen[str], out: Path) -> str:
    """Wait for the end; the fingerprint of all weights of the run."""
    _, told = process.communicate(timeout=_PATIENCE)
    if process.returncode:
        raise RunError(
            expected="a training that ends",
            found=f"exit code {process.returncode}: {told.strip().splitlines()[-1] if told.strip() else 'no word'}",
            where=out,
            hint="Run the training alone to see what stops it.",
        )
    return weights_of(Run.load(out))


def weights_of(run: Run) -> str:
    """SHA-256 of backbone and head together, bit by bit."""
    model = run.classifier
    digest = hashlib.sha256(model.backbone.fingerprint.encode())
    digest.update(model.head.weight.tobytes())
    digest.update(model.head.bias.tobytes())
    return digest.hexdigest()
