"""One image's answer with residual blocks switched off: each alone, and any of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.errors import DataError
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import Model, inspected_model
from headstart.inspection.residual.block_measurements import ResidualNetwork, measure_norms
from headstart.inspection.residual.residual_sums import joining
from headstart.plain import Plain


@dataclass(frozen=True, kw_only=True)
class SwitchedBlock(Plain):
    """A residual block and the answer of the network without it.

    Args:
        name: of the module that adds. projection: whether its shortcut is more than the identity.
        share: |branch| over |branch + shortcut| on this image.
        probabilities: C, of the network whose block is its shortcut alone.
    """

    name: str
    projection: bool
    share: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SwitchedOff(Plain):
    """An image's answer with all blocks, without each of them, and without those of `off` together.

    Args:
        classes: C names. probabilities: C, of the whole network. without: C, without the blocks of `off`.
        off: indices of blocks. blocks: in the order of the forward pass; empty: the network has none.
    """

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    without: tuple[float, ...]
    off: tuple[int, ...]
    blocks: tuple[SwitchedBlock, ...]


@torch.inference_mode()
def switch_blocks_off(model: Model, image: InspectedImages | Tensor, off: Sequence[int] = ()) -> SwitchedOff:
    """Ask a network about one image with residual blocks replaced by their shortcuts.

    Args:
        image: one; a Classifier or a network with class scores. off: indices of the blocks that are off together.

    Raises:
        DataError: it is not one image, or there is no such block. BackboneError: it has no class scores.

    Source: Veit et al. 2016, arXiv:1605.06431, section 4.1 (a projection on the shortcut stays).
    """
    inspected, pixels = inspected_model(model), InspectedImages.of(image).pixels
    if len(pixels) != 1:
        raise DataError(expected="one image", found=f"{len(pixels)}", where="switch_blocks_off")
    with inspected.eval_mode():
        network = ResidualNetwork.of(inspected, pixels)
        count = len(network.sums)
        if wrong := [i for i in off if not 0 <= i < count]:
            raise DataError(expected=f"a block from 0 to {count - 1}", found=f"{wrong[0]}", where="off")
        norms, _ = measure_norms(network, pixels) if count else (None, None)
        whole = _probabilities(network, (), pixels)
        blocks = tuple(
            SwitchedBlock(
                name=one.name,
                projection=not one.is_identity,
                share=float(norms.branch[0, i] / norms.total[0, i].clamp_min(1e-30)) if norms is not None else 0.0,
                probabilities=_probabilities(network, (i,), pixels),
            )
            for i, one in enumerate(network.sums)
        )
        without = _probabilities(network, tuple(off), pixels)
    names = inspected.classes or tuple(f"class {i}" for i in range(len(whole)))
    return SwitchedOff(classes=names, probabilities=whole, without=without, off=tuple(off), blocks=blocks)


def _probabilities(network: ResidualNetwork, off: Sequence[int], pixels: Tensor) -> tuple[float, ...]:
    """C, with these blocks replaced by their shortcuts."""
    sums = [network.sums[i] for i in off]
    if not sums:
        logits = network.model.tta_logits(pixels)
    else:
        # a copy: an in-place layer may follow
        with joining(network.graph, sums, lambda shortcut, _branch, _source: shortcut.clone()):
            logits = network.model.tta_logits(pixels)
    found: list[float] = logits[0].double().softmax(0).tolist()
    return tuple(found)
