"""The classification head of a network: which tensors belong to it, and how to replace it for other classes."""

from __future__ import annotations

from torch import nn

from headstart.backbones.spec import BackboneSpec
from headstart.errors import BackboneError
from headstart.public_api import public_api


def in_classification_head(name: str, spec: BackboneSpec) -> bool:
    """Whether a tensor, by its name in the state dict, belongs to the classification head."""
    return any(name.startswith(prefix + ".") for prefix in spec.head)


@public_api
def replace_head(network: nn.Module, spec: BackboneSpec, classes: int) -> nn.Module:
    """Give a network a new linear head for this number of classes, in place; inception's auxiliary head as well.

    The new head takes the `pooled` stage and gives plain logits: squeezenet's own, which ends in a ReLU and so cannot
    give a logit below zero, is replaced as a whole. Its weights are drawn from torch's global random numbers.

    Raises:
        BackboneError: fewer than one class.
    """
    if classes < 1:
        raise BackboneError(expected="at least one class", found=str(classes), where=f"head of {spec.name}")
    width = spec.stages[-1].width
    if spec.is_timm:
        network.reset_classifier(classes)  # type: ignore[operator]  # every network of timm has it
    elif spec.head:
        for path in spec.head:
            _set(network, *_new_head(network.get_submodule(path), path, width=width, classes=classes))
    elif isinstance(getattr(network, "head", None), nn.Module):  # headstart's own networks, made without a head
        _set(network, "head", nn.Linear(width, classes))
    else:
        raise BackboneError(
            expected="a network with a classification head", found="none", where=spec.name, hint="Fine-tune it instead."
        )
    return network


def _new_head(old: nn.Module, path: str, *, width: int, classes: int) -> tuple[str, nn.Module]:
    """Path and module that take the place of what gives the classes in an old head."""
    if path == "AuxLogits":
        return f"{path}.fc", _like(old.fc, classes)
    if isinstance(old, nn.Linear):
        return path, _like(old, classes)
    if any(isinstance(module, nn.Conv2d) for module in old.modules()):
        return path, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
    # dropout and a linear layer: the dropout stays
    name, last = [(name, module) for name, module in old.named_modules() if isinstance(module, nn.Linear)][-1]
    return f"{path}.{name}", _like(last, classes)


def _like(old: object, classes: int) -> nn.Linear:
    if not isinstance(old, nn.Linear):
        raise TypeError(f"the head must end in a linear layer, not {type(old).__name__}")
    return nn.Linear(old.in_features, classes, device=old.weight.device)


def _set(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)
