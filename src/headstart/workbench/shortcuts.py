"""Shortcuts of a data set: the thorough look of `audit --shortcuts`, and the quick one of every training."""

from __future__ import annotations

import numpy as np

from headstart.curation.descriptors import cheap_descriptors, full_descriptors
from headstart.curation.shortcuts import (
    ClassifierAccuracy,
    can_be_looked_for,
    chosen_rows,
    find_shortcuts,
    shortcut_finding,
)
from headstart.data.dataset import Dataset, Labels
from headstart.data.finding import Finding
from headstart.heads.linear_probe import LinearProbe
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.ridge import solve_ridge
from headstart.workbench.session import Session
from headstart.workbench.starting_point import choose_backbone


def audited_shortcuts(session: Session, dataset: Dataset) -> Finding:
    """Compare ridge on all descriptors with ridge on the features of the recipe's backbone; images are opened again.

    Raises:
        BackboneError: the backbone cannot be had.
    """
    training = [i for i, sample in enumerate(dataset.samples) if sample.split in (None, "train")]
    labelled = np.array([i for i in training if dataset.labels[i] >= 0], dtype=np.int64)
    groups = dataset.groups()
    rows = labelled[chosen_rows(groups[labelled])]
    if not can_be_looked_for(dataset.labels[rows], groups[rows]):
        return shortcut_finding((), 0.0)
    with session.step("features"):
        backbone = choose_backbone(session).backbone
        features = session.features(session.feature_job(dataset.subset(rows.tolist()), backbone)).features
    with session.step("shortcuts"):
        view = features.view(np.arange(len(rows)), backbone.spec.choose_stages(session.recipe.layers))
        _, labels = np.unique(dataset.labels[rows], return_inverse=True)
        data = LabelledFeatures.of(view, labels, int(labels.max()) + 1, groups=groups[rows])
        path = solve_ridge(data)
        full = ClassifierAccuracy.of(path.held_scores, path.held_labels)
        names = [dataset.classes[c] for c in np.unique(dataset.labels[rows])]
        families = full_descriptors(dataset, rows.tolist(), session.progress("read images for shortcuts"))
        found = find_shortcuts(families, labels, groups[rows], full=full, classes=names)
        return shortcut_finding(found, full.overall)


def quick_shortcuts(dataset: Dataset, probe: LinearProbe) -> Finding:
    """Compare ridge on what the audit knows of the training images with the held-out accuracy of a probe."""
    train: Labels = dataset.indices("train")
    groups = dataset.groups()
    rows = train[chosen_rows(groups[train])]
    full = ClassifierAccuracy.of(probe.path.held_scores, probe.path.held_labels)
    if not can_be_looked_for(dataset.labels[rows], groups[rows]):
        return shortcut_finding((), full.overall)
    families = cheap_descriptors([dataset.facts[i] for i in rows], [dataset.samples[i].name for i in rows])
    found = find_shortcuts(families, dataset.labels[rows], groups[rows], full=full, classes=dataset.classes)
    return shortcut_finding(found, full.overall)
