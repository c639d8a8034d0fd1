"""Evaluations of drawn predictions on images of a few classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from headstart.evaluation.evaluate import EvaluatedImages, evaluate_probabilities
from headstart.evaluation.evaluation import Evaluation

CLASSES = ("ant", "bee", "cat")


def predictions(n: int = 120, gap: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities N×3 and labels; the larger the gap, the more of them are correct."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, size=n, p=[0.5, 0.3, 0.2])
    logits = np.exp(rng.normal(size=(n, 3)) + gap * np.eye(3)[y])
    return logits / logits.sum(axis=1, keepdims=True), y


def evaluation(n: int = 120, gap: float = 2.0, **options: Any) -> Evaluation:
    """The evaluation of such predictions."""
    p, y = predictions(n, gap)
    about = {name: options.pop(name) for name in ("groups", "leaked", "unknown") if name in options}
    return evaluate_probabilities(p, images(y, [f"{i:03}.jpg" for i in range(n)], **about), **options)


def images(y: ArrayLike, names: Sequence[str] = (), **about: Any) -> EvaluatedImages:
    """Test images of the three classes, named by their number."""
    found = {"classes": CLASSES, "names": names or [str(i) for i in range(len(np.asarray(y)))], **about}
    return EvaluatedImages(labels=y, **found)
