"""Images that belong together but lie in different parts: copies in training and test, groups across given parts."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.data.finding import NAMED, Finding
from headstart.data.image_set import Sample


def leaked(groups: Sequence[Sequence[int]], parts: Sequence[str | None]) -> tuple[int, ...]:
    """Indices of the validation and test images that have another image of their group in training, ascending.

    Args:
        groups: indices of images that belong together. parts: of each image.
    """
    crossing = [group for group in groups if any(parts[i] == "train" for i in group)]
    return tuple(sorted(i for group in crossing for i in group if parts[i] in ("validation", "test")))


def about_groups(
    kind: str, severity: str, message: str, samples: Sequence[Sample], groups: Sequence[Sequence[int]]
) -> Finding:
    """A finding about groups of images, given as indices of samples."""
    named = tuple(tuple(samples[i].name for i in group) for group in groups[:NAMED])
    names = tuple(name for group in named for name in group)[:NAMED]
    return Finding(kind, severity, message, names, named, {"count": len(groups)})
