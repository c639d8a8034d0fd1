"""Batch norm folded into the layer before it: equal features from fewer passes over memory, for inference only."""

from __future__ import annotations

import copy
import sys
from collections import Counter

from torch import Tensor, fx, nn
from torch.nn import functional

from headstart.backbones.feature_extractor import FeatureExtractor
from headstart.errors import BackboneError

_AFFINE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)  # weight: outputs first
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold(network: FeatureExtractor) -> fx.GraphModule:
    """A copy of the network with each batch norm multiplied into the convolution or linear layer that feeds it.

    Only where the layer feeds nothing else and runs once: a stage taken between the two keeps them separate. A batch
    norm before its convolution (DenseNet, pre-activation) stays. The given network is not changed, and the copy does
    not see its later changes.

    Returns:
        Pixels N×3×S×S → features N×D, with no batch norm left that could be folded.

    Raises:
        BackboneError: the network cannot be traced.

    Source:
        W' = W·γ/√(σ²+ε), b' = β + (b − μ)·γ/√(σ²+ε) for each output channel, computed in float64 and rounded once, for
        channels whose variance is close to zero.
    """
    if not isinstance(network.body, fx.GraphModule):
        raise BackboneError(
            expected="a network whose graph can be traced",
            found="one that cannot",
            where="engine",
            hint="It runs as it is: --engine eager.",
        )
    body = copy.deepcopy(network.body)
    _separate_activations(body)
    calls = Counter(node.target for node in body.graph.nodes if node.op == "call_module")
    for node in list(body.graph.nodes):
        norm = _norm_of(body, node)
        layer = node.args[0] if norm is not None else None
        if norm is None or not isinstance(layer, fx.Node) or not _foldable(body, layer, norm):
            continue
        if calls[layer.target] != 1:
            continue
        _scale(body.get_submodule(str(layer.target)), norm)
        node.replace_all_uses_with(layer)
        body.graph.erase_node(node)
    body.graph.eliminate_dead_code()
    body.delete_all_unused_submodules()
    body.graph.lint()
    body.recompile()
    return body


def _separate_activations(body: fx.GraphModule) -> None:
    """Each of timm's batch norms with an activation inside becomes a plain one, its dropout and its activation."""
    separated: dict[str, nn.ModuleDict] = {}
    for node in [node for node in body.graph.nodes if node.op == "call_module"]:
        target, norm = str(node.target), body.get_submodule(str(node.target))
        kind = _timm_kind("BatchNormAct2d")
        if isinstance(norm, nn.BatchNorm2d) and type(norm) is kind and norm.running_mean is not None:
            plain = nn.BatchNorm2d(norm.num_features, norm.eps, affine=norm.affine).to(norm.running_mean).eval()
            plain.load_state_dict({name: tensor for name, tensor in norm.state_dict().items() if "." not in name})
            parts = {"norm": plain, **dict(norm.named_children())}  # drop and act, in the order in which they run
            does = {name: part for name, part in parts.items() if not isinstance(part, nn.Identity)}
            separated[target] = nn.ModuleDict(does)
            body.set_submodule(target, separated[target])
        if target in separated:
            output = node.args[0]
            with body.graph.inserting_before(node):
                for part in separated[target]:
                    output = body.graph.call_module(f"{target}.{part}", (output,))
            node.replace_all_uses_with(output)
            body.graph.erase_node(node)


class _Norm:
    """A batch norm in eval mode: x·scale + shift for each of C channels, in float64."""

    # the five tensors and numbers of the formula
    def __init__(self, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
        self.scale = (variance.double() + eps).rsqrt()
        if weight is not None:
            self.scale = self.scale * weight.double()
        self.shift = -mean.double() * self.scale
        if bias is not None:
            self.shift = self.shift + bias.double()


def _norm_of(body: fx.GraphModule, node: fx.Node) -> _Norm | None:
    """The batch norm that a node runs, as a module or as the function that some of timm's modules call."""
    if node.op == "call_module":
        module = body.get_submodule(str(node.target))
        # exactly these: a subclass may do more than normalise
        if (
            not isinstance(module, _NORMS)
            or type(module) not in _NORMS
            or module.running_mean is None
            or module.running_var is None
        ):
            return None
        return _Norm(module.running_mean, module.running_var, module.weight, module.bias, module.eps)
    if node.op != "call_function" or node.target is not functional.batch_norm:
        return None
    return _norm_of_call(body, node)


def _norm_of_call(body: fx.GraphModule, node: fx.Node) -> _Norm | None:
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    tensors = {name: _constant(body, given.get(name)) for name in names[1:5]}
    mean, variance = tensors["running_mean"], tensors["running_var"]
    eps = given.get("eps", 1e-5)
    if mean is None or variance is None or given.get("training", False) is not False or not isinstance(eps, float):
        return None
    return _Norm(mean, variance, tensors["weight"], tensors["bias"], eps)


def _constant(body: fx.GraphModule, value: object) -> Tensor | None:
    if not isinstance(value, fx.Node) or value.op != "get_attr":
        return None
    path, _, name = str(value.target).rpartition(".")
    found = getattr(body.get_submodule(path), name)
    return found if isinstance(found, Tensor) else None


def _foldable(body: fx.GraphModule, layer: fx.Node, norm: _Norm) -> bool:
    if layer.op != "call_module" or len(layer.users) != 1:
        return False
    module = body.get_submodule(str(layer.target))
    # a linear layer's outputs are the last axis, a batch norm's channels the second: the same for N×C, the usual case;
    # otherwise the widths differ, or the engine's check of its outputs refuses it. Exactly these kinds: a subclass may
    # change its weights in each call, as those with standardised weights do
    exact = type(module) in (*_AFFINE, _timm_kind("Conv2dSame"))
    return exact and isinstance(module.weight, Tensor) and module.weight.shape[0] == norm.scale.shape[0]


def _timm_kind(name: str) -> type | None:
    """A class of timm's layers; None where timm was not imported, so that no module can be of it."""
    return getattr(sys.modules.get("timm.layers"), name, None)


def _scale(layer: nn.Module, norm: _Norm) -> None:
    weight, bias = layer.weight, layer.bias
    if not isinstance(weight, Tensor):
        return
    shape = (-1, *[1] * (weight.ndim - 1))  # outputs first
    shift = norm.shift if not isinstance(bias, Tensor) else norm.shift + bias.detach().double() * norm.scale
    scaled = weight.detach().double() * norm.scale.view(shape)
    layer.weight = nn.Parameter(scaled.to(weight.dtype), requires_grad=False)
    layer.bias = nn.Parameter(shift.to(weight.dtype), requires_grad=False)
