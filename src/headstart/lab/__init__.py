"""The lab: textbook experiments, one file per claim; `headstart.lab.run_experiment("identity")` runs one."""

from __future__ import annotations

import importlib

__all__ = ["names", "run_experiment"]


def __getattr__(name: str) -> object:
    catalogue = importlib.import_module("headstart.lab.catalogue")
    if name in __all__:
        return getattr(catalogue, name)
    if name in catalogue.CLAIMS:  # headstart.lab.identity, imported when it is first asked for
        return importlib.import_module(f"headstart.lab.{name}")
    raise AttributeError(f"module 'headstart.lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *importlib.import_module("headstart.lab.catalogue").CLAIMS]
