"""Install the wheel with each extra in a fresh environment of its own, and use what the extra is for.

python .ci/extras.py dist/headstart-*.whl [EXTRA …]      needs the package index; torch is a gigabyte

Without names, all extras but those for developing headstart itself. A line for each; exit code 1 if one fails. Where
`uv` is on the path it installs (it links files that it has already), else pip does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

# what each proof has: drawn hands, commands of headstart, and a server that answers once
PRELUDE = """
import os, re, shlex, subprocess, sys, urllib.request
from pathlib import Path
import headstart as hs

def run(line):
    subprocess.run([sys.executable, "-m", "headstart", *shlex.split(line)], check=True)

def answers(line, path, expected):
    server = subprocess.Popen(
        [sys.executable, "-m", "headstart", *shlex.split(line)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    try:
        said = ""
        while not (found := re.search(r"(http://[\\w.:]+)\\S*?([?]token=[\\w-]+)?\\s", said)):
            more = server.stdout.readline()
            assert more, said
            said += more
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())  # the token becomes a cookie
        page = opener.open(f"{found[1]}{path}{found[2] or ''}", timeout=60).read().decode()
        assert expected in page, page[:300]
    finally:
        server.terminate()
        server.wait(60)

def train(options="--backbone embedded"):
    run(f"train hands --out run --no-inside --offline {options}")

if not Path("hands").exists():
    hs.draw_hands(Path("hands"), train_per_class=8, test_per_class=4)
image = next(Path("hands/test/rock").iterdir())
exported = os.environ.get("PROOF_ONNX", "")
"""
LITE = "train('--backbone efficientnet_lite0'); run('predict run hands/test/rock')"
# what is run with an extra, in the words of Python
PROVES = {
    "": """
run("--version")
run("backbones")
refused = subprocess.run([sys.executable, "-m", "headstart", "train", "hands"], capture_output=True, text=True)
assert refused.stderr == 'headstart needs torch for this: pip install "headstart[standard]"\\n', refused.stderr""",
    "torch": "train(); run('predict run hands/test/rock'); run('audit hands')",
    "lite": LITE,
    "timm": """
import timm
network = hs.Backbone.from_module(timm.create_model("resnet10t"), preprocess={"size": 64})
assert network.stages""",
    "fast": """
import simplejpeg
hs.open_image(image)
from PIL import Image
Image.open(image).save("one.jpg")
assert hs.open_image(Path("one.jpg")).rgb.shape == hs.open_image(image).rgb.shape""",
    "excel": """
import openpyxl
book = openpyxl.Workbook()
for row in [("path", "label"), *((str(path), path.parent.name) for path in Path("hands/train").rglob("*.png"))]:
    book.active.append(row)
book.save("labels.xlsx")
run("audit labels.xlsx")""",
    "heic": """
import pillow_heif
from PIL import Image
pillow_heif.from_pillow(Image.open(image)).save("one.heic")
assert hs.open_image(Path("one.heic")).rgb.shape == hs.open_image(image).rgb.shape""",
    "video": """
import cv2
film = cv2.VideoWriter("film.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 96))
for _ in range(20):
    film.write(cv2.resize(cv2.imread(str(image)), (96, 96)))
film.release()
run(f"predict {exported} film.mp4")""",
    "parquet": "run(f'predict {exported} hands/test --format parquet --out answers.parquet')",
    "distributed": "train('--backbone embedded --on local --processes 2')",
    "ray": "train('--backbone embedded --on ray --shards shards')",
    "spark": "train('--backbone embedded --on spark --shards shards')",
    "kaggle": "import kagglehub, headstart.datasets.kaggle",  # a data set of Kaggle needs a credential
    "tensorboard": "train('--backbone embedded --track tensorboard'); run('track run --to tensorboard')",
    "mlflow": "train(); run('track run --to mlflow')",
    "wandb": "train(); run('track run --to wandb')",  # offline
    "hub": "import huggingface_hub, headstart.workbench.push; train(); run('card run')",  # the hub needs an account
    "runtime": """
import importlib.util
assert not any(map(importlib.util.find_spec, ("torch", "onnx", "scipy", "matplotlib")))
run(f"predict {exported} hands/test/rock")
run(f"check {exported} hands/test/rock")""",
    "serve": "answers(f'serve {exported} --port 0', '/v1/health', 'ok')",
    "studio": "answers('studio hands --no-browser --port 0', '/', '<title>')",
    "onnx": "train(); run('export run'); run('check run/export/classifier.onnx hands')",
    "standard": f"import onnx, simplejpeg; {LITE}; run('export run')",
}
EXPORT = "train(); run('export run')"
BESIDE = {"runtime": "", "serve": "runtime", "video": "runtime", "parquet": "runtime"}
"""Extras proved with an exported file, without torch → the extra that is installed with them."""


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
    uv = shutil.which("uv")
    venv.create(folder / "env", with_pip=uv is None)
    python = str(folder / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    extras = ",".join(filter(None, (extra, BESIDE.get(extra))))
    wanted = f"headstart[{extras}] @ {wheel.as_uri()}" if extra else str(wheel)
    pip = [uv, "pip"] if uv else [python, "-m", "pip", "--disable-pip-version-check"]
    into = ["--python", python] if uv else []
    steps = [[*pip, "install", "--quiet", *into, wanted], [*pip, "check", *into], [python, "-c", _proof(extra)]]
    # another run of the wheel would count as the installed one, and MLflow and W&B must not look for a server
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HEADSTART_CACHE": str(folder / "cache"), "WANDB_MODE": "offline"}
    if extra in BESIDE:  # a file that another environment wrote: this one, which has the extra onnx
        environment["PROOF_ONNX"] = str(folder / "run/export/classifier.onnx")
        steps.insert(0, [sys.executable, "-c", f"{PRELUDE}\n{EXPORT}"])
    for command in steps:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
            return next(reversed((done.stderr or done.stdout).strip().splitlines()), f"exit code {done.returncode}")
    return ""


def _proof(extra: str) -> str:
    return f"{PRELUDE}\n{PROVES[extra]}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or list(PROVES)))
