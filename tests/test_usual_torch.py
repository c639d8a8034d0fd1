"""What a program has set in torch changes no result of a verb, and is as it was afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.usual_torch import usual_settings


@contextmanager
def default_type(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


SETTINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "float64": lambda: default_type(torch.float64),
    "half": lambda: default_type(torch.float16),
    "meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "no gradients": torch.no_grad,
    "NumPy raises": lambda: np.errstate(all="raise"),
    "inference": torch.inference_mode,
}


def seen() -> tuple[object, ...]:
    is_graded = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    return torch.get_default_dtype(), torch.get_default_device().type, is_graded, torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("setting", SETTINGS)
def test_inside_torch_is_as_usual_and_outside_as_it_was(setting: str) -> None:
    with SETTINGS[setting]():
        before = seen()
        with usual_settings():
            assert seen() == (torch.float32, "cpu", True, False)
        assert seen() == before


def test_the_type_and_device_of_an_own_network_stay() -> None:
    with default_type(torch.float64), torch.no_grad(), usual_settings(own_network=True):
        assert seen() == (torch.float64, "cpu", True, False)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_predictions_and_training_are_the_same_under_any_setting(
    setting: str, run: hs.Run, photos: Path, tmp_path: Path
) -> None:
    images = sorted(photos.rglob("*.png"))[:3]

    def tensors(folder: Path) -> dict[str, torch.Tensor]:
        from safetensors.torch import load_file

        return load_file(folder / "classifier.safetensors")

    usual = tensors(hs.train(photos, out=tmp_path / "usual", backbone="embedded", on_event=None).folder)
    # after a training, which may keep an export that a loaded classifier then answers with
    wanted, before = hs.Classifier.load(run.folder).predict(images), run.classifier.predict(images)
    with SETTINGS[setting]():
        loaded = hs.Classifier.load(run.folder).predict(images)
        again = run.classifier.predict(images)
        other = hs.train(photos, out=tmp_path / "other", backbone="embedded", on_event=None).folder

    assert [one.probabilities for one in loaded] == [one.probabilities for one in wanted]
    assert [one.probabilities for one in again] == [one.probabilities for one in before]
    with default_type(torch.float32):
        found = tensors(other)
    assert all(torch.equal(usual[name], found[name]) for name in usual)
