"""The wheel of these sources, for tests that install it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).parents[1]


def build_wheel(folder: Path) -> Path:
    """Build the wheel into a folder; one build at a time, since setuptools works in `build/` beside the sources."""
    lock = Path(tempfile.gettempdir()) / f"headstart-wheel-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]}.lock"
    options = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    with FileLock(lock):
        subprocess.run([sys.executable, "-m", "pip", *options], check=True, cwd=folder)
    (wheel,) = folder.glob("headstart-*.whl")
    return wheel
