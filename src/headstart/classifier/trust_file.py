"""Familiarity and prediction sets in a classifier file: plain values in its card, rows of features as tensors.

Everything that is read is checked: a file from outside may hold anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from headstart.classifier.familiarity import BANK, MOST_DISTANCES, RESIDUAL, Familiarity
from headstart.evaluation.conformal import LAC, RAPS, ConformalSets, conformal_rank, largest_score
from headstart.untrusted import Untrusted, parse_json

ROWS, MEAN, DISTANCES, NAMES = (f"familiarity.{name}" for name in ("rows", "mean", "distances", "names"))

_MOST_ROWS = 100_000  # of a bank, and of distances: thirty times what headstart writes
_WIDEST = 1e3  # no distance is larger: cosines end at 1
_ROUNDING = 1e-6
_UNEVEN = 1e-2  # of the length of a row in float16


def trust_values(familiarity: Familiarity | None, conformal: ConformalSets | None) -> dict[str, dict[str, Any]]:
    """The entries `familiarity` and `conformal` of a card; empty where there is none."""
    return {
        "familiarity": {} if familiarity is None else _familiarity_values(familiarity),
        "conformal": {} if conformal is None else _conformal_values(conformal),
    }


def familiarity_tensors(familiarity: Familiarity) -> dict[str, torch.Tensor]:
    """Its rows, distances and names, by their names in the file; rows of images in float16."""
    rows = torch.from_numpy(np.ascontiguousarray(familiarity.rows))
    found = {
        ROWS: rows.half() if familiarity.kind == BANK else rows,
        DISTANCES: torch.from_numpy(np.ascontiguousarray(familiarity.distances)),
    }
    if familiarity.mean is not None:
        found[MEAN] = torch.from_numpy(familiarity.mean)
    if familiarity.names:
        text = json.dumps(list(familiarity.names)).encode()
        found[NAMES] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return found


def read_familiarity(
    values: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], width: int
) -> Familiarity | None:  # None: the card has none
    """What a file says of familiarity.

    Args:
        values: of the card. tensors: of the file, finite. width: D, features of the stage.

    Raises:
        Untrusted: they make no sense together.
    """
    if not values:
        return None
    kind, rows, mean = values["kind"], _matrix(tensors, ROWS, 2), tensors.get(MEAN)
    distances = _matrix(tensors, DISTANCES, 1)
    if rows.shape[1] != width or (kind == BANK and not len(rows)) or max(len(rows), len(distances)) > _MOST_ROWS:
        raise Untrusted(f"{ROWS} of shape {rows.shape} for a stage of {width} features")
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    if kind == BANK and ((abs(length - 1) > _UNEVEN) & (length > _UNEVEN)).any():  # features of zero stay so
        raise Untrusted(f"{ROWS} that are not of unit length")
    if (mean is not None) != (kind == RESIDUAL) or (mean is not None and mean.shape != (width,)):
        raise Untrusted(f"{MEAN} does not fit a {kind}")
    if len(distances) and (distances[0] < 0 or (np.diff(distances) < 0).any()):
        raise Untrusted(f"{DISTANCES} are not sorted")
    _check_threshold(values, distances)
    return Familiarity(
        kind=kind,
        stage=values["stage"],
        rows=rows,
        mean=None if mean is None else mean.float().numpy(),
        names=_names(tensors.get(NAMES), len(rows)) if kind == BANK else (),
        distances=distances,
        rate=float(values["rate"]),
        threshold=None if values["threshold"] is None else float(values["threshold"]),
        images=values["images"],
        groups=values["groups"],
        reason=values["reason"],
    )


def _check_threshold(values: Mapping[str, Any], distances: Any) -> None:
    """Check that the threshold is the one that the rate gives for the distances of held-out images."""
    images, threshold = values["images"], values["threshold"]
    if len(distances) != min(images, MOST_DISTANCES):
        raise Untrusted(f"{len(distances)} {DISTANCES} of {images} images")
    if threshold is None:
        return
    rank = conformal_rank(images, values["rate"])
    if not 1 <= rank <= images:
        raise Untrusted(f"a threshold at a rate of {values['rate']:g} from {images} images")
    at = (rank - 1) * (len(distances) - 1) / max(images - 1, 1)
    slack = 0 if len(distances) == images else 1  # of more images only some are kept
    low, high = max(int(at) - slack, 0), min(int(np.ceil(at)) + slack, len(distances) - 1)
    if not distances[low] - _ROUNDING <= threshold <= distances[high] + _ROUNDING:
        raise Untrusted(f"a threshold of {threshold:g}, where the distances give {distances[low]:g}")


def read_conformal(values: Mapping[str, Any], classes: int) -> ConformalSets | None:
    """What a card says of prediction sets; None where it has none."""
    if not values:
        return None
    thresholds, own = np.full(classes, float(values["threshold"])), np.zeros(classes, dtype=np.bool_)
    for key, value in values["own"].items():
        thresholds[int(key)], own[int(key)] = float(value), True
    return ConformalSets(
        method=values["method"],
        error_rate=float(values["error_rate"]),
        thresholds=thresholds,
        own=own,
        images=values["images"],
        groups=values["groups"],
    )


def check_trust(familiarity: object, conformal: object, classes: int) -> None:
    """Check the two entries of a card.

    Raises:
        Untrusted: a value is missing or makes no sense.
    """
    if familiarity != {}:
        values = _mapping(familiarity, "familiarity")
        _choice(values, "kind", (BANK, RESIDUAL))
        _counts(values)
        _number(values.get("rate"), "rate", most=1.0)
        if values.get("threshold") is not None:
            _number(values["threshold"], "threshold", most=_WIDEST)
        if not isinstance(values.get("stage"), str) or not isinstance(values.get("reason"), str) or not values["stage"]:
            raise Untrusted("stage and reason of familiarity are texts")
        if "threshold" not in values or (values["threshold"] is None) != bool(values["reason"]):
            raise Untrusted("familiarity has a threshold, or a reason why there is none")
    if conformal != {}:
        values = _mapping(conformal, "conformal")
        _choice(values, "method", (LAC, RAPS))
        _counts(values)
        most = largest_score(classes)
        _number(values.get("error_rate"), "error_rate", most=1.0)
        if (
            not 0 < values["error_rate"] < 1
            or conformal_rank(values["groups"], values["error_rate"]) > values["groups"]
        ):
            raise Untrusted(f"an error rate of {values['error_rate']:g} from {values['groups']} groups of images")
        _number(values.get("threshold"), "threshold", most=most)
        for key, value in _mapping(values.get("own"), "own").items():
            if not key.isdecimal() or not key.isascii() or len(key) > 9 or int(key) >= classes:
                raise Untrusted(f"a class of own thresholds: {key[:20]!r}")
            _number(value, "own", most=most)


def _familiarity_values(familiarity: Familiarity) -> dict[str, Any]:
    names = ("kind", "stage", "rate", "threshold", "images", "groups", "reason")
    return {name: getattr(familiarity, name) for name in names}


def _conformal_values(conformal: ConformalSets) -> dict[str, Any]:
    """One threshold that most classes share, and those of the others by their number."""
    own = {str(i): float(conformal.thresholds[i]) for i in np.flatnonzero(conformal.own)}
    shared = conformal.thresholds[~conformal.own]
    return {
        "method": conformal.method,
        "error_rate": conformal.error_rate,
        "threshold": float(shared[0]) if len(shared) else 1.0,
        "own": own,
        "images": conformal.images,
        "groups": conformal.groups,
    }


def _matrix(tensors: Mapping[str, torch.Tensor], name: str, dimensions: int) -> Any:
    found = tensors.get(name)
    if found is None or found.ndim != dimensions or not found.is_floating_point():
        raise Untrusted(f"no {name} of {dimensions} dimensions")
    return found.float().contiguous().numpy()


def _names(stored: torch.Tensor | None, count: int) -> tuple[str, ...]:
    if stored is None or stored.dtype != torch.uint8:
        raise Untrusted(f"no {NAMES}")
    names = parse_json(stored.numpy().tobytes())
    if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise Untrusted(f"{NAMES} are not {count} texts")
    return tuple(names)


def _mapping(values: object, name: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise Untrusted(f"{name} is no object")
    return values


def _choice(values: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> None:
    if values.get(name) not in allowed:
        raise Untrusted(f"{name} is one of {', '.join(allowed)}, not {str(values.get(name))[:40]!r}")


def _counts(values: Mapping[str, Any]) -> None:
    for name in ("images", "groups"):
        if type(values.get(name)) is not int or values[name] < 0:
            raise Untrusted(f"{name} is a count, not {str(values.get(name))[:40]!r}")
    if values["groups"] > values["images"]:
        raise Untrusted(f"{values['groups']} groups of {values['images']} images")


def _number(value: object, name: str, *, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:  # nan too
        raise Untrusted(f"{name} is a number from 0 to {most:g}, not {str(value)[:40]!r}")
