"""Prediction: the answer for one image; Predictions: those for several, as rows of a table too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headstart.plain import data_frame


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image; for an unreadable one `error` says why and the rest is empty.

    Args:
        name: the given path; of an image without one, its kind, such as `<array>`.
        label: the most probable class.
        probability: its calibrated probability.
        probabilities: class → probability, most probable first.
        damaged: why the file cannot be whole, where only a part of it could be decoded; the prediction is for that.
    """

    name: str
    label: str | None
    probability: float
    probabilities: dict[str, float]
    error: str | None = None
    damaged: str | None = None

    @property
    def top(self) -> tuple[tuple[str, float], ...]:
        """The three most probable classes with their probabilities."""
        return tuple(self.probabilities.items())[:3]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "path": self.name,
            "label": self.label,
            "probability": self.probability if self.label else None,
            "top": [{"label": label, "probability": probability} for label, probability in self.top],
            "error": self.error,
            "damaged": self.damaged,
        }

    def __str__(self) -> str:
        if self.error:
            return f"{self.name}: {self.error}"
        damaged = f"; the file is damaged: {self.damaged}" if self.damaged else ""
        return f"{self.name}: {self.label} ({self.probability:.1%}){damaged}"


class Predictions(list[Prediction]):
    """A list of predictions, in the order of the images, that becomes a table."""

    def to_dict(self) -> dict[str, list[Any]]:
        """Flat columns: path, label, probability, `p(<class>)` for each class, error, damaged; else None."""
        classes = sorted({name for prediction in self for name in prediction.probabilities})
        columns: dict[str, list[Any]] = {
            "path": [prediction.name for prediction in self],
            "label": [prediction.label for prediction in self],
            "probability": [None if prediction.error else prediction.probability for prediction in self],
        }
        columns |= {f"p({name})": [prediction.probabilities.get(name) for prediction in self] for name in classes}
        said = {"error": [p.error for p in self], "damaged": [p.damaged for p in self]}
        return columns | said

    def to_frame(self) -> Any:
        """The columns of `to_dict` as a pandas DataFrame.

        Raises:
            RunError: pandas is not installed.
        """
        return data_frame(self.to_dict())
