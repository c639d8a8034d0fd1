"""Teacher: the feature maps of a pretrained network after each of its blocks, every channel on one scale."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.backbones.backbone import Backbone
from headstart.backbones.models.fire_resnet import WIDTHS
from headstart.backbones.preprocess import Preprocess
from headstart.engines.onnxruntime_engine import missing_packages

NAME = "squeezenet1_0"
_LAYERS = 13  # of torchvision's `features`: all

Maps = Callable[[Tensor], "list[Tensor]"]


class Teacher(nn.Module):
    """Pixels → nine maps of standard deviation 1, of the first convolution and of fire 2 to 9, before their last ReLU.

    Before the ReLU every pixel of a map is informative; after it most are zero, and a block learns far more slowly
    (docs/embedded.md has the numbers).

    Args:
        backbone: NAME with its weights. size: pixels along a picture's side.
    """

    def __init__(self, backbone: Backbone, size: int) -> None:
        super().__init__()
        # a copy: whoever moves the teacher to a GPU does not move the backbone, which is measured afterwards
        self.body = _Body(copy.deepcopy(backbone.network.get_submodule("features")))
        self.preprocess = Preprocess.of(backbone.spec)
        self._size = size
        self._fast: Maps | None = None
        for number, width in enumerate(WIDTHS):
            self.register_buffer(f"deviation{number}", torch.ones(width, 1, 1))

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.get_buffer("deviation0").device

    def use_onnxruntime(self) -> bool:
        """Run on onnxruntime from now on, if it is installed and the network is on the CPU; says whether it does."""
        if self.device.type == "cpu":
            self._fast = _onnxruntime_maps(self.body, self._size)
        return self._fast is not None

    @torch.no_grad()
    def measure(self, pixels: Tensor) -> None:
        """Take each channel's standard deviation over these pixels and all positions as its unit."""
        for number, map_ in enumerate((self._fast or self.body)(pixels)):
            deviation = map_.std((0, 2, 3))
            least = 0.1 * float(deviation.mean())  # a nearly constant channel stays small
            self.get_buffer(f"deviation{number}").copy_(deviation.clamp_min(least)[:, None, None])

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Pixels N×3×S×S → nine maps N×C×H×H."""
        maps = (self._fast or self.body)(pixels)
        return tuple(map_ / self.get_buffer(f"deviation{i}") for i, map_ in enumerate(maps))


class _Body(nn.Module):
    """The teacher's layers; pixels → the inputs of the ReLUs after each block."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*list(features.children())[:_LAYERS]).to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Nine maps N×C×H×H."""
        x, sums = pixels.contiguous(memory_format=torch.channels_last), []
        for layer in self.layers:
            if isinstance(layer, nn.MaxPool2d):
                x = layer(x)
            elif not isinstance(layer, nn.ReLU):
                sums.append(layer(x) if isinstance(layer, nn.Conv2d) else _fire_sums(layer, x))
                x = F.relu(sums[-1])
        return sums


def _fire_sums(fire: nn.Module, x: Tensor) -> Tensor:
    """torchvision's Fire without its last ReLU."""
    few = F.relu(fire.get_submodule("squeeze")(x))
    return torch.cat([fire.get_submodule("expand1x1")(few), fire.get_submodule("expand3x3")(few)], 1)


def _onnxruntime_maps(body: nn.Module, size: int) -> Maps | None:
    """A thread-safe function pixels N×3×S×S on the CPU → the body's maps, on as many threads as torch uses now.

    Measured, pictures per second on one thread: 489 against 222 of torch at 96 px, 152 against 72 at 160 px.

    Returns:
        None if a package is missing.
    """
    if missing_packages():
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(_export(body, size), options, providers=["CPUExecutionProvider"])
    assert len(session.get_outputs()) == len(WIDTHS)

    def forward(pixels: Tensor) -> list[Tensor]:
        found = session.run(None, {"pixels": pixels.contiguous().numpy()})
        return [torch.from_numpy(map_) for map_ in found]

    return forward


def _export(body: nn.Module, size: int) -> bytes:
    file, logger = io.BytesIO(), logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # its warnings are about its own internals
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                body,
                (torch.zeros(2, 3, size, size),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                input_names=["pixels"],
                verbose=False,
                optimize=True,
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    file.write(program.model_proto.SerializeToString())
    return file.getvalue()
