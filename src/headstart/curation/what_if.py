"""What a head would be if some training images were relabelled or left out, and what that changes for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.errors import shown
from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import Interval, share_interval
from headstart.heads.regularization_path import Labels, Matrix
from headstart.heads.revised_ridge import RevisableRidge
from headstart.plain import fields_of
from headstart.wording import counted, listed, percent

_NAMED = 5


@dataclass(frozen=True, eq=False)
class WhatIf:
    """A head after decisions, compared with the one before them on the images that no decision is about.

    Args:
        weight: D×C. bias: C, of the ridge head after them.
        relabelled, dropped: how many training images.
        before, after: leave-one-group-out accuracy on the other training images; None where there is none.
        changed: those of them whose left-out prediction is another class.
    """

    weight: Matrix
    bias: Matrix
    relabelled: int
    dropped: int
    before: Interval | None
    after: Interval | None
    changed: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain values without the head."""
        return {name: value for name, value in fields_of(self).items() if name not in ("weight", "bias")}

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            return "No training image is left that no decision is about."
        shares = [
            f"{percent(one.value)} [{one.low * 100:.1f}, {one.high * 100:.1f}]" for one in (self.before, self.after)
        ]
        names = f": {shown(listed(self.changed, _NAMED))}" if self.changed else ""
        return (
            f"Trained with {self.relabelled:,} relabelled and {self.dropped:,} left out: accuracy on the other "
            f"{counted(self.before.n, 'training image')}, each left out in turn: {shares[0]} → {shares[1]}. "
            f"The prediction changes for {counted(len(self.changed), 'image')}{names}."
        )


def what_if(ridge: RevisableRidge, labels: Labels, kept: NDArray[np.bool_], *, names: Sequence[str]) -> WhatIf:
    """Solve a head with other labels and without some images; exact, in milliseconds.

    Args:
        ridge: of the labels as they are. labels: N. kept: N. names: N, of the images.
    """
    data = ridge.data
    first = ridge.revise(data.labels, np.ones(len(labels), dtype=np.bool_))
    then = ridge.revise(labels, kept)
    others = kept & (labels == data.labels)
    groups = data.groups[others].tolist()
    predicted = [scores[others].argmax(axis=1) for scores in (first.scores, then.scores)]
    shared = shared_groups(groups)
    accuracy = [share_interval(one == labels[others], shared) for one in predicted] if others.any() else [None, None]
    return WhatIf(
        weight=then.weight,
        bias=then.bias,
        relabelled=int((kept & (labels != data.labels)).sum()),
        dropped=int((~kept).sum()),
        before=accuracy[0],
        after=accuracy[1],
        changed=tuple(names[i] for i in np.flatnonzero(others)[predicted[0] != predicted[1]]),
    )
