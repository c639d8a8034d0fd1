"""Weights tried after a training: the running average by its formula, the line between two ends, the choice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from headstart.errors import TrainingError
from headstart.finetune.averaging import Candidate, best_of, compare_flips, wise_of
from headstart.finetune.result import HeldOut
from headstart.training.records import StepRecord
from headstart.training.stepbystep import StepByStep


def small_loop(decay: float | None) -> StepByStep:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    loop = StepByStep(model, nn.MSELoss(), torch.optim.SGD(model.parameters(), 0.1), progress=False)
    x = torch.randn(12, 2)
    loop.set_loaders([(x[i : i + 4], x[i : i + 4, :1]) for i in (0, 4, 8)])
    if decay is not None:
        loop.set_averaging(decay)
    return loop


def test_the_running_average_follows_its_formula() -> None:
    loop = small_loop(0.7)
    expected = None
    for record in loop.steps(3, seed=1):
        if not isinstance(record, StepRecord):
            continue
        weight = loop.model.weight.detach().double().numpy().copy()
        expected = weight if expected is None else 0.7 * expected + 0.3 * weight
    assert loop.averaged is not None
    np.testing.assert_allclose(loop.averaged.module.weight.detach().numpy(), expected, rtol=1e-5)
    assert not torch.equal(loop.averaged.module.weight, loop.model.weight)


def test_averaging_changes_nothing_of_the_training_and_is_in_the_checkpoint(tmp_path) -> None:
    plain, averaged = small_loop(None), small_loop(0.9)
    for loop in (plain, averaged):
        loop.train(2, seed=3)
    assert torch.equal(plain.model.weight, averaged.model.weight)
    averaged.save_checkpoint(tmp_path / "c.pth")
    again = small_loop(0.9)
    again.load_checkpoint(tmp_path / "c.pth")
    assert again.averaged is not None
    assert averaged.averaged is not None
    for loop in (averaged, again):
        loop.train(1)
    assert torch.equal(again.averaged.module.weight, averaged.averaged.module.weight)
    assert int(again.averaged.n_averaged) == 9


def test_a_decay_of_one_is_refused() -> None:
    with pytest.raises(TrainingError, match="decay"):
        small_loop(1.0)


def test_weights_between_two_ends_lie_on_the_line_and_counters_are_the_last_ones() -> None:
    start = {"w": torch.tensor([0.0, 10.0]), "n": torch.tensor(3)}
    last = {"w": torch.tensor([1.0, 0.0]), "n": torch.tensor(9)}
    found = {one.name: one.state for one in wise_of(nn.Identity(), start, last)}
    assert torch.allclose(found["wise α=0.2"]["w"], torch.tensor([0.2, 8.0]))
    assert torch.allclose(found["wise α=0.8"]["w"], torch.tensor([0.8, 2.0]))
    assert all(int(state["n"]) == 9 for state in found.values())


def held(scores: list[list[float]]) -> HeldOut:
    return HeldOut.of(np.array(scores), np.zeros(len(scores), dtype=np.int64))


def test_the_lowest_log_loss_is_taken_and_the_first_of_equals() -> None:
    model = nn.Linear(1, 1, bias=False)
    answers = {1.0: [[0.0, 1.0], [1.0, 0.0]], 2.0: [[3.0, 0.0], [1.0, 0.0]], 3.0: [[3.0, 0.0], [1.0, 0.0]]}
    candidates = [Candidate(f"w={w:g}", {"weight": torch.tensor([[w]])}) for w in answers]
    state, averages, best = best_of(model, candidates, lambda: held(answers[model.weight.item()]))
    assert float(state["weight"]) == 2.0
    assert [one.taken for one in averages] == [False, True, False]
    assert best.accuracy == 1.0


def test_flips_are_used_for_a_lower_log_loss_only_and_the_mean_has_its_own_temperature() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1])
    plain = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.4], [0.5, 0.0], [1.0, 0.0], [0.0, 3.0]])
    other = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.1], [0.2, 0.0], [0.4, 0.0]])
    variants, held_out, sentence = compare_flips(HeldOut.of(plain, labels), HeldOut.of(other, labels))
    expected = HeldOut.of(np.array([[1.5, 0], [0, 1], [0.5, 0.2], [0.25, 0.55], [0.6, 0], [0.2, 1.5]]), labels)
    np.testing.assert_allclose(held_out.scores, expected.scores)
    assert held_out.temperature == expected.temperature != HeldOut.of(plain, labels).temperature
    assert [(one.accuracy, one.taken) for one in variants] == [(4 / 6, False), (1.0, True)]
    assert variants[1].log_loss == held_out.log_loss < variants[0].log_loss
    assert "Flip TTA is used" in sentence
    assert "accuracy 66.7\u00a0% and 100.0\u00a0%" in sentence

    variants, held_out, sentence = compare_flips(HeldOut.of(plain, labels), HeldOut.of(-plain, labels))
    assert variants[1].log_loss == pytest.approx(np.log(2))
    assert [one.taken for one in variants] == [True, False]
    np.testing.assert_array_equal(held_out.scores, plain)
    assert "Flip TTA is not used" in sentence
    same = HeldOut.of(plain, labels)
    assert not compare_flips(same, same)[0][1].taken  # equals are not worth a second pass
