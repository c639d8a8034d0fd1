"""Album: the pictures of a report, bounded in number, each with the reason when there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.images import BadImage, ImageRules
from headstart.data.thumbnails import Thumbnail, thumbnail

MOST_PICTURES = 60  # half a megabyte; more than anybody looks at


@dataclass(frozen=True)
class Picture:
    """An image as the report shows it: a thumbnail, or the reason why it cannot be read (empty: nobody tried)."""

    name: str
    thumbnail: Thumbnail | None
    reason: str = ""


@dataclass(frozen=True)
class Plate:
    """Pictures that are shown side by side, and how many more there are that are not shown."""

    pictures: tuple[Picture, ...]
    left_out: int

    @property
    def has_thumbnails(self) -> bool:
        """Whether there is anything to see."""
        return any(picture.thumbnail for picture in self.pictures)


class Album:
    """Opens thumbnails until its pages are full; then names stand alone."""

    def __init__(
        self, paths: Mapping[str, Path], *, most: int = MOST_PICTURES, rules: ImageRules | None = None
    ) -> None:
        self._paths = paths
        self._rules = rules
        self.room = most

    def knows(self, name: str) -> bool:
        """Whether there is a file to that name."""
        return name in self._paths

    def picture(self, name: str) -> Picture:
        """The picture of one image; never fails, since a report must not be lost for a thumbnail."""
        path = self._paths.get(name)
        if path is None:
            return Picture(name, None)
        if self.room <= 0:
            return Picture(name, None)
        try:
            found = thumbnail(path, rules=self._rules)
        except BadImage as bad:
            return Picture(name, None, bad.reason)
        self.room -= 1
        return Picture(name, found)

    def plate(self, names: Sequence[str], most: int, count: int = 0) -> Plate:
        """The first pictures of a group.

        Args:
            most: pictures at most; fewer when the album is nearly full.
            count: how many images the group has, where names lists only the first of them.
        """
        # at least two, whose names alone already say something
        taken = names[: min(most, max(2, self.room))]
        return Plate(tuple(self.picture(name) for name in taken), max(len(names), count) - len(taken))
