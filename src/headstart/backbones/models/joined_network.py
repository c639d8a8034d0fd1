"""Networks side by side on the same pixels; see `joined_spec`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.backbones.joined_spec import own_side
from headstart.backbones.spec import BackboneSpec


class JoinedNetwork(nn.Module):
    """Several networks, each without its classification head, on the same pixels; their features are its stages.

    One that has a side of its own (`NAME@SIDE`) sees them resized to it.

    Args:
        networks: whole; their heads are taken away. parts: their specs. The pixels come normalised as the first wants.
    """

    def __init__(self, networks: Sequence[nn.Module], parts: Sequence[BackboneSpec]) -> None:
        super().__init__()
        for network, spec in zip(networks, parts, strict=True):
            for path in spec.head:
                network.set_submodule(path, nn.Identity())
        self.networks = nn.ModuleList(networks)
        self.sides = [None if i == 0 else own_side(spec.name) for i, spec in enumerate(parts)]
        for i, spec in enumerate(parts):
            factor, shift = _scale(parts[0], spec)
            self.register_buffer(f"factor{i}", factor, persistent=False)
            self.register_buffer(f"shift{i}", shift, persistent=False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The last output of each network for pixels N×3×S×S."""
        outputs = []
        for i, network in enumerate(self.networks):
            # each buffer is used itself: a part of one would be a constant of the traced graph
            factor, shift = getattr(self, f"factor{i}"), getattr(self, f"shift{i}")
            own = pixels if factor is None else pixels * factor + shift
            if (side := self.sides[i]) is not None:
                own = F.interpolate(own, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
            outputs.append(network(own))
        return outputs


def _scale(first: BackboneSpec, own: BackboneSpec) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Factor and shift, 3×1×1, from pixels normalised for the first network to those for its own; None: the same."""
    if (first.mean, first.std) == (own.mean, own.std):
        return None, None
    wanted = (first.mean, first.std, own.mean, own.std)
    old_mean, old_std, new_mean, new_std = (torch.tensor(x).view(3, 1, 1) for x in wanted)
    return old_std / new_std, (old_mean - new_mean) / new_std
