"""An engine from outside headstart: built and called so that its mistakes carry its name, and touch nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.backbones.backbone import Backbone
from headstart.engines.forward import Forward
from headstart.errors import BackboneError, HeadstartError, kind_and_line
from headstart.preserve import preserve, torch_settings_kept
from headstart.registry import ENGINES, foreign_code


def foreign_forward(name: str, backbone: Backbone) -> Forward:
    """The forward pass of a registered engine; each call is checked, and works on a copy of the pixels.

    Raises:
        BackboneError: the engine cannot be built, or a call gives something else than features N×D.
    """
    build = ENGINES.find(name, where="--engine")
    try:
        with torch_settings_kept(), preserve(backbone.network), foreign_code():
            forward = build(backbone)
    except HeadstartError:
        raise  # that it is not available here, in its own words
    except Exception as error:  # foreign code: whatever it raises, the user learns whose it is
        raise _failed(name, kind_and_line(error)) from error
    if not callable(forward):
        raise _failed(name, f"{type(forward).__name__} in the place of a function (pixels) → features")
    width = max(part.stop for part in backbone.slices.values())

    def checked(pixels: Tensor) -> Tensor:
        try:
            with foreign_code():
                found = forward(pixels.clone())
        except HeadstartError:
            raise
        except Exception as error:  # as above
            raise _failed(name, kind_and_line(error)) from error
        return _features(name, found, (len(pixels), width))

    return checked


def _features(name: str, found: object, shape: tuple[int, int]) -> Tensor:
    if not isinstance(found, Tensor):
        raise _failed(name, f"{type(found).__name__} in the place of a tensor")
    if found.layout != torch.strided or found.is_meta or not found.is_floating_point():
        raise _failed(name, f"a tensor of {found.dtype}, {found.layout}, on {found.device}")
    if found.shape != shape:
        raise _failed(name, f"features of shape {tuple(found.shape)} in the place of {shape}")
    return found.detach().float()


def _failed(name: str, found: str) -> BackboneError:
    return BackboneError(
        expected=f"features N×D, float32 and dense, from the engine {name!r} of {ENGINES.owner(name)}",
        found=found,
        where="--engine",
        hint="Leave out --engine, or use --engine eager; correct, update or remove what offers this one.",
    )
