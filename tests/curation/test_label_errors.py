"""Margins, the confident joint and the expected number of errors, by hand and with planted errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from headstart.curation.label_errors import confident_joint, expected_errors, label_margins
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.ridge import solve_ridge
from made_features import make_features


def test_a_margin_is_the_best_other_score_minus_that_of_the_label() -> None:
    found = label_margins(np.array([[1.0, -1.0, 0.5], [0.2, 0.9, -0.4]]), np.array([0, 0]))
    np.testing.assert_allclose(found.margin, [-0.5, 0.7])
    assert found.suggested.tolist() == [2, 1]
    assert found.ranked.tolist() == [1, 0]


def test_the_confident_joint_equals_a_count_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.61, 0.39]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    # thresholds: mean(.9, .8, .1) = .6 and mean(.7, .8, .39) = .63; label 0: two of 0, one of 1; label 1: the last one
    # passes for 0 (.61 ≥ .6), the others for 1
    np.testing.assert_allclose(confident_joint(p, labels), [[2, 1], [1, 2]])


def test_images_that_pass_no_threshold_are_shared_out_as_their_class() -> None:
    p = np.array([[0.9, 0.1], [0.55, 0.45], [0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    labels = np.array([0, 0, 0, 0, 1])
    # thresholds: .6375 and .9; of label 0 two pass, both for 0; [.55, .45] and [.2, .8] for none
    np.testing.assert_allclose(confident_joint(p, labels), [[4, 0], [0, 1]])


def test_a_class_without_a_confident_image_has_no_errors() -> None:
    p = np.array([[0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1]])
    joint = confident_joint(p, np.array([0, 0, 1]))
    np.testing.assert_allclose(joint.sum(axis=1), [2, 1, 0])
    assert joint.trace() == joint.sum()


def test_planted_errors_are_ranked_first_and_their_number_is_near() -> None:
    rng = np.random.default_rng(0)
    true = np.arange(300) % 3
    view = make_features(rng.normal(size=(300, 20)) + 3 * np.eye(3, 20)[true]).view(np.arange(300), ("early", "late"))
    wrong = rng.choice(300, 15, replace=False)
    labels = true.copy()
    labels[wrong] = (true[wrong] + 1) % 3
    scores = solve_ridge(LabelledFeatures.of(view, labels, 3)).held_scores
    margins = label_margins(scores, labels)
    assert roc_auc_score(np.isin(np.arange(300), wrong), margins.margin) > 0.97
    assert (margins.suggested[wrong] == true[wrong]).mean() > 0.9
    assert expected_errors(scores, labels) == pytest.approx(15, abs=6)
