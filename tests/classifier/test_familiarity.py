"""Familiarity against scikit-learn, by hand, and by simulation: as many false rejects as stated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from headstart.classifier.familiarity import (
    BANK,
    RESIDUAL,
    FamiliarImages,
    fit_familiarity,
    leave_group_out_distances,
    spherical_k_means,
    unit_rows,
)
from headstart.features.matrix import Features

WIDTH = 24


def images(count: int, seed: int = 0, *, repeats: int = 1, shift: float = 0.0) -> FamiliarImages:
    """Two noisy directions; `repeats`: frames of a burst, which hardly differ."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = np.eye(2, WIDTH)[labels] * 3 + rng.normal(size=(count, WIDTH)) * 0.4 + shift
    features = np.repeat(features, repeats, axis=0) + rng.normal(size=(count * repeats, WIDTH)) * 0.05
    groups = np.repeat(np.arange(count), repeats)
    return FamiliarImages(
        features.astype(np.float32), np.repeat(labels, repeats), groups, [f"{i}.png" for i in range(count * repeats)]
    )


def test_the_distance_is_that_to_the_fifth_neighbour_and_names_the_first() -> None:
    known, queries = images(50), images(7, 1).features
    found = fit_familiarity(known, stage="late").measure(queries)

    reference = NearestNeighbors(n_neighbors=5, metric="cosine").fit(known.features)
    distances, rows = reference.kneighbors(queries)
    np.testing.assert_allclose(found.distances, distances[:, -1], atol=1e-3)  # rows are rounded to float16
    assert found.nearest is not None
    assert found.nearest.tolist() == rows[:, 0].tolist()
    few = fit_familiarity(images(3), stage="late")
    assert few.neighbours == 3
    assert few.measure(queries).distances.shape == (7,)


@pytest.mark.parametrize("repeats", [1, 4])
def test_leaving_a_group_out_is_comparing_with_all_others(repeats: int) -> None:
    known = images(12, repeats=repeats)

    found = leave_group_out_distances(known)

    for i, group in enumerate(known.groups):
        others = known.features[known.groups != group]
        distances, _ = NearestNeighbors(n_neighbors=5, metric="cosine").fit(others).kneighbors(known.features[[i]])
        np.testing.assert_allclose(found[i], distances[0, -1], atol=1e-5)


def test_with_few_others_the_farthest_counts_and_without_any_there_is_no_distance() -> None:
    known = images(3)
    cosines = unit_rows(known.features) @ unit_rows(known.features).T

    np.testing.assert_allclose(leave_group_out_distances(known)[0], 1 - min(cosines[0, 1], cosines[0, 2]), atol=1e-6)
    alone = fit_familiarity(replace(known, groups=np.zeros(3, dtype=np.int64)), stage="late")
    assert alone.percentile(0.1) is alone.threshold is alone.is_familiar(0.1) is None


def test_a_threshold_needs_ten_images_beyond_it() -> None:
    assert fit_familiarity(images(198), stage="late").threshold is None
    known = images(199)
    found = fit_familiarity(known, stage="late")
    ordered = np.sort(leave_group_out_distances(known, found.rows))
    assert found.threshold == pytest.approx(ordered[189])  # ⌈200 × 0.95⌉ = 190th
    assert found.reason == ""
    refused = fit_familiarity(known, stage="late", rate=0.01)
    assert refused.reason == "a threshold at 1 % needs 999 independent images, and there are 199"
    bursts = fit_familiarity(images(50, repeats=10), stage="late")
    assert (bursts.images, bursts.groups, bursts.threshold) == (500, 50, None)


def test_an_image_is_unfamiliar_where_its_percentile_is_at_most_the_rate() -> None:
    found = fit_familiarity(images(400), stage="late")

    for distance in [*found.distances.tolist(), 0.0, 2.0]:
        percentile = found.percentile(distance)
        assert percentile is not None
        assert found.is_familiar(distance) == (percentile > 5 + 1e-9)
    assert found.percentile(0.0) == 100
    assert found.percentile(2.0) == pytest.approx(100 / 401)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "bank"), [(400, True), (400, False), (3000, True), (3000, False)])
def test_as_many_familiar_images_are_rejected_as_stated_and_others_are_noticed(count: int, bank: bool) -> None:
    found = fit_familiarity(images(count), stage="late", bank=bank)
    assert found.kind == (BANK if bank else RESIDUAL)
    assert found.threshold is not None

    rejected = float((found.measure(images(4000, 9).features).distances > found.threshold).mean())
    low, high = binom(count, 0.05).ppf([0.001, 0.999]) / count  # how far a threshold of `count` images may be off
    assert low - 0.01 < rejected < high + 0.01
    strange = np.random.default_rng(2).normal(size=(500, WIDTH))
    assert (found.measure(strange).distances > found.threshold).mean() > 0.95


def test_without_groups_bursts_would_reject_everything_new() -> None:
    known, new = images(250, repeats=6), images(300, 9)
    grouped = fit_familiarity(known, stage="late")
    fooled = fit_familiarity(replace(known, groups=np.arange(len(known))), stage="late")

    assert grouped.threshold is not None
    assert fooled.threshold is not None
    assert (grouped.measure(new.features).distances > grouped.threshold).mean() < 0.12
    assert (fooled.measure(new.features).distances > fooled.threshold).mean() > 0.9


def test_a_large_bank_holds_centres_with_the_name_of_the_image_closest_to_each() -> None:
    known = images(2500)
    found = fit_familiarity(known, stage="late")

    assert found.rows.shape == (2000, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(found.rows, axis=1), 1, atol=1e-3)
    unit = unit_rows(known.features)
    first = known.names.index(found.names[0])
    own = known.labels == known.labels[first]
    assert unit[first] @ found.rows[0] == pytest.approx(float((unit[own] @ found.rows[0]).max()), abs=1e-3)


def test_centres_are_about_as_good_as_those_of_scikit_learn() -> None:
    unit = unit_rows(images(600).features)

    centres = spherical_k_means(unit, 30, np.random.default_rng(0))

    ours = 2 * (1 - (unit @ centres.T).max(axis=1)).sum()  # squared distances of unit rows
    reference = KMeans(30, n_init=1, random_state=0).fit(unit)
    assert ours < 1.2 * reference.inertia_
    assert len(spherical_k_means(unit[:5], 30, np.random.default_rng(0))) == 5


def test_the_residual_is_what_principal_components_leave() -> None:
    known, queries = images(120), images(9, 3).features
    found = fit_familiarity(known, stage="late", bank=False)

    pca = PCA(6, svd_solver="full").fit(unit_rows(known.features))
    assert found.rows.shape == (6, WIDTH)  # a quarter of the features: with all of them nothing would be left
    centred = unit_rows(queries) - pca.mean_
    kept = centred @ pca.components_.T @ pca.components_
    np.testing.assert_allclose(found.measure(queries).distances, np.linalg.norm(centred - kept, axis=1), atol=1e-4)
    assert found.names == ()  # nothing of a single image travels
    assert found.measure(queries).nearest is None


def test_fewer_images_than_features_give_components_too() -> None:
    found = fit_familiarity(images(16), stage="late", bank=False)

    pca = PCA(4, svd_solver="full").fit(unit_rows(images(16).features))
    np.testing.assert_allclose(np.abs(np.sum(found.rows * pca.components_, axis=1)), 1, atol=1e-4)


def test_features_that_never_differ_set_no_threshold() -> None:
    dead = replace(images(300), features=np.ones((300, WIDTH), dtype=np.float32))

    assert fit_familiarity(dead, stage="late").reason == "the features of the training images are all the same"


def test_what_a_network_was_trained_on_sets_no_threshold() -> None:
    known, held = images(300), images(250, 5, shift=0.3)

    found = fit_familiarity(known, stage="late", held_out=held)

    expected = np.sort(found.measure(held.features).distances)
    assert found.threshold == pytest.approx(expected[int(np.ceil(251 * 0.95)) - 1])
    assert (found.images, len(found.rows)) == (250, 300)
    few = fit_familiarity(known, stage="late", held_out=held.take(np.arange(20)))
    assert few.threshold is None
    assert "not trained on, and there are 20" in few.reason
    none = fit_familiarity(known, stage="late", held_out=held.take(np.arange(0)))
    assert none.percentile(0.5) is None


def test_the_mean_of_the_training_features_is_kept_with_both_kinds() -> None:
    known = images(60)
    mean = unit_rows(known.features).mean(axis=0)
    for bank, tolerance in ((True, 1e-3), (False, 1e-6)):  # a bank is rounded to float16
        kept = fit_familiarity(known, stage="pooled", bank=bank)
        assert kept.training_mean == pytest.approx(mean, abs=tolerance)
        assert kept.training_images == 60


def test_a_view_of_features_is_the_images_themselves() -> None:
    """Nothing is copied for the rows of a memory map that are not needed; what is fitted is the same as for a copy."""
    rng = np.random.default_rng(8)
    features = rng.normal(size=(400, 12)).astype(np.float32)
    rows = rng.permutation(400)[:250]
    labels, groups, names = rows % 3, np.arange(250), [f"{row}" for row in rows]

    whole = Features(features, {"early": (0, 4), "pooled": (4, 12)}, tuple(map(str, range(400))), ("",) * 400)
    seen = FamiliarImages(whole.view(rows, ("pooled",)), labels, groups, names)
    shared = fit_familiarity(seen, stage="pooled")
    copied = fit_familiarity(FamiliarImages(features[rows, 4:], labels, groups, names), stage="pooled")

    assert shared.threshold == copied.threshold
    np.testing.assert_array_equal(shared.rows, copied.rows)
    two = seen.take(np.array([3, 0]))
    assert two.names == [names[3], names[0]]
    np.testing.assert_array_equal(two.values(), features[rows[[3, 0]], 4:])


def test_more_images_than_a_block_are_measured_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    features = rng.normal(size=(300, 12)).astype(np.float32)
    images = FamiliarImages(features[:250], np.arange(250) % 3, np.arange(250), [f"{i}" for i in range(250)])
    for bank in (True, False):
        fitted = fit_familiarity(images, stage="pooled", bank=bank)
        whole = fitted.measure(features)
        monkeypatch.setattr("headstart.classifier.familiarity._AT_ONCE", 7)
        parts = fitted.measure(features)
        monkeypatch.undo()
        np.testing.assert_allclose(parts.distances, whole.distances, atol=1e-6)
        assert (parts.nearest is None) == (whole.nearest is None) == (not bank)
        if whole.nearest is not None and parts.nearest is not None:
            np.testing.assert_array_equal(parts.nearest, whole.nearest)


def test_a_view_is_measured_as_its_rows() -> None:
    rng = np.random.default_rng(10)
    features = rng.normal(size=(300, 12)).astype(np.float32)
    images = FamiliarImages(features[:250, 4:], np.arange(250) % 3, np.arange(250), [f"{i}" for i in range(250)])
    whole = Features(features, {"early": (0, 4), "pooled": (4, 12)}, tuple(map(str, range(300))), ("",) * 300)
    fitted, rows = fit_familiarity(images, stage="pooled"), np.array([299, 3, 17])

    by_view = fitted.measure(whole.view(rows, ("pooled",)))
    by_rows = fitted.measure(features[rows, 4:])

    np.testing.assert_array_equal(by_view.distances, by_rows.distances)
    np.testing.assert_array_equal(by_view.nearest, by_rows.nearest)
