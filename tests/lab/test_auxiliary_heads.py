"""Networks with two outputs: their features, and one output where there is no auxiliary head."""

from __future__ import annotations

import pytest

from headstart.lab import auxiliary_heads


@pytest.mark.slow
def test_features_come_from_a_network_with_two_outputs() -> None:
    outcome = auxiliary_heads.run()

    assert outcome.holds
    assert outcome.number("outputs in train mode").value == 2
    assert outcome.number("features per image").value == 2048
    assert outcome.number("change of the features with another auxiliary head").value == 0
    assert dict(outcome.tables[0].rows)["stage3"] == 768


@pytest.mark.slow
def test_a_network_with_one_output_fails_the_claim() -> None:
    one = auxiliary_heads.run(backbone="resnet18", size=64)

    assert not one.holds
    assert one.verdict == "The claim does not hold here: outputs in train mode."
