"""Only files.py writes: there what the system refuses becomes one of our errors, and nothing half-written is left."""

from __future__ import annotations

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "headstart"
METHODS = {"write_text", "write_bytes", "mkdir", "rmdir", "touch", "unlink", "rename", "symlink_to", "hardlink_to"}
MODULES = {"shutil", "tempfile"}
OF_OS = {"replace", "rename", "remove", "makedirs", "link", "symlink", "truncate"}
_SOME = re.compile(rf"\b({'|'.join([*METHODS, *OF_OS, 'open'])})\(|\b({'|'.join(MODULES)})\.")
HARMLESS = {"shutil.disk_usage", "shutil.get_terminal_size", "shutil.which"}
ELSEWHERE = {
    "classifier/file.py": "inside atomic_write",
    "cli/streams.py": "the null device, in place of an output that is closed",
    "data/archive.py": "unpacks into a work_folder; each of its errors is one of the archive",
    "data/image_source.py": "a temporary folder for an image that is fetched",
    "data/fact_store.py": "SQLite has its own file; one that cannot be written is replaced by memory",
    "data/python_source.py": "in a work_folder, inside os_errors",
    "datasets/fetch.py": "in its staging folder, under a lock; the verb's door says what the system refuses",
    "datasets/hands.py": "draws into a work_folder",
    "datasets/kaggle.py": "in its staging folder, under a lock; the verb's door says what the system refuses",
    "datasets/staging.py": "the staging folder itself",
    "distributed/local.py": "jobs on their way to workers, in a temporary folder",
    "distributed/shard_files.py": "inside atomic_write",
    "distributed/sharded_dataset.py": "inside atomic_write",
    "download.py": "a partial file that is resumed; each of its errors is one of the download",
    "engines/int8.py": "a temporary folder for onnxruntime's quantiser; its errors are the network's",
    "engines/onnxruntime_engine.py": "inside atomic_write",
    "lab/exercises/check_file.py": "a temporary folder for what a student's file prints",
    "features/features_file.py": "fills memory maps; a full disk is an error of ours",
    "files.py": "it is the place",
    "line_file.py": "inside os_errors; what fails is taken back",
    "studio/upload.py": "inside atomic_write",
    "tracking/trackers.py": "empty folders of a tracker that failed; one that is not empty stays",
    "workbench/export.py": "inside atomic_write",
    "workbench/csv_table.py": "inside atomic_write",
    "workbench/on_cluster.py": "inside atomic_write",
    "workbench/prediction_files.py": "inside atomic_write",
    "workbench/serve_processes.py": "a temporary folder in which processes publish their counts",
    "workbench/selftest.py": "works in a temporary folder",
}


def may_write(called: ast.expr) -> bool:
    """Whether the last word of a call is one that is looked for: writing out all calls takes seconds."""
    if isinstance(called, ast.Name):
        return called.id == "open"
    owner = called.value.id if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) else ""
    return isinstance(called, ast.Attribute) and (called.attr in METHODS | OF_OS | {"open"} or owner in MODULES)


def writes(path: Path) -> list[str]:
    """Calls in a source file that change files."""
    text, found = path.read_text("utf-8"), list[str]()
    if not _SOME.search(text):  # parsing all files takes seconds
        return found
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not may_write(node.func):
            continue
        called = ast.unparse(node.func)
        owner, _, name = called.rpartition(".")
        mode = next((ast.unparse(one) for one in node.args if isinstance(one, ast.Constant)), "''")
        if (
            (name in METHODS and owner not in ("", "files"))
            or (owner in MODULES and called not in HARMLESS)
            or (owner == "os" and name in OF_OS)
            or (name == "open" and owner != "Image" and set(mode.strip("'")) & set("wxa+") and len(mode) <= 5)
        ):
            found.append(f"line {node.lineno}: {called}")
    return found


def test_only_the_named_places_change_files() -> None:
    found = {str(path.relative_to(SOURCE).as_posix()): writes(path) for path in SOURCE.rglob("*.py")}
    guilty = {name: lines for name, lines in found.items() if lines}

    assert {name: lines for name, lines in guilty.items() if name not in ELSEWHERE} == {}
    assert sorted(set(ELSEWHERE) - set(guilty)) == []  # no reason stays that is not needed


def test_a_write_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text("Path('a').mkdir()\nopen('a', 'w')\np.open('rb')\nshutil.rmtree(p)\ntext.replace('a', 'b')\n")
    assert [line.split(": ")[1] for line in writes(file)] == ["Path('a').mkdir", "open", "shutil.rmtree"]
