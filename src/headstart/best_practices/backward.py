"""Rules about the backward pass: whether it works, and which parameters it reaches."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import Issue, register_rule

# words in what autograd raises of a network that breaks its rules, and not for want of targets or memory
_AUTOGRAD = ("inplace", "in-place", "in place", "leaf variable", "does not require grad", "does not have a grad_fn")


@register_rule(
    "failing backward pass",
    "error",
    why="Autograd keeps what it needs for the gradient; an in-place operation that changes it makes backward() fail.",
    source="torch.autograd, in-place correctness checks",
    fix="Write x = x + y instead of x += y, relu(x) instead of relu_(x) or inplace=True, at the operation named.",
)
def failing_backward_pass(examination: Examination) -> Iterator[Issue]:
    """One forward and backward pass in train mode."""
    failure = examination.train_mode_failure
    if not failure:
        return
    if not any(word in failure.lower() for word in _AUTOGRAD):
        raise NotCheckedError(f"a working forward pass in train mode: {failure}")
    yield Issue((), failure[:200])


@register_rule(
    "overwritten in place",
    "error",
    why="An in-place operation changes the tensor under its old name as well: a shortcut that is read afterwards has "
    "lost what it should carry past the branch.",
    source="torch.nn.ReLU, inplace=True; measured: the old and the new name are distinguished",
    fix="Use the operation that is not in place: nn.ReLU(), x = x + y.",
)
def overwritten_in_place(examination: Examination) -> Iterator[Issue]:
    """A tensor that is changed in place and read again under its old name, while the result is used as well."""
    found = examination.paired_passes.overwritten
    if found:
        one = found[0]
        text = f"{one.function} in {one.writer or 'the network'} changes what {one.reading} reads again in "
        places = tuple(dict.fromkeys(each.reader for each in found))
        yield Issue(places, f"{text}{one.reader or 'the network'}")


@register_rule(
    "parameters without a gradient",
    "error",
    why="They require a gradient, the forward pass uses them, and none arrives: detach(), no_grad(), .data, a detour "
    "through NumPy, or an operation without a slope (argmax, a comparison, an integer) cuts them off.",
    source="torch.Tensor.detach; measured in a backward pass",
    fix="Remove the cut; if these layers are to stay fixed, freeze them (headstart.freeze), so that it is said.",
)
def parameters_without_gradient(examination: Examination) -> Iterator[Issue]:
    """Parameters that an operation of the forward pass in train mode takes, and autograd does not reach."""
    trained = examination.trained
    if not trained:
        raise NotApplicableError("no trainable parameters")
    passed = examination.training_pass
    used = {name for operation in passed.graph.operations for name in operation.tensors}
    cut = [name for name in trained if name in used and name not in passed.reached]
    if cut:
        places = tuple(dict.fromkeys(name.rpartition(".")[0] or name for name in cut))
        yield Issue(places, f"{len(cut)} of {len(trained)} trained parameters get no gradient")
