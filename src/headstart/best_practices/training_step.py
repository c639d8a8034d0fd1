"""Rules about one training step, given the loss and a batch: types, labels, and what the loss takes for an output."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from headstart.best_practices.examination import Examination, Loss, NotCheckedError, says_nothing
from headstart.best_practices.head import RELUS, SQUASHING, last_operation
from headstart.best_practices.rule import Issue, register_rule
from headstart.errors import kind_and_line
from headstart.inspection.graph import tensors_in

_MOST = 16  # images that run through the network
_CLOSE = 1e-3
_IGNORED = -100  # torch's label for "no label"
_RIGHT = 3.0  # added to the output of the true class: a step that any loss for classes sees
_NEVER = 1e300
_FAINT = 0.01  # photographs scaled once have a standard deviation of 0.05 to 0.4, normalised ones of 1
_CHANNELS = 4  # of an image; more are features
_MANY = 8  # labels that are seldom all alike by chance, unless one class has nearly all images
_RANGES = {
    **dict.fromkeys(("sigmoid", "hardsigmoid"), (0.0, 1.0)),
    **dict.fromkeys(("tanh", "hardtanh", "softsign"), (-1.0, 1.0)),
    **dict.fromkeys(("relu", "softplus"), (0.0, _NEVER)),
    "relu6": (0.0, 6.0),
}
"""Last operation → the least and the largest number it gives."""


@register_rule(
    "inputs of another type",
    "error",
    "warning",
    needs=("batch",),
    why="A layer multiplies numbers of one type only, and weights were made for inputs around 0: pixels from 0 to 255 "
    "are a hundred times too large.",
    source="torch.Tensor.dtype; torchvision.transforms.v2.ToDtype(scale=True)",
    fix="Convert images with x.float() / 255 and normalise them, other numbers with x.float().",
)
def inputs_of_another_type(examination: Examination) -> Iterator[Issue]:
    """Type of the inputs against that of the weights, and their range."""
    inputs = _inputs(examination)
    weight = next((one for one in examination.network.parameters() if one.is_floating_point()), None)
    takes_indices = any(isinstance(one, (nn.Embedding, nn.EmbeddingBag)) for one in examination.modules.values())
    if weight is None or (takes_indices and not inputs.is_floating_point()):
        return
    if inputs.dtype != weight.dtype:
        yield Issue((), f"inputs are {_type(inputs)}, the weights {_type(weight)}", "error")
    elif inputs.ndim == 4 and float(inputs.detach().abs().max()) > 50 and not _normalises_first(examination):
        yield Issue((), f"pixels up to {float(inputs.max()):g}: they seem not scaled", "warning")
    elif inputs.ndim == 4 and _are_faint(inputs) and not _normalises_first(examination):
        spread = float(inputs.detach().float().std((0, 2, 3)).max())
        yield Issue((), f"pixels with a standard deviation of {spread:.2g}: they seem scaled twice", "warning")


def _are_faint(inputs: Tensor) -> bool:
    """Whether pixels differ as little as those divided by 255 twice, normalised or not, and are not all alike."""
    spread = inputs.detach().float().std((0, 2, 3))  # of each channel
    return inputs.shape[1] <= _CHANNELS and 0 < float(spread.nan_to_num(1).max()) < _FAINT


def _normalises_first(examination: Examination) -> bool:
    """Whether a batch norm is the first layer, which takes any scale."""
    graph = examination.graph
    first = next((one for one in graph.operations if one.has_weights or one.function == "batch_norm"), None)
    return first is not None and first.function == "batch_norm"


@register_rule(
    "inputs that say nothing",
    "error",
    needs=("batch",),
    why="A network cannot learn from inputs that are all alike, and one nan makes every weight nan in the first step.",
    source="measured on the batch",
    fix="Look at the images of a batch: most often a transform, a division by 0 or the data set's index is the cause.",
)
def inputs_that_say_nothing(examination: Examination) -> Iterator[Issue]:
    """Inputs of the batch that are equal, or not finite."""
    if found := says_nothing(_inputs(examination)):
        yield Issue((), found)


@register_rule(
    "labels outside the classes",
    "error",
    needs=("batch",),
    why="A label is the index of an output: one below 0, or as large as the number of outputs, has none. On a GPU this "
    "is a device-side assert that names nothing.",
    source="torch.nn.CrossEntropyLoss",
    fix="Number the classes from 0, and give the last layer an output for each.",
)
def labels_outside(examination: Examination) -> Iterator[Issue]:
    """Class indices of the batch against the number of outputs; targets of a loss with a sigmoid against 0 to 1."""
    outputs, targets = batch_outputs(examination), batch_targets(examination)
    if targets.is_floating_point() and examination.loss is not None and targets.numel():
        kind = taken_by(examination.loss, outputs, (targets > targets.mean()).to(targets)[: len(outputs)])
        if kind in ("sigmoid", "probabilities") and (float(targets.min()) < 0 or float(targets.max()) > 1):
            span = f"targets from {float(targets.min()):g} to {float(targets.max()):g}"
            yield Issue((), f"{span}; the loss takes 0 for no and 1 for yes")
        return
    indices = not targets.is_floating_point() and targets.dtype != torch.bool and not targets.is_complex()
    if not indices or outputs.ndim < 2 or outputs.shape[1] < 2 or targets.ndim != outputs.ndim - 1:
        return
    ignored = getattr(examination.loss, "ignore_index", _IGNORED)
    known = targets[targets != ignored]
    if _are_levels(examination.loss, outputs, targets):
        return
    if known.numel() and (int(known.min()) < 0 or int(known.max()) >= outputs.shape[1]):
        yield Issue(
            (),
            f"labels from {int(known.min())} to {int(known.max())} for {outputs.shape[1]} outputs (0 to "
            f"{outputs.shape[1] - 1})",
        )


@register_rule(
    "one class in the batch",
    "advice",
    needs=("batch",),
    why="Images are stored class by class: without shuffling each step teaches one class and unlearns the others, and "
    "batch norm sees one class at a time.",
    source="Bengio 2012, Practical recommendations for gradient-based training, arXiv:1206.5533, section 3.1",
    fix="Use DataLoader(..., shuffle=True) for training; with one class in most images, a WeightedRandomSampler.",
)
def one_class(examination: Examination) -> Iterator[Issue]:
    """Whether all labels of a batch are alike, where there are several classes."""
    outputs, targets = batch_outputs(examination), batch_targets(examination)
    labels = not targets.is_floating_point() and targets.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] > 1
    if labels and len(targets) >= _MANY and bool((targets == targets[0]).all()):
        yield Issue((), f"all {len(targets)} labels of the batch are {targets[0].item()}")


@register_rule(
    "loss and output do not fit",
    "error",
    "warning",
    needs=("loss", "batch"),
    why="CrossEntropyLoss and BCEWithLogitsLoss take logits, NLLLoss log-probabilities, BCELoss probabilities. With "
    "another output most of them run without an error and train badly or not at all.",
    source="torch.nn: CrossEntropyLoss, NLLLoss, BCELoss, BCEWithLogitsLoss; measured on the loss itself",
    fix="Return the logits of the last linear layer with CrossEntropyLoss (classes) or BCEWithLogitsLoss (yes or no).",
)
def loss_and_output(examination: Examination) -> Iterator[Issue]:
    """What the loss does with shifted and scaled numbers says what it takes; the output's range says what it gets."""
    loss, outputs, targets = examination.loss, batch_outputs(examination).float(), batch_targets(examination)
    assert loss is not None  # needed, see above
    targets, outputs = targets[: len(outputs)], outputs[: len(targets)]
    if _are_levels(loss, outputs, targets):
        return
    if not targets.is_floating_point() and targets.ndim == outputs.ndim - 1:
        targets = targets.clamp(0, outputs.shape[1] - 1)  # labels outside the classes are another rule's
    kind, given = taken_by(loss, outputs, targets), _kind_of(examination, outputs)
    if reached := _out_of_reach(examination, kind, targets):
        yield Issue((), reached, "warning")
    if _rewards_mistakes(loss, outputs, targets):
        yield Issue((), "the loss becomes larger as the output of the true class does: a sign is wrong")
    if kind == "softmax" and outputs.ndim > 1 and outputs.shape[1] == 1:
        yield Issue((), "the loss applies a softmax, and there is one output: its probability is always 1")
    elif kind == "softmax" and given in ("probabilities", *SQUASHING, *RELUS):
        severity = "warning" if given in ("leaky_relu", "elu", "gelu", "silu", "hardswish", "selu") else "error"
        yield Issue((), f"the loss applies a softmax to logits; the output is {_named(given)}", severity)
    elif kind == "sigmoid" and given in ("probabilities", "log-probabilities", *SQUASHING, *RELUS):
        yield Issue((), f"the loss applies a sigmoid to logits; the output is {_named(given)}")
    elif kind == "log-probabilities" and given != "log-probabilities":
        yield Issue((), f"the loss takes log-probabilities (log_softmax); the output is {_named(given)}")
    elif kind == "probabilities" and (
        _ends_in_a_layer(examination) or not bool(((outputs >= 0) & (outputs <= 1)).all())
    ):
        low, high = float(outputs.min()), float(outputs.max())
        yield Issue((), f"the loss takes probabilities; the output is not one, here from {low:.2f} to {high:.2f}")


def _are_levels(loss: Loss | None, outputs: Tensor, targets: Tensor) -> bool:
    """Whether a loss takes integers beyond the outputs: they are no indices, as in ordinal regression."""
    if loss is None or targets.is_floating_point() or targets.ndim != outputs.ndim - 1 or not targets.numel():
        return False
    if int(targets.max()) < outputs.shape[1]:
        return False
    return loss_value(loss, outputs.float().cpu(), targets.cpu()) is not None  # a GPU does not survive a wrong index


def _out_of_reach(examination: Examination, kind: str, targets: Tensor) -> str:
    """Which targets no output can be equal to, where a loss compares the two; empty if none."""
    last = last_operation(examination.graph)
    if kind or last is None or last.function not in _RANGES or not targets.is_floating_point() or not targets.numel():
        return ""
    (low, high), least, most = _RANGES[last.function], float(targets.min()), float(targets.max())
    if low <= least and most <= high:
        return ""
    span = f"{low:g} and more" if high == _NEVER else f"{low:g} to {high:g}"
    return f"targets from {least:g} to {most:g}; a {last.function} gives {span}"


def _rewards_mistakes(loss: Loss, outputs: Tensor, targets: Tensor) -> bool:
    """Whether the loss is larger for outputs that are more right: of classes by index, or of yes and no."""
    if not targets.is_floating_point() and targets.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] > 1:
        ones = torch.nn.functional.one_hot(targets.clamp(0, outputs.shape[1] - 1).long(), outputs.shape[1])
        direction = ones.to(outputs)
    elif (
        targets.is_floating_point() and targets.shape == outputs.shape and bool(((targets == 0) | (targets == 1)).all())
    ):
        direction = 2 * targets.to(outputs) - 1
    else:
        return False
    right = loss_value(loss, outputs + _RIGHT * direction, targets)
    wrong = loss_value(loss, outputs - _RIGHT * direction, targets)
    if right is None or wrong is None:
        return False
    middle = None if targets.is_floating_point() else loss_value(loss, outputs, targets)
    return right > wrong + _CLOSE and (middle is None or right > middle > wrong)  # else the sign is nothing to it


def _ends_in_a_layer(examination: Examination) -> bool:
    last = last_operation(examination.graph)
    return last is not None and bool(last.weight_shape)


def _named(given: str) -> str:
    return f"that of a {given}" if given in (*SQUASHING, *RELUS) else given


def _kind_of(examination: Examination, outputs: Tensor) -> str:
    """What the outputs are, by their values and by the last operation."""
    if outputs.ndim > 1 and outputs.shape[1] > 1:
        sums = outputs.sum(1)
        if bool((outputs >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=_CLOSE):
            return "probabilities"
        sums = outputs.logsumexp(1)
        if bool((outputs <= 0).all()) and torch.allclose(sums, torch.zeros_like(sums), atol=_CLOSE):
            return "log-probabilities"
        sums = outputs.logsumexp(0)
        if len(outputs) > 1 and torch.allclose(sums, torch.zeros_like(sums), atol=_CLOSE):
            return "log-probabilities over the images of the batch (dim=0), not over the classes"
    last = last_operation(examination.graph)
    return last.function if last is not None and last.function in (*SQUASHING, *RELUS) else "logits"


def taken_by(loss: Loss, outputs: Tensor, targets: Tensor) -> str:
    """What a loss takes, by what it computes; empty where that is none of those known.

    A softmax inside ignores a number added to a row; log-probabilities are only picked and averaged; a loss of
    probabilities refuses others; the gradient of a sigmoid inside is the sigmoid minus the target.
    """
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(outputs.shape, generator=generator).to(outputs)
    value = loss_value(loss, numbers, targets)
    if value is None:
        inside = loss_value(loss, torch.sigmoid(numbers), targets)
        return "" if inside is None else "probabilities"
    if outputs.ndim > 1:
        shift = torch.randn((len(outputs), *[1] * (outputs.ndim - 1)), generator=generator).to(outputs)
        if _equal(loss_value(loss, numbers + shift, targets), value):
            return "softmax"
        doubled, shifted = loss_value(loss, 2 * numbers, targets), loss_value(loss, numbers + 1, targets)
        if _equal(doubled, 2 * value) and shifted is not None and shifted < value - _CLOSE:
            return "log-probabilities"
    return "sigmoid" if _has_sigmoid(loss, numbers, targets) else ""


def _has_sigmoid(loss: Loss, numbers: Tensor, targets: Tensor) -> bool:
    if targets.shape != numbers.shape:
        return False
    numbers = numbers.requires_grad_(True)
    try:
        with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (gradient,) = torch.autograd.grad(loss(numbers, targets).sum(), numbers)
    except Exception:  # a foreign loss may raise anything: then it is none of those known
        return False
    expected = torch.sigmoid(numbers.detach()) - targets
    return any(torch.allclose(gradient * factor, expected, atol=_CLOSE) for factor in (1, gradient.numel()))


def loss_value(loss: Loss, outputs: Tensor, targets: Tensor) -> float | None:
    """The sum of what a loss gives for these numbers; None where it refuses them."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(loss(outputs, targets).sum())
    except Exception:  # it refuses such numbers
        return None


def _equal(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= _CLOSE * max(1.0, abs(other))


@register_rule(
    "failing training step",
    "error",
    "warning",
    needs=("loss", "batch"),
    why="The loss refuses these outputs and targets, or stretches one over the other, which is a different loss.",
    source="torch.nn.functional.cross_entropy; broadcasting semantics of torch",
    fix="For classes: labels int64 of shape N, outputs N×C. For yes or no: both float of one shape, "
    "y.float().view(-1, 1).",
)
def failing_training_step(examination: Examination) -> Iterator[Issue]:
    """The loss of the batch: its types and shapes in words, else what it raises; and whether it has a gradient."""
    try:
        outputs = batch_outputs(examination)
    except _NetworkFailsError as error:
        yield Issue((), f"inputs are {_form(_inputs(examination))}, and the network fails: {error.raised}")
        return
    targets = batch_targets(examination)
    targets, loss = targets[: len(outputs)], examination.loss
    assert loss is not None  # needed, see above
    if len(targets) != len(outputs):
        yield Issue((), f"{len(outputs)} inputs and {len(targets)} targets")
        return
    floats = targets.is_floating_point()
    stretched = floats and targets.ndim != outputs.ndim and targets.numel() == outputs.numel() > 1
    try:
        with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch only warns of what is said here
            value = loss(outputs.requires_grad_(outputs.is_floating_point()), targets)
    except Exception as error:  # a foreign loss may raise anything
        text = (str(error).strip().splitlines() or [""])[0][:160]
        yield Issue((), f"targets are {_form(targets)}, outputs {_form(outputs)}: {text or type(error).__name__}")
        return
    if wrong := _no_loss(value, outputs):
        yield Issue((), wrong)
    elif isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
        yield Issue((), "the loss of the batch is nan or infinity")
    elif stretched:
        yield Issue((), f"targets are {_form(targets)}, outputs {_form(outputs)}: one is stretched over the other")
    elif floats and targets.numel() != outputs.numel():
        yield Issue((), f"targets are {_form(targets)}, outputs {_form(outputs)}", "warning")


def _no_loss(value: object, outputs: Tensor) -> str:
    """Why backward() cannot begin at a value, or reaches nothing; empty if it can."""
    if not isinstance(value, Tensor):
        return f"the loss is a {type(value).__name__}, not a tensor: it has no gradient"
    if value.numel() != 1:
        return f"the loss is {_form(value)}, not one number: reduction='none'?"
    if not outputs.requires_grad:
        return ""  # another rule says so
    reached = None
    if value.requires_grad:
        (reached,) = torch.autograd.grad(value.reshape(()), outputs, allow_unused=True)
    return "" if reached is not None else "the loss has no gradient for the outputs: item(), argmax or detach in it?"


class _NetworkFailsError(NotCheckedError):
    """The network raises an error on the batch: `raised`."""

    def __init__(self, raised: str) -> None:
        super().__init__(f"a network that runs on the batch: {raised}")
        self.raised = raised


def _form(tensor: Tensor) -> str:
    return f"{_type(tensor)} of shape {'×'.join(map(str, tensor.shape)) or '1'}"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _inputs(examination: Examination) -> Tensor:
    inputs = None if examination.batch is None else examination.batch[0]
    if not isinstance(inputs, Tensor) or not len(inputs):
        raise NotCheckedError("a batch whose inputs are one tensor")
    return inputs


def batch_targets(examination: Examination) -> Tensor:
    """Of the batch, where the weights are.

    Raises:
        NotCheckedError: they are no tensor.
    """
    targets = None if examination.batch is None else examination.batch[1]
    if not isinstance(targets, Tensor) or not targets.ndim:
        raise NotCheckedError("a batch whose targets are one tensor")
    weight = next(examination.network.parameters(), None)
    return targets.detach() if weight is None else targets.detach().to(weight.device)


def batch_outputs(examination: Examination) -> Tensor:
    """Of the network in eval mode for some of the batch."""
    inputs = _inputs(examination)[:_MOST]
    if any(isinstance(one, (nn.Embedding, nn.EmbeddingBag)) for one in examination.modules.values()):
        run: Callable[[], object] = lambda: examination.network(inputs.clone())  # noqa: E731  # indices stay as they are
    else:
        run = lambda: examination.network(examination.pixels_on_device(inputs))  # noqa: E731
    try:
        with torch.inference_mode():
            output = next(tensors_in(run()), None)
    except Exception as error:  # a foreign forward may raise anything
        raise _NetworkFailsError(kind_and_line(error)) from error
    if output is None or not output.ndim:
        raise NotCheckedError("an output that is a tensor")
    return output.detach().clone()
