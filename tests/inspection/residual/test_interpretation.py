"""What the residual analysis says in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headstart.inspection.residual.block_measurements import BlockMeasurement
from headstart.inspection.residual.blocks import ResidualAnalysis
from headstart.inspection.residual.interpretation import interpret_ablation, interpret_gradients, interpret_shares

BLOCK = BlockMeasurement(
    name="stage1",
    projection=False,
    share=0.5,
    share_low=0.4,
    share_high=0.6,
    cosine=0.1,
    gradient=0.5,
    accuracy=0.9,
    change=0.0,
    change_low=0.0,
    change_high=0.0,
)


@pytest.mark.parametrize("change", [0.0, 0.02])
def test_where_no_block_is_needed_none_is_named(change):
    block = replace(BLOCK, change=change, change_low=change, change_high=change)
    blocks = (block, replace(block, name="stage2"))
    found = ResidualAnalysis("net", 40, blocks, accuracy=0.9, compared_with="labels")
    assert found.interpretation[0] == "Removing any single block costs nothing on these images."
    fallen = replace(found, blocks=(block, replace(block, name="stage2", change=-0.001, change_low=-0.002)))
    assert found.interpretation[1] == fallen.interpretation[1]
    assert fallen.interpretation[0].startswith("Without stage2 the accuracy falls by 0.1 points")


def test_removable_needed_and_undecided_blocks_are_counted():
    needed = replace(BLOCK, name="needed", change=-0.3, change_low=-0.4, change_high=-0.2)
    undecided = replace(BLOCK, name="undecided", change=-0.02, change_low=-0.1, change_high=0.06)
    said = interpret_ablation([BLOCK, needed, undecided], "accuracy")
    assert said[0].startswith("Without needed the accuracy falls by 30.0 points")
    assert said[1].startswith("1 of 3 blocks can each be removed for less than 3 points")
    assert "stage1." in said[1]
    assert said[2] == "1 block cannot be judged with so few images."
    also = replace(needed, name="also")
    equal = interpret_ablation([needed, BLOCK, also], "accuracy")[0]
    assert (
        equal == "Without needed the accuracy falls by 30.0 points, as without also, and less without any other block."
    )
    assert interpret_ablation([needed], "accuracy")[1] == "No block can be removed for reliably less than 3 points."
    assert interpret_ablation([replace(BLOCK, change=None)], "accuracy") == ()


def test_shares_are_compared_where_the_shape_changes_and_elsewhere():
    wide = replace(BLOCK, name="stage2", projection=True, share=0.9)
    assert "contribute more than the others" in interpret_shares([BLOCK, wide])[0]
    assert "do not contribute more" in interpret_shares([BLOCK, replace(wide, share=0.2)])[0]
    assert interpret_shares([BLOCK])[0].startswith("The branch makes up 50.0\u00a0% of the output of stage1")


def test_branches_without_gradient_are_named():
    assert interpret_gradients([replace(BLOCK, gradient=None)]) == ()
    assert "at least 50.0\u00a0%" in interpret_gradients([BLOCK])[0]
    idle = interpret_gradients([BLOCK, replace(BLOCK, name="stage2", gradient=0.05)])[0]
    assert "1 branch (stage2)" in idle
