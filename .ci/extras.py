"""Install the wheel with each extra in a fresh environment of its own, and run what the extra is for.

python .ci/extras.py dist/headstart-*.whl [EXTRA …]      needs the package index; torch is a gigabyte

Without names, all extras but those for developing headstart itself. A line for each; exit code 1 if one fails.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

# what must be importable with an extra, and where a command of headstart needs it, that command
PROVES = {
    "": "import headstart; headstart.draw_hand('rock', seed=1); import headstart.cli.main",
    "lite": "import headstart; headstart.load_backbone('efficientnet_lite0', offline=True)",
    "timm": "import timm, headstart",
    "fast": "import simplejpeg, headstart",
    "excel": "import openpyxl, headstart",
    "heic": "import pillow_heif, headstart",
    "video": "import cv2, headstart",
    "parquet": "import pyarrow.parquet, headstart",
    "distributed": "import pyarrow, fsspec, headstart.distributed.local",
    "ray": "import ray.data, headstart.distributed.ray",
    "spark": "import pyspark, headstart.distributed.spark",
    "kaggle": "import kagglehub, headstart.datasets.kaggle",
    "tensorboard": "from headstart.tracking.trackers import make_sink; make_sink('tensorboard', 'boards')",
    "mlflow": "from headstart.tracking.trackers import make_sink; make_sink('mlflow', 'mlruns')",
    "wandb": "from headstart.tracking.trackers import make_sink; make_sink('wandb', 'wandb')",
    "hub": "import huggingface_hub, headstart.workbench.push",
    "runtime": "import onnxruntime, headstart.runtime_onnx",
    "serve": "import uvicorn, headstart.serving.app",
    "studio": "import headstart.studio.app",
    "onnx": "import onnx, onnxruntime, onnxscript, headstart.onnx_export.onnx_file",
    "standard": "import onnx, simplejpeg, headstart; headstart.load_backbone('efficientnet_lite0', offline=True)",
}


def main(wheel: Path, extras: list[str]) -> int:
    """Exit code: 0 if every extra could be installed and used."""
    failed = 0
    for extra in extras:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            problem = _problem(wheel.resolve(), extra, Path(folder))
        failed += bool(problem)
        print(f"{extra or '(none)':12} {time.monotonic() - began:5.0f} s  {problem or 'works'}", flush=True)
    return 1 if failed else 0


def _problem(wheel: Path, extra: str, folder: Path) -> str:
    """The last line of what went wrong, or nothing."""
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    for command in (
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted],
        [python, "-m", "pip", "check", "--disable-pip-version-check"],
        [python, "-c", PROVES[extra]],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            return (done.stderr or done.stdout).strip().splitlines()[-1]
    return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or list(PROVES)))
