"""House rules on names and sizes."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "headstart"
FORBIDDEN = {"utils", "util", "common", "helpers", "helper", "core", "base", "misc", "manager", "handler"}


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert not [path for path in SOURCE.rglob("*") if path.stem in FORBIDDEN]


def test_files_and_bodies_stay_small() -> None:
    long = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 500:
            long.append(f"{path.relative_to(SOURCE)}: more than 500 lines; a file holds one idea")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                if (node.end_lineno or 0) - first.lineno + 1 > 40:
                    long.append(f"{path.relative_to(SOURCE)}: {node.name} has a body of more than 40 lines")
    assert not long


def test_only_images_py_opens_images() -> None:
    """Image.open and its kin appear in data/images.py and its JPEG decoder, where a file is decoded again, and in what
    runs without it."""
    wrong, again = (
        [],
        (
            "images.py",
            "deep_colours.py",
            "jpeg_pixels.py",
            "jpeg_damage.py",
            "jpeg_range.py",
            "unused_data.py",
            "heic_tiles.py",
            "runtime_onnx.py",
        ),
    )
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name not in again and any(word in text for word in ("Image.open", "decode_jpeg(", "decode_image(")):
            wrong.append(path)
    assert not wrong


def test_only_runtime_py_asks_for_hardware() -> None:
    words = ("cuda.is_available", "os.cpu_count", "sched_getaffinity", "backends.mps", "disk_usage")
    wrong = [
        p for p in SOURCE.rglob("*.py") if p.name != "runtime.py" and any(w in p.read_text("utf-8") for w in words)
    ]
    assert not wrong
