"""How many planted mistakes the doctor finds, how often it blames a healthy network, and what it costs.

    python benchmarks/doctor.py [--healthy 80]

Prints a line for each mistake that is missed, for each error in a healthy network, and the totals.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import torch
import torchvision

from headstart.best_practices.diagnosis import Diagnosis
from headstart.best_practices.doctor import doctor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from planted_mistakes import HEALTHY, MISTAKES, healthy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--healthy", type=int, default=len(HEALTHY), help="how many healthy networks")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    planted()
    healthy_ones(HEALTHY[: parser.parse_args().healthy])
    cost()


def planted() -> None:
    """Each mistake, and whether a finding has its word."""
    missed = []
    for name, mistake in MISTAKES.items():
        network, options = mistake.given()
        diagnosis = doctor(network, **options)  # type: ignore[arg-type]
        hits = [one for one in diagnosis.findings if mistake.word in one.name or mistake.word in one.found]
        missed += [] if hits else [name]
        print(f"| {name} | {f'{hits[0].severity}: {hits[0].name}' if hits else 'missed'} |", flush=True)
    print(f"planted: {len(MISTAKES) - len(missed)} of {len(MISTAKES)} found\n")


def healthy_ones(names: tuple[str, ...]) -> None:
    """Errors and warnings in networks as their libraries build them."""
    errors = warned = done = 0
    for name in names:
        try:
            diagnosis = doctor(healthy(name))
        except ImportError:
            continue
        done += 1
        errors += bool(diagnosis.count("error"))
        warned += bool(diagnosis.count("warning"))
        for line in _blamed(diagnosis):
            print(f"{name}: {line}", flush=True)
    print(f"healthy: {errors} with an error, {warned} with a warning, of {done}\n")


def _blamed(diagnosis: Diagnosis) -> list[str]:
    return [f"{one.severity}: {one.name}: {one.found}" for one in diagnosis.findings if one.severity != "advice"]


def cost() -> None:
    """Processor time on ResNet-18, beside that of a forward and backward pass over four images."""
    network = torchvision.models.resnet18(weights=None)
    doctor(network)
    started = time.process_time()
    doctor(network)
    took = time.process_time() - started
    pixels = torch.randn(4, 3, 224, 224)
    network(pixels).sum().backward()
    started = time.process_time()
    network(pixels).sum().backward()
    once = time.process_time() - started
    print(f"resnet18: {took:.2f} s; forward and backward over 4 images {once:.2f} s; ratio {took / once:.2f}")


if __name__ == "__main__":
    main()
