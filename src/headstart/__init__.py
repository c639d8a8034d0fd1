"""headstart: from a folder of images to a classifier you can trust.

The public names are resolved when they are first used, so that `import headstart` and `headstart --help` need no torch.
Where torch is not installed, a name that needs it says so; `predict`, `check` and `serve` then take ONNX files alone.
`__init__.pyi` lists the same names for type checkers and completion.
"""

from __future__ import annotations

import importlib

__version__ = "0.3.0"

_HOMES: dict[str, str] = {
    "add_class": "headstart.workbench.add_class",
    "advise": "headstart.workbench.advise",
    "advise_augment": "headstart.workbench.advise_augment",
    "advise_label": "headstart.workbench.advise_label",
    "advise_more": "headstart.workbench.advise_more",
    "audit": "headstart.workbench.audit",
    "card": "headstart.workbench.card",
    "check": "headstart.workbench.check",
    "compare": "headstart.workbench.compare",
    "continue_run": "headstart.workbench.continue_run",
    "doctor": "headstart.workbench.doctor",
    "embed": "headstart.workbench.embed",
    "evaluate": "headstart.workbench.evaluate",
    "explain": "headstart.workbench.explain",
    "export": "headstart.workbench.export",
    "fetch": "headstart.workbench.fetch",
    "forget": "headstart.workbench.forget",
    "inspect": "headstart.workbench.inspect",
    "list_backbones": "headstart.workbench.backbones",
    "list_engines": "headstart.workbench.engines",
    "predict": "headstart.workbench.predict",
    "pull": "headstart.workbench.pull",
    "push": "headstart.workbench.push",
    "recalibrate": "headstart.workbench.recalibrate",
    "resume": "headstart.workbench.resume",
    "review": "headstart.workbench.review",
    "serve": "headstart.workbench.serve",
    "show": "headstart.workbench.show",
    "track": "headstart.workbench.track",
    "train": "headstart.workbench.train",
    "register_analysis": "headstart.inspection.catalogue",
    "register_backbone": "headstart.backbones.registered",
    "register_check": "headstart.data.audit.check",
    "register_engine": "headstart.registry",
    "register_head": "headstart.registry",
    "register_rule": "headstart.best_practices.rules",
    "freeze": "headstart.freezing",
    "thaw": "headstart.freezing",
    "preserve": "headstart.preserve",
    "load_backbone": "headstart.backbones.backbone",
    "recalibrate_batch_norm": "headstart.backbones.recalibrate",
    "replace_head": "headstart.backbones.replace_head",
    "open_image": "headstart.data.images",
    "draw_hand": "headstart.datasets.hands",
    "draw_hands": "headstart.datasets.hands",
    "HAND_CLASSES": "headstart.datasets.hands",
    "accuracy": "headstart.training.meters",
    "wilson": "headstart.evaluation.intervals",
    "confusion_figure": "headstart.figures.confusion",
    "panels_figure": "headstart.figures.panels",
    "Line": "headstart.figures.panels",
    "ImagePlot": "headstart.figures.panels",
    "Plot": "headstart.figures.panels",
    "Audit": "headstart.data.audit.audit",
    "Backbone": "headstart.backbones.backbone",
    "BackboneError": "headstart.errors",
    "Classifier": "headstart.classifier.classifier",
    "Cluster": "headstart.distributed.engine",
    "ClassifierError": "headstart.errors",
    "DataError": "headstart.errors",
    "Dataset": "headstart.data.dataset",
    "Evaluation": "headstart.evaluation.evaluation",
    "Features": "headstart.features.matrix",
    "Finding": "headstart.data.finding",
    "FreezePolicy": "headstart.freezing",
    "HeadstartError": "headstart.errors",
    "ImageSet": "headstart.data.image_set",
    "InspectedImages": "headstart.inspection.inspected_images",
    "InspectionResult": "headstart.inspection.inspection_result",
    "Issue": "headstart.best_practices.rule",
    "Prediction": "headstart.classifier.predictions",
    "Preprocess": "headstart.backbones.preprocess",
    "Recipe": "headstart.recipe",
    "RecipeError": "headstart.errors",
    "Run": "headstart.workbench.run",
    "RunError": "headstart.errors",
    "Session": "headstart.workbench.session",
    "SimpleResult": "headstart.inspection.inspection_result",
    "StepByStep": "headstart.training.stepbystep",
    "Table": "headstart.inspection.inspection_result",
    "TrainingError": "headstart.errors",
}

_WITHOUT_TORCH = ("check", "predict")  # of ONNX files
_ROOMS = ("lab",)  # public as a whole

__all__ = sorted([*_HOMES, *_ROOMS, "__version__"])


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        return importlib.import_module(f"headstart.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        from headstart.errors import missing_package

        mistake = missing_package(error)
        if mistake is None:
            raise
        if name not in _WITHOUT_TORCH:
            raise mistake from None
        value = getattr(importlib.import_module("headstart.workbench.without_torch"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
