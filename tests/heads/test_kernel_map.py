"""KernelMap: similarities against scikit-learn's, in numpy and in torch, with finite gradients."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics.pairwise import rbf_kernel

from headstart.heads.kernel_map import KernelMap, signed_roots

WIDTHS = (3, 5)


def unit(x: np.ndarray) -> np.ndarray:
    return np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in np.split(x, [3], axis=1)], 1)


def test_similarities_are_those_of_scikit_learn_on_signed_roots() -> None:
    rng = np.random.default_rng(0)
    x, marks = unit(rng.normal(size=(7, 8))), unit(rng.normal(size=(4, 8)))
    roots = unit(np.sign(x) * np.sqrt(np.abs(x)))
    made = KernelMap(signed_roots(marks, WIDTHS).astype(np.float32), 0.7, WIDTHS)
    expected = rbf_kernel(roots, made.landmarks.astype(np.float64), gamma=0.7)
    np.testing.assert_allclose(made.similarities(x), expected, rtol=1e-12)
    np.testing.assert_allclose(made.similarities_of(torch.from_numpy(x)).numpy(), expected, rtol=1e-6)


def test_zeros_have_similarities_and_gradients() -> None:
    x = np.zeros((2, 8))
    x[0, 0] = 1.0
    made = KernelMap(signed_roots(np.eye(8)[:3], WIDTHS).astype(np.float32), 0.5, WIDTHS)
    assert np.isfinite(made.similarities(x)).all()
    tensor = torch.from_numpy(x).requires_grad_()
    made.similarities_of(tensor).sum().backward()
    assert torch.isfinite(tensor.grad).all()
