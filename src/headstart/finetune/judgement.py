"""Is fine-tuning better than the probe? Judged on every training image, by networks that were not trained on it.

In: out-of-fold scores of the probe and of each candidate, folds of whole groups. Out: Judgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import softmax

from headstart.evaluation.calibration import Temperature
from headstart.evaluation.conformal import ConformalSets, fit_conformal
from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import Interval, mean_interval, signed
from headstart.finetune.result import HeldOut, Labels, Scores
from headstart.heads.cross_validation import group_folds
from headstart.plain import Plain
from headstart.wording import counted, percent

FALSE_ACCEPTANCE = 0.05  # at most, of candidates that are no better than the probe


def confidence_for(candidates: int) -> float:
    """Of the interval of the gain: 0.95 for one or two candidates, more for more, so that all have 5 % together.

    Their luck on the images that they share is not averaged out by choosing on other folds: with four of them, 40
    images and 0.95, one that is no better was accepted in 7.3 % of 1,000 simulations (one alone: 2.2 %).
    """
    return 1 - 2 * FALSE_ACCEPTANCE / max(candidates, 2)


@dataclass(frozen=True, kw_only=True)
class Judgement(Plain):
    """What K folds of whole groups say of a fine-tuning; every number is of images that were left out.

    Args:
        folds: K. images: N, of all folds.
        losses: candidate → mean log loss, calibrated; probe_loss: of the probe. chosen: the candidate with the lowest.
        gain: nats per image by which the log loss is below the probe's, with an interval at `confidence_for` so many
            candidates; each fold with the candidate that has the lowest loss on the other folds, so that no image
            judges what it helped to choose.
        probe_accuracy, accuracy: of the probe, and of what was chosen on the other folds.
        accepted: whether the whole interval of the gain lies above zero and the accuracy is not below the probe's.
        temperature: of the chosen candidate, fitted on the scores of all folds.
        conformal: prediction sets of the chosen candidate, from the same scores; None where there are too few images.
    """

    folds: int
    images: int
    losses: Mapping[str, float]
    probe_loss: float
    chosen: str
    gain: Interval
    probe_accuracy: float
    accuracy: float
    accepted: bool
    temperature: Temperature
    conformal: ConformalSets | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Judgement:
        """From the plain values.

        Raises:
            KeyError, TypeError: a value is missing or unknown.
        """
        gain, temperature = Interval.from_dict(values["gain"]), Temperature(**values["temperature"])
        saved = values.get("conformal")  # plans of earlier versions have none
        arrays = {} if saved is None else {key: np.array(saved[key]) for key in ("thresholds", "own")}
        conformal = None if saved is None else ConformalSets(**{**saved, **arrays})
        return cls(**{**values, "gain": gain, "temperature": temperature, "conformal": conformal})

    def __str__(self) -> str:
        count = len(self.losses)
        gain = f"{signed(self.gain, digits=3)} nats per image"
        gain += f" ({100 * confidence_for(count):.4g} % interval, for {count} candidates)" if count > 2 else ""
        accuracies = f"accuracy {percent(self.probe_accuracy)} → {percent(self.accuracy)}"
        chosen = ", chosen on the other folds," if count > 1 else ""
        return (
            f"{gain}{chosen} {accuracies}, on {counted(self.images, 'training image')} left out in {self.folds} folds"
        )


def judge(
    probe: Scores, candidates: Mapping[str, Scores], *, labels: Labels, groups: Labels | None = None
) -> Judgement:
    """Compare candidates with the probe.

    Meant to accept a candidate that is no better in at most 5 % of cases; `benchmarks/coverage.py` simulates it.

    Args:
        probe: N×C out-of-fold scores; candidates: the same of each, in order of preference where losses are equal.
        labels: N. groups: N; images of one group are in one fold. None: each image alone.

    Source: choosing inside each fold: Varma and Simon 2006, BMC Bioinformatics 7:91 (nested cross-validation); the
        level is divided by the candidates, as by Bonferroni.
    """
    alone = np.arange(len(labels)) if groups is None else groups
    folds = group_folds(labels, alone)
    names, before = list(candidates), HeldOut.of(probe, labels, alone)
    after = [HeldOut.of(candidates[name], labels, alone) for name in names]
    losses = np.stack([held.log_losses for held in after])  # J×N
    correct = np.stack([candidates[name].argmax(axis=1) == labels for name in names])
    nested, right = np.empty(len(labels)), np.empty(len(labels), dtype=bool)
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        best = int(np.argmin(losses[:, ~held].mean(axis=1)))
        nested[held], right[held] = losses[best, held], correct[best, held]
    count = int(folds.max()) + 1
    gain = mean_interval(
        before.log_losses - nested, shared_groups(alone.tolist()), folds=count, confidence=confidence_for(len(names))
    )
    best = int(np.argmin(losses.mean(axis=1)))
    temperature = after[best].fitted
    assert temperature is not None  # there are images
    accuracy = float(right.mean())
    return Judgement(
        folds=count,
        images=len(labels),
        losses={name: held.log_loss for name, held in zip(names, after, strict=True)},
        probe_loss=before.log_loss,
        chosen=names[best],
        gain=gain,
        probe_accuracy=before.accuracy,
        accuracy=accuracy,
        accepted=gain.low > 0 and accuracy >= before.accuracy,
        temperature=temperature,
        conformal=fit_conformal(softmax(candidates[names[best]] / temperature.value, axis=1), labels, alone),
    )
