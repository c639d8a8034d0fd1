"""The part of `train` that lets a classifier doubt: familiarity with its training images, and prediction sets.

Both come from features and scores that are there already; nothing is computed twice, and no test image is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from headstart.classifier.classifier import Classifier
from headstart.classifier.familiarity import FamiliarImages, Familiarity, fit_familiarity
from headstart.classifier.trust_evaluation import NO_SETS, TrustEvaluation, TrustImages, evaluate_trust
from headstart.data.dataset import Dataset, Labels
from headstart.datasets.foreign_images import foreign_images
from headstart.evaluation.conformal import ConformalSets, fit_conformal
from headstart.features.matrix import Features
from headstart.heads.head import Head
from headstart.heads.linear_probe import LinearProbe
from headstart.recipe import Recipe
from headstart.workbench.session import Session


@dataclass(frozen=True)
class Trust:
    """What a classifier gets to judge its own answers by.

    Args:
        familiarity: None for a continued run whose classifier had none.
        conformal: None where `no_sets` says why.
        evaluation: of both, on the test images; None before they are measured.
    """

    familiarity: Familiarity | None
    conformal: ConformalSets | None
    no_sets: str = ""
    evaluation: TrustEvaluation | None = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """What both are worth, in words; empty before they are measured."""
        return () if self.evaluation is None else self.evaluation.sentences


@dataclass(frozen=True)
class TrustInput:
    """What trust is fitted on.

    Args:
        features: of the classifier's own backbone, of all images. stage: whose features are compared.
        probe: the head on frozen features. head: of the classifier, where a network was fine-tuned; else None.
        trained, held_out: indices of the images that a fine-tuning trained on, and of those it did not.
        from_folds: sets by the scores that networks of other folds gave each training image.
    """

    dataset: Dataset
    features: Features
    stage: str
    probe: LinearProbe
    head: Head | None = None
    trained: Labels | None = None
    held_out: Labels | None = None
    from_folds: ConformalSets | None = None


def fit_trust(given: TrustInput, recipe: Recipe) -> Trust:
    """Fit both on images that the classifier's head has not seen.

    For a head on frozen features these are all training images, each left out in turn with its group, or the validation
    images; for a fine-tuned network those that were held out. Where none were, but `auto` has judged by folds, sets are
    fitted on the scores that networks of other folds gave.
    """
    conformal = _fit_sets(given)
    need = NO_SETS
    if given.head is not None and not len(given.held_out if given.held_out is not None else ()):
        need += ", and the fine-tuned network was trained on all"
    return Trust(_fit_familiarity(given, recipe), conformal, "" if conformal is not None else need)


def measure_trust(session: Session, given: TrustInput, trust: Trust, *, model: Classifier) -> TrustEvaluation:
    """Measure both on the test images, on each class left out in turn, and on pictures that headstart draws.

    Args:
        model: the classifier, with both.
    """
    dataset, recipe, head = given.dataset, session.recipe, model.head
    test, familiarity = dataset.indices("test"), trust.familiarity
    is_measured = familiarity is not None and familiarity.threshold is not None
    images = TrustImages(
        familiar_images(given, dataset.indices("train") if given.trained is None else given.trained),
        familiar_images(given, test),
        probabilities=head.probabilities_of(given.features.view(test, head.stages)),
        foreign=_foreign_features(session, model, given.stage) if is_measured else {},
    )
    found = evaluate_trust(familiarity, trust.conformal, images, classes=dataset.classes, seed=recipe.seed)
    if familiarity is None:
        found = replace(found, rate=recipe.false_rejects, reason="the classifier it continues had none")
    return replace(found, no_sets=trust.no_sets, fine_tuned=given.head is not None)


def _foreign_features(session: Session, model: Classifier, stage: str) -> dict[str, NDArray[np.float32]]:
    backbone, found = model.backbone, {}
    pictures = foreign_images(model.classes, seed=session.recipe.seed)
    forward = session.forward(backbone, waiting=sum(map(len, pictures.values()))) or backbone.features
    for kind, images in pictures.items():
        pixels = torch.stack([backbone.preprocess.prepare(image) for image in images])
        with torch.inference_mode():
            features = forward(backbone.preprocess.normalise(pixels)).cpu()
        found[kind] = features[:, backbone.slices[stage]].numpy()
    return found


def familiar_images(given: TrustInput, chosen: Labels) -> FamiliarImages:
    """Images of a data set by their indices, with the features of one stage."""
    dataset = given.dataset
    names = [dataset.samples[i].name for i in chosen]
    view = given.features.view(chosen, (given.stage,))
    return FamiliarImages(view, dataset.labels[chosen], dataset.groups()[chosen], names)


def _fit_familiarity(given: TrustInput, recipe: Recipe) -> Familiarity:
    trained = given.dataset.indices("train") if given.trained is None else given.trained
    held = None if given.head is None or given.held_out is None else familiar_images(given, given.held_out)
    return fit_familiarity(
        familiar_images(given, trained),
        stage=given.stage,
        rate=recipe.false_rejects,
        bank=recipe.bank,
        held_out=held,
        seed=recipe.seed,
    )


def _fit_sets(given: TrustInput) -> ConformalSets | None:
    dataset = given.dataset
    if given.head is not None:
        held = given.held_out
        if held is None or not len(held):
            return given.from_folds
        p = given.head.probabilities_of(given.features.view(held, given.head.stages))
        return fit_conformal(p, dataset.labels[held], dataset.groups()[held])
    path = given.probe.path
    p = softmax(path.held_scores / given.probe.head.temperature, axis=1)
    groups = path.held_groups
    if groups is None:  # validation images
        groups = dataset.groups()[dataset.indices("validation")]
    return fit_conformal(p, path.held_labels, groups)
