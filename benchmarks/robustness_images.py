"""Damaged image files of every format, opened: refused with a reason, as the whole file, or another picture."""

from __future__ import annotations

import numpy as np

from headstart.data.images import BadImage, open_image
from mutated_images import mutations

TOLERANCE = 8  # grey levels of the mean difference: below, nobody sees damage


def run(count: int, seed: int) -> dict[str, int]:
    """Trials by their outcome; `another picture` decodes without a word, mostly of a format without checksums."""
    outcomes = {"refused": 0, "as the whole file": 0, "said to be suspect": 0, "another picture": 0, "foreign error": 0}
    for mutation in mutations(count, seed):
        try:
            opened = open_image(mutation.damaged)
        except BadImage:
            outcomes["refused"] += 1
            continue
        except Exception:
            outcomes["foreign error"] += 1
            continue
        found, whole = opened.rgb, open_image(mutation.whole).rgb
        same = found.shape == whole.shape and np.abs(found.astype(int) - whole).mean() <= TOLERANCE
        if same:
            outcomes["as the whole file"] += 1
        else:
            outcomes["said to be suspect" if opened.suspicion else "another picture"] += 1
    return outcomes
