"""Python as it is where headstart was installed without torch: the packages of the extra `torch` cannot be imported."""

from __future__ import annotations

import subprocess
import sys

BLOCKED = """
import importlib.util, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
"""
WITH_TORCH = ("torch", "torchvision", "safetensors", "scipy", "captum", "matplotlib", "jinja2")


def run_without_torch(
    code: str, *words: str, packages: tuple[str, ...] = WITH_TORCH
) -> subprocess.CompletedProcess[str]:
    """What a new process of Python prints that runs the code; `words` are its arguments."""
    command = [sys.executable, "-c", f"{BLOCKED.format(packages=packages)}\n{code}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def command_without_torch(*words: str, packages: tuple[str, ...] = WITH_TORCH) -> subprocess.CompletedProcess[str]:
    """The command line there."""
    code = "from headstart.cli.main import main\nmain(sys.argv[1:])"
    return run_without_torch(code, *words, packages=packages)
