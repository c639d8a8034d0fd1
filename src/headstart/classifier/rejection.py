"""Rejection: which answers get no class, because the image is unlike the training images or its class is unsure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headstart.classifier.predictions import Prediction
from headstart.errors import ClassifierError, RecipeError, near, shown

KEEP, REJECT = "keep", "reject"
POLICIES = (KEEP, REJECT)
UNFAMILIAR, UNSURE, ATYPICAL = "unfamiliar", "unsure", "atypical"
KINDS = (UNFAMILIAR, UNSURE, ATYPICAL)
_NAMED = 5  # classes in a reason


@dataclass(frozen=True)
class Rejection:
    """The kinds of answers that are rejected; none: each answer keeps its class, and says what to mind."""

    kinds: tuple[str, ...] = ()

    @classmethod
    def of(cls, policy: str | None, kinds: str | Sequence[str] | None) -> Rejection:
        """From the options of `predict`.

        Args:
            policy: keep or reject; None: reject where kinds are given.
            kinds: unfamiliar, unsure and atypical, in a text with commas or as a list; None: unfamiliar.

        Raises:
            RecipeError: there is no such policy or kind, or kinds are given to a policy that keeps all.
        """
        if policy is not None and policy not in POLICIES:
            raise RecipeError(
                expected=" or ".join(POLICIES),
                found=repr(policy),
                where="--threshold-policy",
                hint=near(str(policy), POLICIES),
            )
        words = kinds.split(",") if isinstance(kinds, str) else list(kinds or ())
        found = tuple(dict.fromkeys(str(word).strip() for word in words))
        for word in found:
            if word not in KINDS:
                raise RecipeError(
                    expected=f"some of {', '.join(KINDS)}", found=repr(word), where="--reject", hint=near(word, KINDS)
                )
        if policy == KEEP and found:
            raise RecipeError(
                expected="--threshold-policy reject, or no --reject",
                found=f"--threshold-policy keep with --reject {','.join(found)}",
                where="--threshold-policy",
                hint="Leave out one of the two.",
            )
        return cls(found or ((UNFAMILIAR,) if policy == REJECT else ()))

    def check(self, card: Mapping[str, Any]) -> None:
        """Refuse what a classifier cannot tell, by its card: that of a file or of an export.

        Raises:
            ClassifierError: a kind needs a threshold or prediction sets, which it has not.
        """
        familiarity, sets = card.get("familiarity") or {}, bool(card.get("conformal"))
        threshold, reason = familiarity.get("threshold") is not None, str(familiarity.get("reason", ""))
        missing = UNFAMILIAR if UNFAMILIAR in self.kinds and not threshold else ""
        if not sets and not missing:
            missing = next((kind for kind in (UNSURE, ATYPICAL) if kind in self.kinds), "")
        if missing:
            what = "threshold for unfamiliar images" if missing == UNFAMILIAR else "prediction sets"
            because = f": {reason}" if reason and missing == UNFAMILIAR else ""
            raise ClassifierError(
                expected=f"a classifier that can tell {missing} images",
                found=f"one without {what}{because}",
                where="--reject",
                hint="Leave it out, or train again on more images.",
            )

    def apply(self, prediction: Prediction) -> Prediction:
        """The prediction, without a class and with the reason where it is rejected."""
        if prediction.error:
            return prediction
        reasons = [text for kind, text in _reasons(prediction).items() if kind in self.kinds]
        return replace(prediction, label=None, rejected="; ".join(reasons)) if reasons else prediction


def _reasons(prediction: Prediction) -> dict[str, str]:
    """Kind → why the answer is of it."""
    reasons, members = {}, prediction.prediction_set or ()
    if prediction.familiar is False:
        distance = prediction.familiarity_percentile
        rank = "" if distance is None else f": {distance:.1f} % of them are as far from the others"
        reasons[UNFAMILIAR] = f"unlike the training images{rank}"
    if len(members) > 1:
        more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
        reasons[UNSURE] = f"unsure between {', '.join(map(shown, members[:_NAMED]))}{more}"
    if prediction.atypical:
        reasons[ATYPICAL] = "no class is close enough"
    return reasons
