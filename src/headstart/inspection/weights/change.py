"""How far the weights of each layer moved between two networks of one kind: their rotation and their distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.backbones.replace_head import in_classification_head
from headstart.errors import BackboneError
from headstart.inspection.inspected_model import InspectedModel

_NAMED = 4
_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class LayerChange:
    """One weight tensor before and after.

    Args:
        rotation: 1 - cosine of the weights as one vector; 0: only their size changed, 1: nothing of the direction left.
        distance: ‖after - before‖ / ‖before‖. growth: ‖after‖ / ‖before‖.
    """

    layer: str
    rotation: float
    distance: float
    growth: float

    @property
    def is_same(self) -> bool:
        """Whether not a single number changed."""
        return self.distance == 0.0


def changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[LayerChange, ...]:
    """Rotation and distance of every weight tensor of two dimensions or more, in their order; exactly 0 where equal.

    Source: Carbonnelle and De Vleeschouwer 2018, arXiv:1806.01603, section 2 (layer rotation).
    """
    return tuple(_change(name, value, after[name]) for name, value in before.items() if value.ndim > 1)


def moved_statistics(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[int, int]:
    """How many running means and variances of batch norms changed, and of how many."""
    names = [name for name in before if name.rsplit(".", 1)[-1] in _STATISTICS]
    return sum(not torch.equal(before[name], after[name]) for name in names), len(names)


def tensors_of(subject: InspectedModel, *, top: bool) -> dict[str, Tensor]:
    """Weights and statistics by name, a backbone's own top only where it is asked for; with the head, as `head`."""
    state: dict[str, Tensor] = dict(subject.network.state_dict())
    row = None if subject.backbone is None else subject.backbone.spec
    if row is not None and not top:
        state = {name: value for name, value in state.items() if not in_classification_head(name, row)}
    if subject.classifier is not None:
        head = subject.classifier.head
        state["head"] = torch.from_numpy(head.weight / head.temperature)  # a tuned head begins at calibrated scores
    return state


def shared_tensors(before: InspectedModel, after: InspectedModel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors that both have; heads on other stages or classes are left out, and tops unless both answer by theirs.

    Raises:
        BackboneError: the networks are not of one kind; the first tensors that differ are named.
    """
    top = all(one.classifier is None and one.has_logits for one in (before, after))
    first, second = tensors_of(before, top=top), tensors_of(after, top=top)
    if "head" in first and (_head(before) != _head(after)):
        del first["head"]
    if "head" not in first:
        second.pop("head", None)
    wrong = [n for n in first if n not in second or second[n].shape != first[n].shape]
    wrong += [n for n in second if n not in first]
    if wrong:
        raise BackboneError(
            expected=f"two networks of one kind, such as {before.name} before and after training",
            found=f"{len(wrong)} tensors that do not fit: {', '.join(wrong[:_NAMED])}",
            where=f"{before.name} and {after.name}",
        )
    return first, second


def _head(subject: InspectedModel) -> object:
    head = None if subject.classifier is None else subject.classifier.head
    return None if head is None else (head.stages, head.unit, head.weight.shape, subject.classes)


def _change(name: str, before: Tensor, after: Tensor) -> LayerChange:
    layer = name.removesuffix(".weight")
    if torch.equal(before, after):
        return LayerChange(layer, 0.0, 0.0, 1.0)
    a, b = before.detach().double().flatten(), after.detach().double().flatten()
    size, other = float(a.norm()), float(b.norm())
    cosine = float(a @ b) / (size * other) if size and other else 0.0
    return LayerChange(layer, 1 - cosine, float((b - a).norm()) / size if size else float("inf"), other / (size or 1.0))
