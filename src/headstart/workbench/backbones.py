"""backbones: the catalogue as plain values, without building anything."""

from __future__ import annotations

from headstart.backbones.catalogue import REGISTERED, SPECS
from headstart.public_api import public_api


@public_api
def list_backbones() -> list[dict[str, object]]:
    """One entry for each backbone: name, title, parameters, input side, accuracy, download, licence, origin, paper.

    The accuracy is that of the default probe over five development sets, by which `auto` chooses; None: not measured.

    Of a registered backbone, its name only: the rest is measured when it is built.
    """
    own: list[dict[str, object]] = [
        {
            "name": row.name,
            "title": row.title,
            "parameters_million": row.parameters,
            "gmac": row.gmac,
            "input_px": row.crop,
            "accuracy": row.accuracy or None,
            "stages": [stage.name for stage in row.stages],
            "features": row.stages[-1].width,
            "download_mb": row.megabytes,
            "licence": row.licence,
            "code_licence": row.code_licence,
            "origin": row.origin,
            "paper": row.paper,
            "weights": row.weights,
            "note": row.note,
        }
        for row in SPECS.values()
    ]
    unknown = dict.fromkeys(own[0])
    return own + [{**unknown, "name": name, "title": "registered", "licence": "see its package"} for name in REGISTERED]
