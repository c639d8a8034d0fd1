"""The estimators in scikit-learn's own hands: its checks, a pipeline, and its ridge as the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import headstart as hs
from headstart.data.images import open_image
from headstart.sklearn import FeatureExtractor, LinearProbe


@pytest.mark.slow
@parametrize_with_checks([LinearProbe(), LinearProbe(unit=True)])
def test_linear_probe_passes_scikit_learn_s_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_the_probe_is_ridge_on_indicators_at_the_strength_that_leaves_out_best():
    x, y = make_blobs(90, 5, centers=3, cluster_std=4.0, random_state=0)
    probe = LinearProbe().fit(x, y)

    targets = np.where(y[:, None] == np.arange(3), 1.0, -1.0)
    prepared = probe._prepared(x)

    def left_out(strength: float) -> tuple[float, float]:
        wrong, right = 0.0, 0
        for i in range(len(x)):
            others = np.arange(len(x)) != i
            scores = Ridge(alpha=strength).fit(prepared[others], targets[others]).predict(prepared[i : i + 1])[0]
            wrong += float(np.square(scores - targets[i]).sum())
            right += int(scores.argmax() == y[i])
        return wrong, right / len(x)

    reference = Ridge(alpha=probe.lambda_).fit(prepared, targets)
    np.testing.assert_allclose(probe.coef_, reference.coef_, rtol=1e-3, atol=1e-4)
    best, accuracy = left_out(probe.lambda_)
    assert accuracy == pytest.approx(probe.loo_accuracy_)
    assert best <= left_out(probe.lambda_ * 3)[0]
    assert best <= left_out(probe.lambda_ / 3)[0]


@pytest.mark.slow
def test_images_to_classes_in_a_pipeline(photos: Path) -> None:
    files = sorted(photos.rglob("*.png"))
    labels = [file.parent.name for file in files]
    extractor = FeatureExtractor("embedded", layers="pooled", offline=True)
    pipeline = make_pipeline(extractor, LinearProbe(unit=True))

    assert cross_val_score(pipeline, files, labels, cv=3).mean() > 0.8
    np.testing.assert_array_equal(
        extractor.transform(files[:3]),
        hs.embed(files[:3], backbone="embedded", layers="pooled", offline=True).matrix,
    )
    arrays = np.stack([open_image(file).rgb for file in files[:3]])
    np.testing.assert_allclose(extractor.transform(arrays), extractor.transform(files[:3]), rtol=1e-5, atol=1e-6)


_WITHOUT_IMAGES = (  # scikit-learn's other checks give it numbers, which are no images
    "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types", "check_estimator_repr",
    "check_no_attributes_set_in_init", "check_parameters_default_constructible", "check_get_params_invariance",
    "check_set_params", "check_mixin_order",
)  # fmt: skip


@pytest.mark.parametrize("name", _WITHOUT_IMAGES)
def test_the_extractor_passes_the_checks_of_scikit_learn_that_need_no_numbers(name: str) -> None:
    getattr(estimator_checks, name)("FeatureExtractor", FeatureExtractor("embedded"))


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["pooled", "auto"])
def test_columns_have_the_names_of_their_stages_in_a_frame(photos: Path, layers: str) -> None:
    files = sorted(photos.rglob("*.png"))[:3]
    extractor = FeatureExtractor("embedded", layers=layers, offline=True)
    features = hs.embed(files, backbone="embedded", layers=layers, offline=True)

    frame = clone(extractor).set_output(transform="pandas").fit_transform(files)

    np.testing.assert_array_equal(frame.to_numpy(), features.matrix)
    for stage, (begin, end) in features.slices.items():
        assert list(frame.columns[begin:end]) == [f"{stage}_{column}" for column in range(end - begin)]
