"""The page of a review: suspects with thumbnails, the most similar images of both classes, and commands to decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headstart.reports.gallery import Gallery, GalleryImage
from headstart.reports.page import write_page

MOST_IMAGES = 600  # thumbnails on the page, 4 MB
_TITLES = {
    "train": "Training images",
    "validation": "Validation images",
    "test": "Test images: decisions about them change no reported number",
}


@dataclass(frozen=True, kw_only=True)
class SuspectOnPage:
    """An image whose label is likely wrong, as the page shows it.

    Args:
        image: its name. label, suggested: class names. margin: by how much the suggested class wins.
        split: `train`, `validation` or `test`. decision: what was decided, in words; else empty.
        like_label, like_suggested: names of similar training images. commands: to relabel, drop and keep it.
    """

    image: str
    label: str
    suggested: str
    margin: float
    split: str
    decision: str
    like_label: tuple[str, ...]
    like_suggested: tuple[str, ...]
    commands: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReviewPage:
    """What the page shows.

    Args:
        title: of the data set. run: folder. expected: estimated wrong labels among the `training` images.
        counts: split → images that another class wins. decisions: what holds, in words.
        apply: the command that trains with them. notes: sentences.
    """

    title: str
    run: str
    expected: float
    training: int
    counts: Mapping[str, int]
    decisions: tuple[str, ...]
    suspects: tuple[SuspectOnPage, ...]
    apply: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Shown:
    suspect: SuspectOnPage
    image: GalleryImage
    like_label: tuple[GalleryImage, ...]
    like_suggested: tuple[GalleryImage, ...]


def write_review(path: Path, page: ReviewPage, paths: Mapping[str, Path]) -> Path:
    """Write the page; it appears whole or not at all.

    Args:
        paths: name → file of the images that can be shown.

    Raises:
        RunError: the file cannot be written there.
    """
    gallery = Gallery(paths, max_images=MOST_IMAGES)
    sections = []
    for split, title in _TITLES.items():
        found = [one for one in page.suspects if one.split == split]
        shown = [
            _Shown(
                one,
                gallery.image(one.image),
                tuple(map(gallery.image, one.like_label)),
                tuple(map(gallery.image, one.like_suggested)),
            )
            for one in found
        ]
        if split in page.counts:
            sections.append({"split": split, "title": title, "shown": shown, "count": page.counts[split]})
    return write_page(path, "review.html", {"page": page, "sections": sections})
