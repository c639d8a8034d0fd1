"""Gallery: the images of a report, limited in number, each with the reason when it cannot be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from headstart.data.images import BadImage, ImageRules
from headstart.data.thumbnails import Thumbnail, thumbnail

MAX_IMAGES = 60  # half a megabyte; more than anybody looks through


@dataclass(frozen=True)
class GalleryImage:
    """An image as the report shows it: a thumbnail, or the reason why it cannot be read (empty: it was not opened)."""

    name: str
    thumbnail: Thumbnail | None = None
    reason: str = ""

    @property
    def address(self) -> Markup:
        """The `data:` address of the thumbnail; base64 of our own needs no escaping, which takes long."""
        return Markup(self.thumbnail.address if self.thumbnail else "")


@dataclass(frozen=True)
class ImageGrid:
    """Images shown side by side, and how many more there are."""

    images: tuple[GalleryImage, ...]
    left_out: int

    @property
    def has_thumbnails(self) -> bool:
        """Whether any of them has a thumbnail."""
        return any(image.thumbnail for image in self.images)


class Gallery:
    """Opens thumbnails until the page has its maximum; further images are shown by name alone."""

    def __init__(
        self, paths: Mapping[str, Path], *, max_images: int = MAX_IMAGES, rules: ImageRules | None = None
    ) -> None:
        self._paths = paths
        self._rules = rules
        self.remaining = max_images

    def __contains__(self, name: str) -> bool:
        return name in self._paths

    def image(self, name: str) -> GalleryImage:
        """One image by name; never fails, since a report must not be lost for a thumbnail."""
        path = self._paths.get(name)
        if path is None or self.remaining <= 0:
            return GalleryImage(name)
        try:
            found = thumbnail(path, rules=self._rules)
        except BadImage as bad:
            return GalleryImage(name, reason=bad.reason)
        self.remaining -= 1
        return GalleryImage(name, found)

    def grid(self, names: Sequence[str], most: int, count: int = 0) -> ImageGrid:
        """The first images of a group.

        Args:
            most: images at most; fewer when the gallery is nearly full.
            count: how many images the group has, where names lists only the first of them.
        """
        # at least two, whose names alone already say something
        taken = names[: min(most, max(2, self.remaining))]
        return ImageGrid(tuple(self.image(name) for name in taken), max(len(names), count) - len(taken))
