"""What was measured on this machine: the seconds of each engine for one network, kept in the cache.

The key is everything that can change the answer: processor, threads, versions, weights, stages and size. So one short
measurement decides for all later runs, and a cache that came from another machine decides nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.errors import RunError
from headstart.files import clear_place, make_folder, write_json
from headstart.plain import Plain
from headstart.untrusted import check_kinds, read_object

ENGINES = "engines"
_STEPS = "steps"
_KINDS: Mapping[str, type] = {"backbone": str, "processor": str, "threads": int, "seconds": dict}


@dataclass(frozen=True)
class Measurement(Plain):
    """Seconds for one image with each engine.

    Args:
        backbone: its name. processor: its model. threads: that torch used.
        seconds: by name of the engine; those that are not available or were refused are missing.
    """

    backbone: str
    processor: str
    threads: int
    seconds: Mapping[str, float]

    @property
    def fastest(self) -> str:
        """Name of the fastest engine."""
        return min(self.seconds, key=lambda name: self.seconds[name])


def keep_measurement(
    backbone: Backbone, seconds: Mapping[str, float], cache_folder: Path, *, what: str = ENGINES
) -> None:  # positional: the network, its measurement, where it is kept
    """Keep what was measured for a network; where the cache cannot be written, it is measured again next time.

    Args:
        what: was measured; the seconds of its choices are kept apart from those of another.
    """
    found = Measurement(backbone.spec.name, runtime.cpu_model(), torch.get_num_threads(), dict(seconds))
    path = _path(backbone, cache_folder, what)
    with contextlib.suppress(RunError):
        make_folder(path.parent)
        clear_place(path)
        write_json(path, found.to_dict())


def read_measurement(
    backbone: Backbone, cache_folder: Path, *, what: str = ENGINES, threads: int = 0
) -> Measurement | None:
    """What was measured for a network on this machine; None: nothing, or the file is damaged.

    Args:
        threads: that torch used; 0: as many as now.
    """
    path = _path(backbone, cache_folder, what, threads=threads)
    return _read(path) if path.parent.is_dir() else None


def all_measurements(cache_folder: Path) -> Iterator[Measurement]:
    """Everything that is kept, by name of the backbone."""
    found = [one for path in (cache_folder / ENGINES).glob("*.json") if (one := _read(path)) is not None]
    yield from sorted(found, key=lambda one: (one.backbone, one.threads))


def _read(path: Path) -> Measurement | None:
    try:
        values = read_object(path)
        check_kinds(values, dict(_KINDS))
    except (OSError, ValueError):
        return None
    seconds = values["seconds"]
    if not seconds or not all(isinstance(value, float) and 0 < value < math.inf for value in seconds.values()):
        return None
    return Measurement(**{name: values[name] for name in _KINDS})


def _path(backbone: Backbone, cache_folder: Path, what: str, *, threads: int = 0) -> Path:
    versions = runtime.versions()
    facts = {
        "processor": runtime.cpu_model(),
        "flags": sorted(runtime.cpu_flags()),
        "threads": threads or torch.get_num_threads(),
        "versions": {name: versions.get(name, "") for name in ("headstart", "torch", "onnxruntime", "system")},
        "backbone": backbone.spec.name,
        "weights": backbone.fingerprint,
        "stages": backbone.stages,
        "size": backbone.preprocess.crop,
    }
    if what != ENGINES:
        facts["what"] = what
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return cache_folder / (ENGINES if what == ENGINES else _STEPS) / f"{digest[:32]}.json"
