"""Plain values: any result as dicts, lists, strings and finite numbers, the one form of JSON, run.json and pages."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Set
from pathlib import PurePath
from typing import Any

from headstart.errors import RunError


def to_plain(value: Any) -> Any:
    """Turn a value into what JSON knows: dataclasses become dicts by field, tuples and arrays lists, paths strings.

    A number that is not finite becomes None. A dataclass with its own `to_dict` is asked for it. Needs no numpy: an
    array or tensor is recognised by its `tolist`.

    Raises:
        TypeError: a value has no plain form.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [to_plain(item) for item in value]
    if isinstance(value, Set):
        return sorted(to_plain(item) for item in value)
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "to_dict"):
        return to_plain(value.to_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no plain form")


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, each as a plain value."""
    return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}


class Plain:
    """Gives a dataclass `to_dict`: its fields as plain values; one that shows more starts from `super().to_dict()`."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values for JSON."""
        return fields_of(self)


def data_frame(columns: Mapping[Any, Any]) -> Any:
    """A pandas DataFrame of these columns; pandas is only needed here.

    Raises:
        RunError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        hint = "pip install pandas; where there is a to_dict() it gives the same columns without it."
        raise RunError(expected="the package pandas", found="not installed", where="to_frame", hint=hint) from error
    return pandas.DataFrame(columns)
