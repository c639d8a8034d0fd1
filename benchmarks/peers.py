"""The same job with the peers: a resnet18 under a new top, in CPU seconds and peak memory.

    HEADSTART_TEST_DATA=… python benchmarks/peers.py [--trains probe] [--images 101] [--epochs 1] [--rounds 1]
                                                     [--only PEER …]

What trains is the top alone (`probe`: one epoch over 101 images), layer4 too (`last-stage`: five over 64) or everything
(`full`: two over 64), on still images in batches of 16; the last two are written to `peers_finetune`.

Each peer gets an environment of its own in `.envs/`, made here on the first run: it sees this environment's packages
(torch is not installed again, its version is held) and adds the peer's own. What cannot be installed is skipped with a
word. Every job is a process of its own on one thread; the peers take turns over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path

import torch

from bytes_to_head import choose_photographs, mean
from machine import hardware
from peer_jobs import JOBS, Task
from record import Line, show, test_data, write

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".envs"
HELD = ("torch", "torchvision", "numpy", "scipy", "pillow", "safetensors", "matplotlib", "scikit-learn", "sympy")
EPOCHS = 10
USUAL = {"probe": (101, 1), "last-stage": (64, 5), "full": (64, 2)}
"""What trains → images, epochs."""
INSTALL_SECONDS = 300
Found = dict[str, float]


def main() -> None:
    """Make the environments, run every peer, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trains", choices=list(USUAL), default="probe")
    parser.add_argument("--images", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(JOBS), default=list(JOBS), metavar="PEER")
    chosen = parser.parse_args()
    images, epochs = USUAL[chosen.trains]
    images, epochs = chosen.images or images, chosen.epochs or epochs
    pythons, skipped = environments(chosen.only)
    with tempfile.TemporaryDirectory() as folder:
        photographs = choose_photographs(test_data(), Path(folder), images)
        task = Task(photographs.folder, photographs.weights, chosen.trains, epochs)
        found = take_turns(task, pythons, chosen.rounds, skipped)
    probe = chosen.trains == "probe"
    about = "" if probe else f"{chosen.trains}, {len(photographs.paths)} images, {epochs} epochs: "
    lines = compared(found, epochs) if probe else tuned(found, about)
    lines += [Line("peers", about + peer, 0.0, "skipped", note=why) for peer, why in skipped.items()]
    show(lines)
    name = "peers" if probe else "peers_finetune"
    write(name, lines, images=len(photographs.paths), threads=1, peers=versions(pythons), hardware=hardware())


def environments(peers: Sequence[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Python of each peer's environment, and why there is none for the others."""
    pythons, skipped = {}, {}
    for peer in peers:
        try:
            pythons[peer] = environment(peer)
        except (OSError, subprocess.SubprocessError) as error:
            skipped[peer] = reason(error)
    return pythons, skipped


def take_turns(task: Task, pythons: Mapping[str, Path], rounds: int, skipped: dict[str, str]) -> dict[str, list[Found]]:
    """What each peer spent in each round; who fails is put among the skipped and not asked again."""
    found: dict[str, list[Found]] = {}
    for _ in range(rounds):
        for peer in [peer for peer in pythons if peer not in skipped]:
            try:
                found.setdefault(peer, []).append(run(peer, pythons[peer], task))
            except subprocess.SubprocessError as error:
                skipped[peer] = reason(error)
    return found


def environment(peer: str) -> Path:
    """Python of the peer's environment; made and filled when it is not there yet.

    Raises:
        OSError, SubprocessError: it cannot be made, or the peer cannot be installed.
    """
    if peer in ("plain", "headstart"):
        return Path(sys.executable)
    folder = ENVIRONMENTS / peer
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "ready").exists():
        print(f"… making the environment of {peer}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, text=True)
        share_packages(folder)
        install(peer, python)
        (folder / "ready").touch()
    return python


def share_packages(folder: Path) -> None:
    """Let an environment see the packages of this one, after its own."""
    relative = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (folder / relative / "project.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")


def install(peer: str, python: Path) -> None:
    """The peer from the package index, with the versions of HELD as they are here."""
    there = {found.metadata["Name"].lower(): found.version for found in distributions()}
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "held.txt"
        held.write_text("".join(f"{name}=={there[name]}\n" for name in HELD if name in there), encoding="utf-8")
        command = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(held), peer]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)


def run(peer: str, python: Path, task: Task) -> Found:
    """One job in a process of its own, on one thread."""
    paths = os.pathsep.join([str(ROOT / "src"), str(Path(__file__).parent)])  # record.py asks headstart.runtime
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    words = [peer, str(task.folder), str(task.weights), task.trains, str(task.epochs)]
    command = [str(python), str(Path(__file__).with_name("peer_jobs.py")), *words]
    with tempfile.TemporaryDirectory() as work:  # some peers write logs where they stand
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=settings, cwd=work, timeout=INSTALL_SECONDS
        )
    found: Found = json.loads(done.stdout.splitlines()[-1])
    print(f"… {peer}: {found}", flush=True)
    return found


def compared(found: dict[str, list[Found]], epochs: int) -> list[Line]:
    """A line for each of a probe: seconds an epoch, ten epochs over headstart's whole job, memory, import."""
    base = mean([one["cpu"] for one in found["headstart"]]) if "headstart" in found else 0.0
    lines = []
    for peer, rounds in found.items():
        cpu = mean([one["cpu"] for one in rounds]) / (1 if peer == "headstart" else epochs)
        peak, importing = max(one["peak_mb"] for one in rounds), mean([one["import_cpu"] for one in rounds])
        unit = "CPU s for all epochs" if peer == "headstart" else "CPU s per epoch"
        ten = f"; ten epochs {EPOCHS * cpu / base:.1f} times headstart" if base and peer != "headstart" else ""
        note = f"peak {peak:.0f} MB; import {importing:.1f} CPU s{ten}"
        lines.append(Line("peers", peer, cpu, f"{cpu:.1f} {unit}", note=note))
    return lines


def tuned(found: dict[str, list[Found]], about: str) -> list[Line]:
    """A line for each of a fine-tuning: seconds of all epochs, over headstart's, memory, import."""
    lines = []
    for peer, rounds in found.items():
        cpu, importing = (mean([one[key] for one in rounds]) for key in ("cpu", "import_cpu"))
        times = [one["cpu"] / ours["cpu"] for one, ours in zip(rounds, found.get("headstart", ()), strict=False)]
        over = f", {mean(times):.2f} times headstart" if times and peer != "headstart" else ""
        note = f"peak {max(one['peak_mb'] for one in rounds):.0f} MB; import {importing:.1f} CPU s"
        lines.append(Line("peers", about + peer, cpu, f"{cpu:.1f} CPU s{over}", note=note))
    return lines


def versions(pythons: dict[str, Path]) -> dict[str, str]:
    """The peers' versions, as their environments tell."""
    found = {"plain": f"torch {torch.__version__}"}
    for peer in [peer for peer in pythons if peer not in ("plain", "headstart")]:
        code = f"import importlib.metadata as m; print(m.version({peer!r}))"
        done = subprocess.run([str(pythons[peer]), "-c", code], capture_output=True, text=True)
        found[peer] = done.stdout.strip()
    return found


def reason(error: Exception) -> str:
    """Last line of what a failed command said, without this machine's folders."""
    said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
    return (said[-1] if said else type(error).__name__).replace(str(ROOT), "…")[:200]


if __name__ == "__main__":
    main()
