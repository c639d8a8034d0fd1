"""predict_proba and correct against what each network means by its outputs, however it ends and whatever the loss."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from headstart.errors import TrainingError
from headstart.training.output_kind import LOG_PROBABILITIES, LOGITS, PROBABILITIES, output_kind, watched_outputs
from headstart.training.stepbystep import StepByStep

X = torch.randn(64, 3, generator=torch.Generator().manual_seed(5))
Y = (X[:, :1] > 0).float()


class Ends(nn.Module):
    """A linear layer and a function of its output."""

    def __init__(self, end: Callable[[Tensor], Tensor], outputs: int = 1) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.linear, self.end = nn.Linear(3, outputs), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.linear(x))


def loop(model: nn.Module, loss_fn: Any) -> StepByStep:
    return StepByStep(model, loss_fn, SGD(model.parameters(), lr=0.1))


def expected(outputs: int = 1) -> np.ndarray:
    z = Ends(lambda z: z, outputs)(X).detach()
    return (z.sigmoid() if outputs == 1 else z.softmax(1)).numpy()


def counts(proba: np.ndarray, threshold: float = 0.5) -> list[list[int]]:
    answers, labels = proba.reshape(-1) > threshold, Y.numpy().reshape(-1)
    return [[int(((answers == c) & (labels == c)).sum()), int((labels == c).sum())] for c in (0, 1)]


def compiled(end: Callable[[Tensor], Tensor]) -> nn.Module:
    return torch.compile(Ends(end), backend="eager")  # type: ignore[return-value]


def compiled_in_place(end: Callable[[Tensor], Tensor]) -> nn.Module:
    model = Ends(end)
    model.compile(backend="eager")
    return model


def nested(*ends: nn.Module) -> nn.Module:
    inner = Ends(lambda z: z)
    return nn.Sequential(nn.Sequential(inner), nn.Sequential(nn.Identity(), nn.Sequential(*ends)))


SIGMOIDS: dict[str, nn.Module] = {
    "nn.Sigmoid": nested(nn.Sigmoid()),
    "deep": nested(nn.Sigmoid(), nn.Dropout(), nn.Identity(), nn.Flatten()),
    "torch.sigmoid": Ends(torch.sigmoid),
    "method": Ends(lambda z: z.sigmoid().clamp(1e-7, 1 - 1e-7)),
    "in place": Ends(lambda z: z.clone().sigmoid_()),
    "F.sigmoid": Ends(F.sigmoid),
    "expit": Ends(torch.special.expit),
    "squeezed": Ends(lambda z: torch.sigmoid(z).squeeze(1)),
    "squeezed first": Ends(lambda z: z[:, 0].sigmoid().double()),
    "exp of logsigmoid": Ends(lambda z: F.logsigmoid(z).exp()),
    "parallel": nn.DataParallel(Ends(torch.sigmoid)),
    "compiled": compiled(torch.sigmoid),
    "compiled in place": compiled_in_place(torch.sigmoid),
}


@pytest.mark.parametrize("name", SIGMOIDS)
@pytest.mark.parametrize("loss_fn", [nn.BCELoss(), nn.MSELoss(), None, lambda p, y: F.binary_cross_entropy(p, y)])
def test_a_sigmoid_at_the_end_is_not_applied_again(name: str, loss_fn: Any) -> None:
    sbs = loop(SIGMOIDS[name], loss_fn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.allclose(sbs.predict_proba(X).reshape(-1, 1), expected(), atol=1e-6)
        assert sbs.correct(X, Y).tolist() == counts(expected())
        assert sbs.correct(X, Y, threshold=0.7).tolist() == counts(expected(), 0.7)


def test_a_sigmoid_that_is_written_out_is_known_by_its_loss() -> None:
    written = Ends(lambda z: 1 / (1 + torch.exp(-z)))
    for loss_fn in (nn.BCELoss(), F.binary_cross_entropy, partial(F.binary_cross_entropy, reduction="sum")):
        assert np.allclose(loop(written, loss_fn).predict_proba(X), expected(), atol=1e-6)
    for loss_fn in (nn.MSELoss(), None, nn.BCEWithLogitsLoss()):  # never in silence
        with pytest.warns(UserWarning, match="all outputs lie between 0 and 1"):
            loop(written, loss_fn).correct(X, Y)


@pytest.mark.parametrize(
    "end",
    [
        lambda z: z,
        lambda z: torch.sigmoid(z) * 0 + z,
        lambda z: torch.sigmoid(z).logit(),
        lambda z: z * torch.sigmoid(z),
    ],
)
@pytest.mark.parametrize("loss_fn", [nn.BCEWithLogitsLoss(), F.binary_cross_entropy_with_logits, None, nn.MSELoss()])
def test_logits_get_their_sigmoid_also_where_one_is_inside_the_network(end: Any, loss_fn: Any) -> None:
    model = Ends(end)
    proba = model(X).detach().sigmoid().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.allclose(loop(model, loss_fn).predict_proba(X), proba, atol=1e-6)
        assert loop(model, loss_fn).correct(X, Y).tolist() == counts(proba)


def test_a_loss_that_applies_the_sigmoid_itself_keeps_logits_logits() -> None:
    class Own(nn.BCELoss):
        def forward(self, input: Tensor, target: Tensor) -> Tensor:
            return super().forward(torch.sigmoid(input), target)

    assert np.allclose(loop(Ends(lambda z: z), Own()).predict_proba(X), expected(), atol=1e-6)


SEVERAL: dict[str, tuple[Callable[[Tensor], Tensor], Any]] = {
    "logits": (lambda z: z, nn.CrossEntropyLoss()),
    "softmax": (lambda z: F.softmax(z, 1), nn.MSELoss()),
    "nn.Softmax": (nn.Softmax(1), None),
    "softmax, log in the loss": (lambda z: z.softmax(1), lambda p, y: F.nll_loss(p.log(), y)),
    "written out": (lambda z: z.exp() / z.exp().sum(1, keepdim=True), None),
    "log-softmax": (nn.LogSoftmax(1), nn.NLLLoss()),
    "log-softmax function": (lambda z: F.log_softmax(z, 1), F.nll_loss),
    "log-softmax written out": (lambda z: z - z.logsumexp(1, keepdim=True), nn.NLLLoss()),
    "log of softmax": (lambda z: torch.log(torch.softmax(z, 1)), nn.NLLLoss()),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_classes_have_the_probabilities_that_the_network_means(name: str) -> None:
    end, loss_fn = SEVERAL[name]
    sbs = loop(Ends(end, 4), loss_fn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.allclose(sbs.predict_proba(X), expected(4), atol=1e-5)
    labels = torch.from_numpy(expected(4)).argmax(1)
    assert sbs.correct(X, labels)[:, 0].sum() == 64
    assert sbs.correct(X, F.one_hot(labels, 4).float())[:, 0].sum() == 64


@pytest.mark.parametrize(
    ("end", "outputs", "loss_fn", "words"),
    [
        (nn.Sigmoid(), 1, nn.BCEWithLogitsLoss(), "return the logits"),
        (nn.Softmax(1), 4, nn.CrossEntropyLoss(), "return the logits"),
        (nn.Softmax(1), 4, nn.NLLLoss(), "CrossEntropyLoss, or end the network in LogSoftmax"),
        (nn.LogSoftmax(1), 4, nn.BCELoss(), "BCEWithLogitsLoss"),
        (lambda z: z, 4, nn.NLLLoss(), "CrossEntropyLoss, or end the network in LogSoftmax"),
    ],
)
def test_a_loss_that_takes_something_else_gives_a_warning_and_the_networks_own_probabilities(
    end: Any, outputs: int, loss_fn: Any, words: str
) -> None:
    with pytest.warns(UserWarning, match=words):
        proba = loop(Ends(end, outputs), loss_fn).predict_proba(X)
    assert np.allclose(proba, expected(outputs), atol=1e-5)


def test_several_labels_have_a_probability_each_and_no_count_by_class() -> None:
    z = Ends(lambda z: z, 4)(X).detach()
    for end, loss_fn in ((lambda z: z, nn.BCEWithLogitsLoss()), (torch.sigmoid, nn.BCELoss())):
        sbs = loop(Ends(end, 4), loss_fn)
        assert np.allclose(sbs.predict_proba(X), z.sigmoid().numpy(), atol=1e-6)
        with pytest.raises(TrainingError, match="4 labels, each trained on its own"):
            sbs.correct(X, (z > 0).float())


def test_one_sample_and_none_are_decided_as_many_are() -> None:
    sbs = loop(Ends(torch.sigmoid), nn.MSELoss())
    assert np.allclose(sbs.predict_proba(X[:1]), expected()[:1], atol=1e-6)
    assert loop(Ends(lambda z: z * 0 + 0.3), nn.BCEWithLogitsLoss()).predict_proba(X[:1]).item() == pytest.approx(
        torch.sigmoid(torch.tensor(0.3)).item()
    )
    assert sbs.predict_proba(X[:0]).shape == (0, 1)


def test_the_kind_is_that_of_the_last_function_and_is_gone_after_another() -> None:
    z = torch.randn(9, 1)
    with watched_outputs():
        kinds = [output_kind(value, None) for value in (z.sigmoid(), F.logsigmoid(z).view(-1), z.sigmoid() + 2, z - 9)]
        p = torch.sigmoid(z)
        p.mul_(7).sub_(20)
    assert kinds == [PROBABILITIES, LOG_PROBABILITIES, LOGITS, LOGITS]
    assert output_kind(p, None) == LOGITS
