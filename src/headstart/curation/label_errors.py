"""Likely label errors: images that a head which never saw them gives to another class than their label's.

In: left-out scores and labels. Out: a margin for each image, the class it suggests, and how many errors to expect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from headstart.evaluation.calibration import fit_temperature
from headstart.heads.regularization_path import Labels, Matrix


@dataclass(frozen=True)
class Margins:
    """How strongly each image's scores contradict its label.

    Args:
        margin: N, largest score of another class minus that of the label; above 0: another class wins.
        suggested: N, that other class.
    """

    margin: Matrix
    suggested: Labels

    @property
    def ranked(self) -> Labels:
        """N indices, the most suspicious first."""
        return np.argsort(-self.margin, kind="stable")


def label_margins(scores: Matrix, labels: Labels) -> Margins:
    """m_i = max_{c ≠ y} f_c - f_y, of scores f that did not see image i.

    Args:
        scores: N×C, C ≥ 2. labels: N, in [0, C).

    Source: Northcutt, Jiang & Chuang 2021, JAIR 70 (out-of-sample scores, normalized margin); measured in
        `benchmarks/label_errors.py`.
    """
    rows = np.arange(len(labels))
    others = np.array(scores, dtype=np.float64)
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    suggested: Labels = others.argmax(axis=1)
    return Margins(others[rows, suggested] - own, suggested)


def confident_joint(probabilities: Matrix, labels: Labels) -> NDArray[np.float64]:
    """C×C estimated numbers of images by label (rows) and true class (columns); each row sums to the label's images.

    An image counts for class j when its probability of j is at least the mean probability of j among the images
    labelled j; for the most probable one if there are several, for none if there is no such class.

    Args:
        probabilities: N×C, out of sample. labels: N, in [0, C).

    Source: Northcutt, Jiang & Chuang 2021, equations 1 and 3.
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    thresholds = np.array([probabilities[labels == c, c].mean() if counts[c] else np.inf for c in range(classes)])
    passing = np.where(probabilities >= thresholds, probabilities, -np.inf)
    confident = np.isfinite(passing.max(axis=1))
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[confident], passing[confident].argmax(axis=1)), 1.0)
    empty = joint.sum(axis=1) == 0  # no confident image: none of them counts as an error
    joint[empty, empty] = 1.0
    return np.asarray(joint / joint.sum(axis=1, keepdims=True) * counts[:, None], dtype=np.float64)


def expected_errors(scores: Matrix, labels: Labels) -> float:
    """How many labels are wrong, estimated from left-out scores: what is off the diagonal of the confident joint."""
    probabilities = softmax(scores / fit_temperature(scores, labels).value, axis=1)
    joint = confident_joint(probabilities, labels)
    return float(joint.sum() - np.trace(joint))
