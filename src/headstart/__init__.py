"""headstart: from a folder of images to a classifier you can trust.

The public names are resolved when they are first used, so that `import headstart` and `headstart --help` need no torch.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_HOMES: dict[str, str] = {
    "audit": "headstart.workbench.audit",
    "compare": "headstart.workbench.compare",
    "continue_run": "headstart.workbench.continue_run",
    "doctor": "headstart.workbench.doctor",
    "evaluate": "headstart.workbench.evaluate",
    "explain": "headstart.workbench.explain",
    "fetch": "headstart.workbench.fetch",
    "freeze": "headstart.freezing",
    "inspect": "headstart.workbench.inspect",
    "predict": "headstart.workbench.predict",
    "resume": "headstart.workbench.resume",
    "preserve": "headstart.preserve",
    "register_head": "headstart.registry",
    "recalibrate": "headstart.workbench.recalibrate",
    "thaw": "headstart.freezing",
    "train": "headstart.workbench.train",
    "Audit": "headstart.data.audit.audit",
    "Backbone": "headstart.backbones.backbone",
    "BackboneError": "headstart.errors",
    "Classifier": "headstart.classifier.classifier",
    "ClassifierError": "headstart.errors",
    "DataError": "headstart.errors",
    "Evaluation": "headstart.evaluation.evaluation",
    "Features": "headstart.features.matrix",
    "FreezePolicy": "headstart.freezing",
    "HeadstartError": "headstart.errors",
    "ImageSet": "headstart.data.image_set",
    "Prediction": "headstart.classifier.classifier",
    "Recipe": "headstart.recipe",
    "RecipeError": "headstart.errors",
    "Run": "headstart.workbench.run",
    "RunError": "headstart.errors",
    "StepByStep": "headstart.training.stepbystep",
    "TrainingError": "headstart.errors",
}

_ROOMS = ("lab",)  # public as a whole

__all__ = sorted([*_HOMES, *_ROOMS, "__version__"])


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        return importlib.import_module(f"headstart.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
