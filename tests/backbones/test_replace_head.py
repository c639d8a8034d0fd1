"""Classification heads: what belongs to them, and new ones; test_catalogue.py replaces that of every backbone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.backbones.backbone import Backbone, build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.replace_head import in_classification_head, replace_head
from headstart.errors import BackboneError


def test_a_tensor_belongs_to_the_head_by_the_name_of_its_module() -> None:
    spec = SPECS["inception_v3"]  # heads fc and AuxLogits
    names = ("fc.weight", "AuxLogits.conv0.conv.weight", "fc2.weight", "Mixed_5b.branch1x1.conv.weight")
    assert [in_classification_head(name, spec) for name in names] == [True, True, False, False]


@pytest.mark.slow
def test_inception_has_two_outputs_while_training_and_both_heads_are_replaced() -> None:
    with torch.device("meta"):
        network = replace_head(build_backbone(SPECS["inception_v3"]).network, SPECS["inception_v3"], 7)
        network.train()
        logits, auxiliary = network(torch.zeros(2, 3, 299, 299))

    assert logits.shape == auxiliary.shape == (2, 7)


def test_a_head_without_classes_is_refused() -> None:
    with pytest.raises(BackboneError, match="at least one class"):
        replace_head(nn.Linear(1, 1), SPECS["resnet18"], 0)


def test_a_users_network_gets_a_new_head_where_it_had_one() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    backbone = Backbone.from_module(network, preprocess={"size": 32})

    replace_head(backbone.network, backbone.spec, 7)

    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert network[0](torch.zeros(2, 3, 32, 32)).shape[1] == 4


def test_a_users_network_without_a_head_is_refused() -> None:
    backbone = Backbone.from_module(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), preprocess={"size": 32})
    with pytest.raises(BackboneError, match="a network with a classification head"):
        replace_head(backbone.network, backbone.spec, 2)
