"""Files laid out in a folder, and what a scan makes of them."""

from __future__ import annotations

from pathlib import Path

from headstart.data.finding import Finding
from headstart.data.image_set import ImageSet

JPEG = b"\xff\xd8\xff\xe0" + bytes(20)


def lay(root: Path, *names: str, content: bytes = JPEG) -> Path:
    """Make files, and folders where a name ends in `/`."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


def rows(image_set: ImageSet) -> list[tuple[str, str | None, str | None]]:
    return [(sample.name, sample.label, sample.split) for sample in image_set.samples]


def find(image_set: ImageSet, kind: str) -> list[Finding]:
    return [finding for finding in image_set.findings if finding.kind == kind]


def kinds(image_set: ImageSet) -> set[str]:
    return {finding.kind for finding in image_set.findings}
