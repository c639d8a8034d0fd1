"""Forward passes: folded, compiled and on a device, they give the network's own features."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engines.engine_checks import furthest, made, noise
from headstart.backbones.backbone import Backbone
from headstart.backbones.catalogue import SPECS
from headstart.engines.benchmark import TOLERANCE
from headstart.engines.choose import choose_engine
from headstart.engines.forward import device_forward, eager_forward, folded_forward
from headstart.errors import BackboneError

_SMALL = ("cifar_resnet20", "random", "mobilenet_v2_035")
_LARGE = tuple(name for name in SPECS if name not in _SMALL)


@pytest.mark.parametrize("name", [*_SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in _LARGE)])
def test_folded_gives_the_features_of_every_backbone(name: str) -> None:
    backbone = made(name)
    pixels = noise(backbone, 3)

    assert furthest(backbone, folded_forward(backbone)(pixels), pixels) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("images", [1, 2, 7, 33])
def test_a_batch_of_any_size_gives_the_same_features(images: int) -> None:
    backbone = made("cifar_resnet20")
    pixels = noise(backbone, images)

    found = folded_forward(backbone, chunk_bytes=4 * 16 * 32 * 32 * 4)(pixels)  # four images a chunk

    assert found.shape == (images, sum(backbone.widths))
    assert furthest(backbone, found, pixels) <= TOLERANCE


def test_no_images_give_no_features_of_the_correct_width() -> None:
    backbone = made("cifar_resnet20")
    assert folded_forward(backbone)(torch.empty(0, 3, 32, 32)).shape == (0, sum(backbone.widths))


def test_without_packed_convolutions_the_folded_engine_gives_the_same_features() -> None:
    backbone = made("random")
    pixels = noise(backbone, 2)
    assert furthest(backbone, folded_forward(backbone, packed=False)(pixels), pixels) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("build", [eager_forward, folded_forward, lambda backbone: device_forward(backbone, "cpu")])
def test_train_mode_of_the_network_changes_no_feature(build) -> None:  # type: ignore[no-untyped-def]
    backbone = made("cifar_resnet20")
    pixels = noise(backbone, 4)
    expected, before = build(backbone)(pixels), build(backbone)

    backbone.network.train()

    assert torch.equal(before(pixels), expected)
    assert torch.equal(build(backbone)(pixels), expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_compiled_engine_gives_the_same_features(tmp_path: Path) -> None:
    backbone = made("cifar_resnet20")
    try:
        engine = choose_engine(backbone, name="compiled", cache_folder=tmp_path)
    except BackboneError as error:
        pytest.skip(f"torch.compile does not work here: {error.found}")
    pixels = noise(backbone, 3)
    assert furthest(backbone, engine.forward(pixels), pixels) <= TOLERANCE


def test_the_copy_for_a_device_gives_the_same_features_and_leaves_torchs_settings() -> None:
    backbone = made("random")
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    pixels = noise(backbone, 2)
    assert furthest(backbone, device_forward(backbone, "cpu")(pixels), pixels) <= TOLERANCE
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


class Untraced(nn.Module):
    """Looks at its numbers, so that no graph can be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return self.fc((x.relu() if x.std() > 0 else x).mean((2, 3)))


def test_a_network_that_cannot_be_traced_runs_eager_and_on_devices() -> None:
    backbone = Backbone.from_module(Untraced(), preprocess={"size": 32})
    pixels = noise(backbone, 3)

    assert torch.equal(device_forward(backbone, "cpu")(pixels), backbone.features(pixels))
    with pytest.raises(BackboneError, match=r"graph can be traced.*--engine eager"):
        folded_forward(backbone)
    copied = copy.deepcopy(backbone.inference)
    assert torch.equal(copied(pixels), backbone.features(pixels))


@pytest.mark.slow
@pytest.mark.parametrize("traced", [True, False])
def test_an_engine_may_be_called_by_many_threads_at_once(traced: bool) -> None:
    own = Backbone.from_module(Untraced(), preprocess={"size": 32})
    backbone = made("cifar_resnet20") if traced else own
    forward = folded_forward(backbone) if traced else eager_forward(backbone)
    batches = [noise(backbone, images) for images in range(1, 17)]
    expected = [forward(pixels) for pixels in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(forward, batches))
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
