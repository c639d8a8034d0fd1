"""The front door: every public name resolves, is listed for type checkers, and nothing heavy is imported before use."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import headstart
from headstart.options import AuditOptions, ContinueOptions, EvaluateOptions, InspectOptions, TrainOptions
from headstart.recipe import Recipe

VERBS = """add_class advise advise_augment advise_label advise_more audit card check compare continue_run doctor embed
evaluate explain export fetch forget inspect list_backbones list_engines predict pull push recalibrate resume review
serve show track train"""
DOORS = "register_analysis register_backbone register_check register_engine register_head register_rule"
TOOLS = """accuracy confusion_figure draw_hand draw_hands freeze lab load_backbone open_image panels_figure preserve
recalibrate_batch_norm replace_head thaw wilson HAND_CLASSES __version__"""
VALUES = """Audit Backbone Classifier Cluster Dataset Evaluation Features Finding FreezePolicy ImagePlot ImageSet
InspectedImages InspectionResult Issue Line Plot Prediction Preprocess Recipe Run Session SimpleResult StepByStep
Table"""
ERRORS = "BackboneError ClassifierError DataError HeadstartError RecipeError RunError TrainingError"


TYPES = {"str": str, "str | None": str | None, "int": int, "float": float, "bool": bool,
         "tuple[str, ...]": tuple}  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert set(headstart.__all__) == set(" ".join([VERBS, DOORS, TOOLS, VALUES, ERRORS]).split())


def test_every_public_name_resolves_to_something_with_a_docstring() -> None:
    for name in headstart.__all__:
        value = getattr(headstart, name)
        assert name in ("__version__", "HAND_CLASSES") or value.__doc__, name


def test_the_stub_for_type_checkers_has_the_same_names_from_the_same_places() -> None:
    stub = ast.parse(Path(headstart.__file__).with_suffix(".pyi").read_text("utf-8"))
    listed = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert listed == {**headstart._HOMES, "lab": "headstart"}


def test_help_shows_every_option_with_its_default() -> None:
    fields = {field.name: field for field in dataclasses.fields(Recipe)}
    for verb, options in (
        (headstart.train, TrainOptions),
        (headstart.continue_run, ContinueOptions),
        (headstart.evaluate, EvaluateOptions),
        (headstart.audit, AuditOptions),
        (headstart.inspect, InspectOptions),
    ):
        parameters = inspect.signature(verb).parameters
        assert all(p.kind is not p.VAR_KEYWORD for p in parameters.values())
        for name in options.__annotations__:
            assert parameters[name].default == fields[name].default
            annotation = parameters[name].annotation
            assert (annotation if annotation != float | int else float) == TYPES[str(fields[name].type)]
    assert set(TrainOptions.__annotations__) == set(fields)


def test_options_have_the_types_of_the_recipe() -> None:
    types = {field.name: field.type for field in dataclasses.fields(Recipe)}
    for options in (TrainOptions, ContinueOptions, EvaluateOptions, AuditOptions, InspectOptions):
        for name, annotation in options.__annotations__.items():
            if name not in ("backbone", "classes"):  # also a Backbone, a list: the recipe keeps its name, a tuple
                assert getattr(annotation, "__forward_arg__", annotation) == types[name]


def test_help_and_import_need_no_torch() -> None:
    code = (
        "import sys, contextlib, io\n"
        "import headstart\n"
        "from headstart.cli.main import main\n"
        "for arguments in (['--help'], ['train', '--help'], ['fetch', '--help'], ['backbones']):\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main(arguments)\n"
        "heavy = {'torch', 'torchvision', 'matplotlib', 'scipy', 'PIL', 'numpy'} & set(sys.modules)\n"
        "drawn = [n for n in sys.modules if n.startswith(('headstart.pretraining', 'headstart.datasets.hand'))]\n"
        "print(sorted(heavy), drawn)\n"
    )
    assert printed_by(code) == "[] []"


@pytest.mark.slow
def test_what_takes_as_long_to_import_as_torch_is_imported_where_it_is_used_only() -> None:
    code = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        "import headstart.workbench.train, headstart.workbench.predict, headstart.workbench.evaluate\n"
        "slow = {'torchvision', 'timm', 'scipy.stats', 'torch._dynamo', 'torch.utils.flop_counter', 'torch.onnx'}\n"
        "print(sorted(slow & (set(sys.modules) - before)))\n"
    )
    assert printed_by(code) == "[]"


def printed_by(code: str) -> str:
    """What a new Python that runs the code prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
