"""The top of a network: what is not backbone, and how it is exchanged for one with other classes."""

from __future__ import annotations

from torch import nn

from headstart.backbones.spec import BackboneSpec
from headstart.errors import BackboneError


def in_classification_head(name: str, spec: BackboneSpec) -> bool:
    """Whether a tensor, by its name in the state dict, belongs to the top."""
    return any(name.startswith(top + ".") for top in spec.top)


def replace_head(network: nn.Module, spec: BackboneSpec, classes: int) -> nn.Module:
    """Give a network a new linear top for so many classes, in place; inception's auxiliary top as well.

    The new top stands on the `pooled` stage and gives plain logits: squeezenet's own, which ends in a ReLU and so
    cannot say "less than zero", goes as a whole. Its weights are drawn from torch's global random numbers.

    Raises:
        BackboneError: fewer than one class.
    """
    if classes < 1:
        raise BackboneError(expected="at least one class", found=str(classes), where=f"top of {spec.name}")
    if spec.is_timm:
        network.reset_classifier(classes)  # type: ignore[operator]  # every network of timm has it
    elif not spec.top:
        network.add_module("top", nn.Linear(spec.stages[-1].width, classes))
    for top in () if spec.is_timm else spec.top:
        _replace(network, top, spec.stages[-1].width, classes)
    return network


def _replace(network: nn.Module, path: str, width: int, classes: int) -> None:
    old = network.get_submodule(path)
    if path == "AuxLogits":
        _set(network, f"{path}.fc", _linear(old.fc, classes))
    elif isinstance(old, nn.Linear):
        _set(network, path, _linear(old, classes))
    elif any(isinstance(module, nn.Conv2d) for module in old.modules()):
        new = nn.Linear(width, classes)
        _set(network, path, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), new))
    else:  # dropout and a linear layer: the dropout stays
        name, last = [(name, module) for name, module in old.named_modules() if isinstance(module, nn.Linear)][-1]
        _set(network, f"{path}.{name}", _linear(last, classes))


def _linear(old: object, classes: int) -> nn.Linear:
    if not isinstance(old, nn.Linear):
        raise TypeError(f"the top of a row must end in a linear layer, not {type(old).__name__}")
    return nn.Linear(old.in_features, classes, device=old.weight.device)


def _set(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)
