"""engines: how long each way of running a network took on this machine, as it was measured and kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headstart import runtime
from headstart.engines.measured import Measurement, all_measurements
from headstart.plain import Plain
from headstart.public_api import public_api


@dataclass(frozen=True)
class MeasuredEngines(Plain):
    """What was measured, and where it is kept.

    Args:
        measurements: one for each network, number of threads and version, by name of the network.
    """

    folder: Path
    measurements: tuple[Measurement, ...]


@public_api
def list_engines() -> MeasuredEngines:
    """The seconds that an image took with each engine, for every network that was measured on this machine.

    `train` and `embed` measure a network when enough images wait, and use what was measured from then on.
    """
    folder = runtime.cache_folder()
    return MeasuredEngines(folder, tuple(all_measurements(folder)))
