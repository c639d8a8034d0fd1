"""How far the weights of each layer moved between two networks of one architecture: rotation and distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.backbones.replace_head import in_classification_head
from headstart.errors import BackboneError
from headstart.inspection.inspected_model import InspectedModel
from headstart.wording import counted

_NAMED = 4
_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class LayerChange:
    """One weight tensor before and after.

    Args:
        rotation: 1 - cosine of the weights as one vector; 0: only their scale changed, 1: orthogonal.
        distance: ‖after - before‖ / ‖before‖. growth: ‖after‖ / ‖before‖.
    """

    layer: str
    rotation: float
    distance: float
    growth: float

    @property
    def is_unchanged(self) -> bool:
        """Whether every weight is exactly the same."""
        return self.distance == 0.0


def changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[LayerChange, ...]:
    """Rotation and distance of every weight tensor of two dimensions or more, in their order; exactly 0 where equal.

    Source: Carbonnelle and De Vleeschouwer 2018, arXiv:1806.01603, section 2 (layer rotation).
    """
    return tuple(_change(name, value, after[name]) for name, value in before.items() if value.ndim > 1)


def moved_statistics(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[int, int]:
    """How many running means and variances of batch norms changed, and how many there are."""
    names = [name for name in before if name.rsplit(".", 1)[-1] in _STATISTICS]
    return sum(not torch.equal(before[name], after[name]) for name in names), len(names)


def named_tensors(inspected: InspectedModel, *, pretrained_head: bool) -> dict[str, Tensor]:
    """Weights and statistics by name, with or without a backbone's pretrained head; a classifier's head as `head`."""
    state: dict[str, Tensor] = dict(inspected.network.state_dict())
    if inspected.backbone is not None and not pretrained_head:
        spec = inspected.backbone.spec
        state = {name: value for name, value in state.items() if not in_classification_head(name, spec)}
    if inspected.classifier is not None:
        head = inspected.classifier.head
        state["head"] = torch.from_numpy(head.weight / head.temperature)  # fine-tuning starts at calibrated logits
    return state


def shared_tensors(before: InspectedModel, after: InspectedModel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors that both networks have.

    Heads on different stages or classes are left out, and pretrained heads unless both models predict with theirs.

    Raises:
        BackboneError: the architectures differ; the first tensors that differ are named.
    """
    pretrained = all(model.classifier is None and model.has_logits for model in (before, after))
    first = named_tensors(before, pretrained_head=pretrained)
    second = named_tensors(after, pretrained_head=pretrained)
    if "head" in first and (_head(before) != _head(after)):
        del first["head"]
    if "head" not in first:
        second.pop("head", None)
    differing = [n for n in first if n not in second or second[n].shape != first[n].shape]
    differing += [n for n in second if n not in first]
    if differing:
        raise BackboneError(
            expected=f"two networks of one architecture, such as {before.name} before and after training",
            found=f"{counted(len(differing), 'tensor')} of different shape or name: {', '.join(differing[:_NAMED])}",
            where=f"{before.name} and {after.name}",
        )
    return first, second


def _head(inspected: InspectedModel) -> object:
    head = None if inspected.classifier is None else inspected.classifier.head
    return None if head is None else (head.stages, head.unit, head.weight.shape, inspected.classes)


def _change(name: str, before: Tensor, after: Tensor) -> LayerChange:
    layer = name.removesuffix(".weight")
    if torch.equal(before, after):
        return LayerChange(layer, 0.0, 0.0, 1.0)
    a, b = before.detach().double().flatten(), after.detach().double().flatten()
    size, other = float(a.norm()), float(b.norm())
    cosine = float(a @ b) / (size * other) if size and other else 0.0
    return LayerChange(layer, 1 - cosine, float((b - a).norm()) / size if size else float("inf"), other / (size or 1.0))
