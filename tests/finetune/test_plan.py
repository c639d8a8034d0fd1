"""The plan of a fine-tuning comes back from JSON as it was."""

from __future__ import annotations

import json

import numpy as np

from headstart.finetune.cost import Cost
from headstart.finetune.judgement import Judgement, judge
from headstart.finetune.plan import FineTunePlan, Trial


def judgement() -> Judgement:
    labels = np.arange(12) % 2
    scores = np.eye(2)[labels] + 0.1 * np.arange(24).reshape(12, 2)
    return judge(scores, {"last-stage at 0.02": 2 * scores}, labels=labels)


def test_a_plan_comes_back_from_json() -> None:
    cost = Cost(once=1.0, epoch=2.0, after=3.0, epochs=4, disk=5, memory=6)
    plan = FineTunePlan(
        strategy="last-stage",
        epochs=4,
        lr=0.02,
        halvings=1,
        cost=cost,
        reasons=("because",),
        judgement=judgement(),
    )

    values = json.loads(json.dumps(plan.to_dict()))

    assert values["cost"]["seconds"] == 1.0 + 4 * 2.0 + 3.0
    assert FineTunePlan.from_dict(values) == plan


def test_a_trial_is_named_by_its_strategy_and_rate() -> None:
    assert str(Trial("last-stage", 0.003)) == "last-stage at 0.003"
    assert str(Trial("last-stage", 0.0)) == "last-stage"  # its rate is found by a range test
