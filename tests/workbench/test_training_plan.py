"""The plan before the long part: what is cached, how long the rest takes, which stages are compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.workbench.session import Session
from headstart.workbench.starting_point import StartingPoint
from headstart.workbench.training_plan import layer_choices, plan_rows


@pytest.mark.slow
def test_the_plan_counts_what_is_cached(photos: Path) -> None:
    session, start = Session(), StartingPoint(load_backbone("embedded"), "auto: no network")
    dataset = session.dataset(photos)

    first = session.feature_job(dataset, start.backbone)
    rows = plan_rows(session, start, first)
    session.features(first)
    again = plan_rows(session, start, session.feature_job(dataset, start.backbone))

    assert rows["cached"] == "features of 0 of 48 images, 48 to compute"
    assert again["cached"] == "features of 48 of 48 images, 0 to compute"
    assert again["time"] == "seconds: all features are cached"
    assert rows["backbone"].endswith("auto: no network")
    assert rows["head"] == "ridge on stage2, stage3, stage4, each scaled to unit length"


@pytest.mark.slow
def test_untrained_weights_are_called_so(photos: Path) -> None:
    session, start = Session(), StartingPoint(load_backbone("random"))
    rows = plan_rows(session, start, session.feature_job(session.dataset(photos), start.backbone))
    assert rows["weights"].startswith("untrained (random weights): ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("norm", "said"),
    [
        (nn.BatchNorm2d, "the whole backbone, weights and batch-norm statistics; only the head is trained"),
        (nn.Identity, "the whole backbone; only the head is trained"),
    ],
)
def test_statistics_are_frozen_only_where_there_are_any(photos: Path, norm: type[nn.Module], said: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), norm(4), nn.ReLU())
    backbone = Backbone.from_module(network, preprocess=load_backbone("embedded").preprocess, stages={"2": "2"})
    session = Session()
    assert (
        plan_rows(session, StartingPoint(backbone), session.feature_job(session.dataset(photos), backbone))["frozen"]
        == said
    )


def test_the_asked_stages_come_first_and_no_set_of_stages_twice() -> None:
    choices = layer_choices(load_backbone("embedded"), "auto")
    assert next(iter(choices)) == "auto"
    assert len(set(choices.values())) == len(choices)
    assert "last-three" not in choices  # the same stages as auto
