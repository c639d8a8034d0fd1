"""backbones: every entry states its licence."""

from __future__ import annotations

from headstart.workbench.backbones import list_backbones


def test_every_row_of_the_catalogue_states_its_licence() -> None:
    rows = list_backbones()
    assert {"resnet18", "random", "cifar_resnet20"} <= {row["name"] for row in rows}
    assert all(row["licence"] and row["origin"] for row in rows)
