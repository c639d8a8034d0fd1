"""The patch baseline: whitened patches, and features by quadrant."""

from __future__ import annotations

import torch

from headstart.pretraining.patches import fit_patches, patch_features


def test_patches_find_what_is_in_a_quadrant_and_ignore_the_mean_brightness() -> None:
    generator = torch.Generator().manual_seed(0)
    images = 40 * torch.rand(6, 3, 32, 32, generator=generator)
    images[:, :, 4:12, 4:12] += 150 * torch.eye(8)  # a diagonal in the upper left

    patches = fit_patches(images, 20, seed=0)
    features, brighter = patch_features(images, patches), patch_features(images + 50, patches)

    assert features.shape == (6, 80)
    assert (features >= 0).all()
    assert torch.allclose(features, brighter, atol=1e-3)
    quadrants = features.view(6, 20, 4)
    away = (quadrants[:, :, 0] - quadrants[:, :, 3]).abs().mean()
    alike = (quadrants[:, :, 2] - quadrants[:, :, 3]).abs().mean()
    assert away > 2 * alike


def test_patches_are_white_and_the_same_for_the_same_seed() -> None:
    images = 255 * torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    first, again = fit_patches(images, 10, seed=4), fit_patches(images, 10, seed=4)

    assert torch.equal(first.centres, again.centres)
    assert torch.allclose(first.whiten, first.whiten.T, atol=1e-4)
