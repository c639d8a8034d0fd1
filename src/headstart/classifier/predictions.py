"""Prediction: the answer for one image; Predictions: those for several, as rows of a table too."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import shown
from headstart.plain import data_frame
from headstart.wording import counted, listed, percent

TRUST = ("familiar", "familiarity_percentile", "nearest_image", "prediction_set", "atypical", "rejected")
"""Fields of a Prediction that say whether it can be relied on, in the order of tables."""

_NAMED = 3  # classes of a set that are named in a sentence


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image; for an unreadable one `error` says why and the rest is empty.

    Args:
        name: the given path; of an image without one, its kind, such as `<array>`.
        label: the most probable class.
        probability: its calibrated probability.
        probabilities: class → probability, most probable first.
        damaged: why the file cannot be whole, where only a part of it could be decoded; the prediction is for that.
        familiar: whether the image is as close to the training images as they are to each other; None: the classifier
            carries no threshold for that.
        familiarity_percentile: how many of 100 training images are at least as far from the others as this image: it is
            unfamiliar where that is at most the stated rate, 5; None: the classifier has no training features with it.
        nearest_image: the most similar training image, by its name in the data set.
        prediction_set: the classes that cannot be ruled out at the stated error rate, most probable first.
        atypical: whether no class was close enough, so that the most probable one is in the set alone.
        rejected: why the answer was rejected, where that was asked for; `label` is then None.
        time: seconds since the first frame, for a frame of a video.
    """

    name: str
    label: str | None
    probability: float
    probabilities: dict[str, float]
    error: str | None = None
    damaged: str | None = None
    familiar: bool | None = None
    familiarity_percentile: float | None = None
    nearest_image: str | None = None
    prediction_set: tuple[str, ...] | None = None
    atypical: bool | None = None
    rejected: str | None = None
    time: float | None = None

    @property
    def top(self) -> tuple[tuple[str, float], ...]:
        """The three most probable classes with their probabilities."""
        return tuple(self.probabilities.items())[:3]

    @property
    def answer(self) -> str:
        """The class, `rejected` or `unreadable`: what images are counted by."""
        return "unreadable" if self.error else "rejected" if self.rejected else str(self.label)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "path": self.name,
            "label": self.label,
            "probability": self.probability if self.label else None,
            "top": [{"label": label, "probability": probability} for label, probability in self.top],
            "error": self.error,
            "damaged": self.damaged,
            **self.trust(),
            **({} if self.time is None else {"time": self.time}),
        }

    def trust(self) -> dict[str, object]:
        """Whether the answer can be relied on, as plain values: what `familiar` to `rejected` say."""
        values: dict[str, object] = {name: getattr(self, name) for name in TRUST}
        return values | {"prediction_set": None if self.prediction_set is None else list(self.prediction_set)}

    @property
    def doubt(self) -> str:
        """What to mind about the answer, in a few words: unfamiliar, unsure between classes, atypical; else empty."""
        found = ["rejected"] if self.rejected else []
        if self.familiar is False:
            found.append("unlike the training images")
        if self.atypical:
            found.append("atypical for its class")
        if self.prediction_set is not None and len(self.prediction_set) > 1:
            found.append(f"unsure between {' and '.join(map(shown, self.prediction_set[:_NAMED]))}" + self._more)
        return "; ".join(found)

    @property
    def _more(self) -> str:
        count = len(self.prediction_set or ()) - _NAMED
        return f" and {count:,} more" if count > 0 else ""

    def __str__(self) -> str:
        if self.error:
            return f"{self.name}: {self.error}"
        damaged = f"; the file is damaged: {self.damaged}" if self.damaged else ""
        doubt = f"; {self.doubt}" if self.doubt else ""
        return f"{self.name}: {self.label or 'no class'} ({percent(self.probability)}){doubt}{damaged}"


class Predictions(list[Prediction]):
    """A list of predictions, in the order of the images, that becomes a table.

    `written` are the tables that were written of it, and the folder into which its images were sorted.
    """

    written: tuple[Path, ...] = ()

    def __repr__(self) -> str:  # short: print() has a line for each image
        return f"Predictions({counted(len(self), 'image')}: {listed([f'{n:,} {name}' for name, n in self._counts()])})"

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def _counts(self) -> list[tuple[str, int]]:
        return Counter(one.answer for one in self).most_common()

    def to_dict(self) -> dict[str, list[Any]]:
        """Flat columns: path, label, probability, for frames of videos `time`, `p(<class>)` for each class, error,
        damaged, and those of `trust`."""
        classes = sorted({name for prediction in self for name in prediction.probabilities})
        columns: dict[str, list[Any]] = {
            "path": [prediction.name for prediction in self],
            "label": [prediction.label for prediction in self],
            "probability": [prediction.probability if prediction.label else None for prediction in self],
        }
        columns |= self.times()
        columns |= {f"p({name})": [prediction.probabilities.get(name) for prediction in self] for name in classes}
        trust = [prediction.trust() for prediction in self]
        said = {"error": [p.error for p in self], "damaged": [p.damaged for p in self]}
        return columns | said | {name: [values[name] for values in trust] for name in TRUST}

    def times(self) -> dict[str, list[Any]]:
        """The column `time` in seconds, where some of the images are frames of a video; else nothing."""
        return {"time": [p.time for p in self]} if any(p.time is not None for p in self) else {}

    def to_frame(self) -> Any:
        """The columns of `to_dict` as a pandas DataFrame.

        Raises:
            RunError: pandas is not installed.
        """
        return data_frame(self.to_dict())
