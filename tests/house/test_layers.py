"""The dependency rule of docs/architecture.md, checked on the source: rooms import upstream only, and in no circle."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "headstart"

LEAVES = {
    "options",
    "recipe",
    "recipe_file",
    "invocation",
    "source_layout",
    "runtime",
    "preserve",
    "hooks",
    "freezing",
    "files",
    "line_file",
    "output_paths",
    "progress",
    "plain",
    "public_api",
    "usual_torch",
    "refusals",
    "registry",
    "untrusted",
    "wording",
}
FOUNDATION = {"errors", "download", *LEAVES, "evaluation", "figures"}
DATA = FOUNDATION | {"data"}
BACKBONES = FOUNDATION | {"backbones"}
ENGINES = BACKBONES | {"engines"}
FEATURES = ENGINES | DATA | {"features"}
HEADS = FEATURES | {"heads"}
CLASSIFIER = HEADS | {"classifier"}
TRAINING = CLASSIFIER | {"training"}
FINETUNE = TRAINING | {"finetune"}
ONNX_EXPORT = CLASSIFIER | {"onnx_export", "runtime_onnx", "headstart"}
INSPECTION = CLASSIFIER | {"inspection"}
BEST_PRACTICES = INSPECTION | {"best_practices"}
CURATION = CLASSIFIER | {"curation"}
REPORTS = BEST_PRACTICES | FINETUNE | ONNX_EXPORT | CURATION | {"reports"}
PRETRAINING = FINETUNE | {"pretraining"}
SERVING = INSPECTION | {"serving", "headstart"}
ADVICE = CLASSIFIER | {"advice"}
DISTRIBUTED = CLASSIFIER | {"distributed"}
WORKBENCH = DISTRIBUTED | REPORTS | PRETRAINING | SERVING | ADVICE | {"datasets", "tracking", "workbench"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    **{leaf: {"errors", *LEAVES} for leaf in LEAVES},
    "download": {"errors", *LEAVES},
    "evaluation": {"errors", *LEAVES, "evaluation"},
    "figures": {"errors", *LEAVES, "figures"},
    "data": DATA,
    "datasets": DATA | {"datasets"},
    "backbones": BACKBONES,
    "engines": ENGINES,
    "features": FEATURES,
    "heads": HEADS,
    "classifier": CLASSIFIER,
    "tracking": {"errors", *LEAVES, "tracking"},
    "training": TRAINING,
    "finetune": FINETUNE,
    "onnx_export": ONNX_EXPORT,
    "runtime_onnx": set(),
    "serving": SERVING,
    "client": CLASSIFIER | {"client"},
    "advice": ADVICE,
    "inspection": INSPECTION,
    "curation": CURATION,
    "best_practices": BEST_PRACTICES,
    "pretraining": PRETRAINING,
    "reports": REPORTS,
    "lab": REPORTS | PRETRAINING | {"datasets", "lab"},
    "distributed": DISTRIBUTED,
    "workbench": WORKBENCH,
    "studio": WORKBENCH | {"lab", "studio", "headstart"},
    "cli": {"errors", *LEAVES, "distributed", "workbench", "lab", "studio", "cli", "headstart"},
    "sklearn": WORKBENCH,
    "headstart": {"errors"},
    "__main__": {"cli"},
}


@cache
def modules() -> tuple[Path, ...]:
    return tuple(sorted(SOURCE.rglob("*.py")))


def name_of(path: Path) -> str:
    parts = ("headstart", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "headstart"


@cache
def names() -> frozenset[str]:
    return frozenset(name_of(path) for path in modules())


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            found += [full if (full := f"{module}.{alias.name}") in names() else module for alias in node.names]
    return tuple(name for name in found if name == "headstart" or name.startswith("headstart."))


def test_a_room_imports_only_the_rooms_it_is_built_on() -> None:
    wrong = [
        f"{name_of(path)} must not import {name}"
        for path in modules()
        for name in imports_of(path)
        if room_of(name) not in ALLOWED[room_of(name_of(path))]
    ]
    assert not wrong


def test_a_module_imports_modules_and_never_its_own_rooms_init() -> None:
    rooms = {name_of(path) for path in modules() if path.name == "__init__.py"} - {"headstart"}
    wrong = [f"{name_of(path)} imports {room}" for path in modules() for room in rooms & set(imports_of(path))]
    assert not wrong


def test_there_is_no_import_circle() -> None:
    graph = {name_of(path): {name for name in imports_of(path) if name != name_of(path)} for path in modules()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError and names the circle
    assert "headstart.errors" in order


def test_type_checking_detours_are_not_used() -> None:
    users = [name_of(path) for path in modules() if "TYPE_CHECKING" in path.read_text(encoding="utf-8")]
    assert not users
