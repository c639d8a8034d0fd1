"""Frozen means frozen: no weight, no statistic, no dropout of the frozen part moves, whoever trains it."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, vit_b_16

import headstart
from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.errors import TrainingError
from headstart.freezing import FreezePolicy, freeze, policy_of, tensor_bytes, thaw


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1))
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        self.top = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.top(self.body(self.stem(x) + self.token).mean((2, 3)))


def small() -> Small:
    torch.manual_seed(2)
    return Small()


def train(model: nn.Module, steps: int = 3) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        model.train()
        model(torch.randn(4, 3, 16, 16, generator=generator)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_requires_grad_alone_lets_the_statistics_drift_and_freeze_does_not() -> None:
    plain, frozen = small(), small()
    for parameter in plain.stem.parameters():
        parameter.requires_grad_(False)
    policy = freeze(frozen, until="body")
    before, drift = policy.digests(frozen), plain.stem[1].running_mean.clone()

    train(plain)
    train(frozen)

    assert not torch.equal(plain.stem[1].running_mean, drift)
    assert policy.changed(frozen, before) == ()
    assert not torch.equal(frozen.body[0].weight, small().body[0].weight)  # the rest did learn


def test_what_comes_before_the_named_child_is_frozen_with_its_ancestors_own_tensors() -> None:
    model = small()

    policy = freeze(model, until="body.1")

    assert policy.modules == ("stem", "body.0")
    assert policy.partly == ("", "body")
    assert not model.token.requires_grad
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        "body.1.weight",
        "body.1.bias",
        "top.weight",
        "top.bias",
    ]
    assert "stem.1.running_var" in policy.tensors
    assert "body.1.running_var" not in policy.tensors


def test_frozen_dropout_is_off() -> None:
    model = small()
    freeze(model, until="body")
    model.train()
    x = torch.ones(2, 3, 8, 8)
    assert torch.equal(model.stem(x), model.stem(x))
    assert model.body.training


def test_the_freeze_survives_copies_pickles_and_a_new_home() -> None:
    model = small()
    policy = freeze(model, until="body")
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        other.train()
        assert policy_of(other) == policy
        assert not other.stem[1].training
        other.stem[1].train()
        assert not other.stem[1].training
    assert not nn.Sequential(model, nn.ReLU()).train()[0].stem[1].training


def test_a_copy_thaws_without_its_original() -> None:
    model = small()
    freeze(model)
    other = copy.deepcopy(model)
    thaw(other)
    model.train()
    other.train()
    assert other.stem[1].training
    assert not model.stem[1].training


def test_momentum_and_an_old_gradient_do_not_move_what_was_frozen_later() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(4, 3, 16, 16)).sum().backward()
    optimizer.step()
    model(torch.randn(4, 3, 16, 16)).sum().backward()
    policy = freeze(model, until="body")
    before = policy.digests(model)
    optimizer.step()
    assert policy.changed(model, before) == ()


def test_thaw_undoes_all_or_the_end_of_it() -> None:
    model = small()
    freeze(model)
    partly = thaw(model, until="body")
    assert partly == freeze(small(), until="body")
    assert not thaw(model).tensors
    model.train()
    assert all(part.training for part in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_tied_weight_stays_frozen_while_its_frozen_owner_does() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    freeze(model)
    thaw(model, until="1")
    assert not model[0].weight.requires_grad
    assert model[1].bias.requires_grad


def test_a_policy_of_names_freezes_another_copy_of_the_module() -> None:
    policy = freeze(small(), until="body.1")
    other = small()
    FreezePolicy(**{name: tuple(names) for name, names in policy.to_dict().items()}).apply(other)
    assert policy_of(other) == policy
    FreezePolicy().apply(other)
    assert not policy_of(other).tensors


def test_a_wrong_name_says_which_there_are_and_changes_nothing() -> None:
    model = small()
    with pytest.raises(TrainingError, match=r"bodi.*Did you mean body.*children are: stem, body, top"):
        freeze(model, until="bodi")
    assert not policy_of(model).tensors


@pytest.mark.slow
def test_a_resnet_is_frozen_before_layer4_and_a_vit_before_a_layer_deep_inside() -> None:
    network = resnet18()
    assert freeze(network, until="layer4").modules == ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
    transformer = vit_b_16(image_size=32)
    freeze(transformer, until="encoder.layers.encoder_layer_6")
    trained = [name for name, p in transformer.named_parameters() if p.requires_grad]
    assert trained[0] == "encoder.layers.encoder_layer_6.ln_1.weight"
    assert not transformer.class_token.requires_grad
    assert not transformer.encoder.pos_embedding.requires_grad


@pytest.mark.parametrize(
    ("row", "stage", "first"),
    [
        ("resnet18", "stage4", "layer4"),
        ("squeezenet1_1", "stage4", "features.11"),
        ("convnext_tiny", "stage2", "features.2"),
        ("mobilenet_v3_small", "stage7", "avgpool"),
        ("resnet18", "stem", "conv1"),
        ("cifar_resnet20", "layer2.1", "layer2.1"),
    ],
)
def test_a_backbones_stage_begins_after_the_stage_before_it_and_the_rest_trains(
    row: str, stage: str, first: str
) -> None:
    with torch.device("meta"):
        backbone = build_backbone(SPECS[row])

    freeze(backbone, until=stage)

    names = [name for name, _ in backbone.network.named_parameters()]
    trained = [name for name, p in backbone.network.named_parameters() if p.requires_grad]
    following = [name for name in names if name.startswith(first + ".")] or [trained[0]]
    assert trained[0] == following[0]
    assert trained == names[names.index(trained[0]) :]


def test_a_module_frozen_before_it_enters_the_loop_stays_frozen_bit_for_bit() -> None:
    model = small()
    policy = headstart.freeze(model, until="body")
    before = policy.digests(model)
    x, y = torch.randn(12, 3, 16, 16), torch.arange(12) % 2
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=4)
    loop = headstart.StepByStep(model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters()))
    loop.set_loaders(loader, loader)

    loop.train(2)

    assert policy.changed(model, before) == ()
    assert not torch.equal(model.body[1].running_mean, torch.zeros(4))


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "module"), [("stage4", "layer4"), ("stage1", "layer1")])
def test_a_stage_and_the_path_of_its_module_freeze_the_same(stage: str, module: str) -> None:
    backbone, other = build_backbone(SPECS["resnet18"]), build_backbone(SPECS["resnet18"])

    assert freeze(backbone, until=stage) == freeze(other, until=module)
    assert thaw(backbone, until=stage) == thaw(other, until=module)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
        torch.tensor([1.5]).expand(1),
        torch.tensor(2.0),
        torch.zeros(0).as_strided((0,), (0,)),
        torch.tensor([1.0]).as_strided((1,), (0,)),
        torch.ones(3, dtype=torch.bfloat16),
        torch.tensor([True, False]),
    ],
)
def test_the_bytes_of_a_tensor_do_not_depend_on_its_strides(tensor: torch.Tensor) -> None:
    assert bytes(tensor_bytes(tensor)) == bytes(tensor.clone(memory_format=torch.contiguous_format).untyped_storage())
