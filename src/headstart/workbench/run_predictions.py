"""RunPredictions: the predictions of a run for its images, as rows, as arrays, and as a frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import RunError, near
from headstart.plain import data_frame
from headstart.untrusted import Untrusted

MOST_COLUMNS = 10  # classes with a probability in the table: with 1,000 in it, 5,000 images were 46 MB
RANKS = range(2, MOST_COLUMNS + 1)
NUMBER, PREFIX = "probability", "p("
_SPLITS = ("train", "validation", "test", "unknown")
_ROUNDED = 2e-6  # six decimals are written
_NUMBERS = {NUMBER, *(f"p_{rank}" for rank in RANKS)}


class RunPredictions(list[dict[str, str]]):
    """The rows of predictions.csv, one for each image; the columns of all of them as arrays.

    Attributes:
        classes: C names, in the order of the probabilities' columns.
    """

    def __init__(
        self,
        rows: Iterable[dict[str, str]],
        classes: Sequence[str],
        scores: Callable[[list[str]], NDArray[np.float64]] | None = None,
    ) -> None:
        """Take rows as they are.

        Args:
            scores: names of n images → n×C probabilities, for rows that do not have those of all classes.
        """
        super().__init__(rows)
        self.classes, self._scores = tuple(classes), scores

    def check(self, header: Sequence[str], classes: Sequence[str]) -> None:
        """Check that rows read from a file make sense.

        Args:
            header: of all columns. classes: that the run was evaluated on.

        Raises:
            Untrusted: a column or an image stands twice, there is no row, a word is unknown, a number is no share, or
                the probabilities of a row do not go with each other or with what is predicted.
        """
        for what, names in (("column", header), ("image", self.names)):
            twice = next((name for name, count in Counter(names).items() if count > 1), None)
            if twice is not None:
                raise Untrusted(f"the {what} {twice!r:.80} stands there twice")
        if not self:
            raise Untrusted("no row")
        if sorted(self.classes) != sorted(classes):
            raise Untrusted(f"probabilities of {', '.join(self.classes):.80}, and classes {', '.join(classes):.80}")
        for column, known in (("split", _SPLITS), ("predicted", classes)):
            other = next((row[column] for row in self if row[column] not in known), None)
            if other is not None:
                raise Untrusted(f"{other!r:.80} as {column}")
        shares = [name for name in header if name.startswith(PREFIX) or name in _NUMBERS]
        for row in self:
            if not all(0 <= float(row[name] or 0) <= 1 for name in shares):  # nan too
                raise Untrusted(f"a probability of {row['path']!r:.80} is not between 0 and 1")
            if all(f"{PREFIX}{name})" in row for name in classes):
                _check_row(row, {name: float(row[f"{PREFIX}{name})"] or 0) for name in classes})

    def of_split(self, split: str) -> RunPredictions:
        """Those of one split: `train`, `validation`, `test` or `unknown`.

        Raises:
            RunError: there is no such split.
        """
        if split not in _SPLITS:
            raise RunError(expected="a split of the run", found=repr(split), hint=near(split, _SPLITS))
        return RunPredictions([row for row in self if row["split"] == split], self.classes, self._scores)

    @property
    def names(self) -> list[str]:
        """N paths of the images in their data set; of images from memory their numbers in it."""
        return [row["path"] for row in self]

    @property
    def labels(self) -> NDArray[np.int64]:
        """N int64, true classes as indices into `classes`; -1 for a class that training does not have."""
        return self._indices("label")

    @property
    def predicted(self) -> NDArray[np.int64]:
        """N int64, predicted classes as indices into `classes`."""
        return self._indices("predicted")

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """N×C float64, calibrated, with six decimals; with more than ten classes those of the classifier, exact."""
        if self._scores is not None and len(self.classes) > MOST_COLUMNS:
            return self._scores(self.names)
        columns = [f"{PREFIX}{name})" for name in self.classes]
        return np.array([[float(row[column]) for column in columns] for row in self]).reshape(len(self), len(columns))

    def to_dict(self) -> dict[str, list[Any]]:
        """Column → its N values, those of predictions.csv; probabilities as floats."""
        columns = list(self[0]) if self else []
        return {
            name: [float(row[name]) if name in _NUMBERS or name.startswith(PREFIX) else row[name] for row in self]
            for name in columns
        }

    def to_frame(self) -> Any:
        """The columns of `to_dict` as a pandas DataFrame.

        Raises:
            RunError: pandas is not installed.
        """
        return data_frame(self.to_dict())

    def _indices(self, column: str) -> NDArray[np.int64]:
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array([number.get(row[column], -1) for row in self], dtype=np.int64)


def _check_row(row: Mapping[str, str], shares: Mapping[str, float]) -> None:
    """Check that the probabilities of all classes make 1, and what is predicted the most probable of them."""
    if abs(sum(shares.values()) - 1) > _ROUNDED * len(shares):
        raise Untrusted(f"the probabilities of {row['path']!r:.80} make {sum(shares.values()):g}, not 1")
    predicted = shares[row["predicted"]]
    if predicted < max(shares.values()) - _ROUNDED or abs(predicted - float(row[NUMBER])) > _ROUNDED:
        raise Untrusted(f"{row['predicted']!r:.80} is not the most probable class of {row['path']!r:.80}")
