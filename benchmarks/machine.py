"""The machine that a benchmark runs on: what it is, without its name, and the most arithmetic it can do."""

from __future__ import annotations

import platform
from pathlib import Path
from statistics import median

import torch

from record import spending


def hardware() -> dict[str, object]:
    """Processor model, vector instructions that torch uses, cores; nothing that names the machine."""
    return {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
    }


def matrix_rates(side: int = 2048, times: int = 5) -> list[float]:
    """GFLOP in a processor second of a square float32 matrix product; on one thread that is one core's rate."""
    a, b = torch.randn(2, side, side)
    a @ b
    rates = []
    for _ in range(times):
        with spending() as spent:
            a @ b
        rates.append(2 * side**3 / 1e9 / spent.cpu)
    return rates


def matrix_rate(side: int = 2048, times: int = 5) -> float:
    """The median of `matrix_rates`."""
    return median(matrix_rates(side, times))


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
