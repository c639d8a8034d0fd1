"""Videos among the images of predict: their frames in order, and the time of each in its prediction."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from headstart.classifier.predictions import Prediction
from headstart.data.video import Video
from headstart.errors import DataError, RecipeError

_MOST_BYTES = 128_000_000  # of frames that wait for one forward pass; as many are decoded meanwhile


@dataclass
class Sources:
    """Images and videos in the order in which they are answered; a video counts as its frames.

    Args:
        given: images of any kind, and Videos.
    """

    given: Sequence[Any]
    _frames: deque[tuple[float, str | None] | None] = field(default_factory=deque)
    _broken: deque[tuple[int, Prediction]] = field(default_factory=deque)

    @property
    def videos(self) -> list[Video]:
        """Those among them."""
        return [one for one in self.given if isinstance(one, Video)]

    @property
    def has_camera(self) -> bool:
        """Whether they have no end."""
        return any(video.is_camera for video in self.videos)

    @property
    def count(self) -> int:
        """How many answers there will be, about; what is not known counts nothing."""
        videos = self.videos
        return len(self.given) - len(videos) + sum(video.expected for video in videos)

    def batch_size(self, usual: int) -> int:
        """Images in one forward pass, fewer for large frames; one where a camera waits for its answer."""
        largest = max((video.frame_bytes for video in self.videos), default=0)
        return 1 if self.has_camera else min(usual, max(1, _MOST_BYTES // largest)) if largest else usual

    def check(self, **options: object) -> None:
        """Refuse options that have no effect on these sources.

        Args:
            options: every, frames, which only videos use; sort_into, which copies files.

        Raises:
            RecipeError: naming the option.
        """
        idle = [name for name in ("every", "frames") if options.get(name) is not None] if not self.videos else []
        if idle:
            raise RecipeError(
                expected="a video file or camera with this option",
                found="none",
                where=f"--{idle[0]}",
                hint="Leave it out.",
            )
        if self.videos and options.get("sort_into") is not None:
            raise RecipeError(
                expected="image files", found="frames of a video, which are no files", where="--sort-into",
                hint="Write a table instead: --format csv.",
            )  # fmt: skip

    def images(self) -> Iterator[Any]:
        """Every image, and every frame as a Frame, read when it is asked for.

        Raises:
            DataError: a video holds no frame.
        """
        at = 0
        for one in self.given:
            if not isinstance(one, Video):
                self._frames.append(None)
                yield one
                at += 1
                continue
            begun = at
            try:
                for frame in one:
                    self._frames.append((frame.time, frame.damage))
                    yield frame
                    at += 1
            except DataError as error:
                if at == begun:
                    raise
                self._broken.append((at, unread(one.source, error.found)))

    def answers(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Predictions of `images` with time and damage of frames, and one with the reason where a video breaks off."""
        for position, prediction in enumerate(predictions):
            while self._broken and self._broken[0][0] <= position:
                yield self._broken.popleft()[1]
            frame = self._frames.popleft()
            yield prediction if frame is None else replace(prediction, time=frame[0], damaged=frame[1])
        while self._broken:
            yield self._broken.popleft()[1]


def unread(name: str, reason: str) -> Prediction:
    """The prediction of what could not be read."""
    return Prediction(name=name, label=None, probability=0.0, probabilities={}, error=reason)
