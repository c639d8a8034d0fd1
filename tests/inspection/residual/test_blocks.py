"""The residual analysis: shares and intervals in closed form, blocks removed as by hand, no trace left."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
import torchvision
from torch import Tensor, nn

from headstart.backbones.backbone import load_backbone
from headstart.backbones.models.cifar_resnet import cifar_resnet20
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import inspected_model
from headstart.inspection.residual.blocks import paired_interval, residual_blocks


class NormalisedBlock(nn.Module):
    """x + W relu(norm(x)), He's initialisation: De and Smith's block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.weight = nn.Conv2d(width, width, 1, bias=False)
        nn.init.normal_(self.weight.weight, std=math.sqrt(2 / width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight(torch.relu(self.norm(x)))


def images_of(count: int, side: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
def test_the_share_of_normalised_branches_at_initialisation_is_one_over_the_root_of_l_plus_1():
    torch.manual_seed(0)
    width, depth = 256, 16
    network = nn.Sequential(nn.Identity(), *[NormalisedBlock(width) for _ in range(depth)]).eval()
    inputs = torch.randn(512, width, 1, 1)
    recalibrate_batch_norm(network, lambda: [inputs])
    found = residual_blocks(nn.Sequential(network, nn.Flatten()).eval(), inputs, ablation=False)
    for number, block in enumerate(found.blocks, start=1):
        assert block.share == pytest.approx(1 / math.sqrt(number + 1), abs=0.03)
        assert abs(block.cosine) < 0.1


@pytest.mark.slow
def test_share_cosine_and_their_norms_equal_what_is_computed_block_by_block():
    torch.manual_seed(1)
    network = load_backbone("random").network
    pixels = images_of(5, 64)
    found = residual_blocks(network, pixels, ablation=False).blocks[2]
    with torch.no_grad():
        x = network.stage2(network.stage1(network.stem(pixels)))
        block = network.stage3
        branch = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x))))).flatten(1)
        shortcut = block.shortcut(x).flatten(1)
    share = branch.norm(dim=1).mean() / (branch + shortcut).norm(dim=1).mean()
    assert found.share == pytest.approx(float(share), rel=1e-5)
    cosine = torch.cosine_similarity(branch, shortcut).mean()
    assert found.cosine == pytest.approx(float(cosine), abs=1e-5)
    assert found.projection
    assert found.share_low < found.share < found.share_high


@pytest.mark.slow
def test_leaving_a_block_out_is_the_network_whose_branch_was_cut_by_hand():
    torch.manual_seed(3)
    network = torchvision.models.resnet18(num_classes=5).eval()  # adds in place, and has ReLUs in place
    pixels = images_of(33, 32)  # one more than a batch
    names = tuple(map(str, range(33)))
    labels = torch.randint(0, 5, (33,))
    found = residual_blocks(network, InspectedImages(pixels, names, labels=labels, classes=tuple("abcde"))).blocks
    for number, block in ((1, "layer1"), (7, "layer4")):
        cut = copy.deepcopy(network)
        norm = getattr(cut, block)[number % 2].bn2
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
        with torch.no_grad():
            expected = (cut(pixels).argmax(1) == labels).double().mean()
        assert found[number].accuracy == pytest.approx(float(expected))


@pytest.mark.slow
def test_a_block_that_was_initialised_to_zero_is_the_identity_and_costs_nothing():
    network = cifar_resnet20().eval()
    nn.init.zeros_(network.layer2[1].bn2.weight)
    block = residual_blocks(network, images_of(6)).blocks[4]
    assert (block.name, block.share, block.gradient, block.change) == ("layer2.1", 0.0, 0.0, 0.0)
    assert block.change_low < 0 < block.change_high


@pytest.mark.slow
def test_labels_are_brought_to_the_order_of_the_models_own_classes(small_classifier):
    model = small_classifier(True)
    pixels = images_of(12, 96)
    predictions = inspected_model(model).logits(pixels).argmax(1)
    theirs = ("wasps", "bees", "ants")
    labels = torch.tensor([theirs.index(model.classes[i]) for i in predictions])
    images = InspectedImages(pixels, tuple(map(str, range(12))), labels=labels, classes=theirs)
    found = residual_blocks(model, images)
    assert found.accuracy == 1.0
    assert found.compared_with == "labels"
    unknown = InspectedImages(pixels, images.names, labels=labels, classes=("a", "b", "c"))
    assert residual_blocks(model, unknown, ablation=False).compared_with == "own predictions"


def test_a_backbone_without_a_head_has_shares_only():
    found = residual_blocks(load_backbone("random"), images_of(3, 64))
    assert found.accuracy is None
    assert {block.gradient for block in found.blocks} == {block.change for block in found.blocks} == {None}
    assert found.interpretation
    assert len(found.figure().axes) == 2


def test_a_module_can_name_which_operand_is_its_shortcut():
    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.left(x) + self.right(x)

    network = nn.Sequential(Twin(), nn.Flatten())
    pixels = images_of(3, 4)
    assert residual_blocks(network, pixels).blocks == ()
    network[0].residual_shortcut = 1
    block = residual_blocks(network, pixels, ablation=False).blocks[0]
    with torch.no_grad():
        left, right = network[0].left(pixels).flatten(1), network[0].right(pixels).flatten(1)
    assert block.name == "0"
    assert block.share == pytest.approx(float(left.norm(dim=1).mean() / (left + right).norm(dim=1).mean()), rel=1e-5)


def test_a_network_without_blocks_says_so():
    found = residual_blocks(torchvision.models.squeezenet1_0(num_classes=3), images_of(2, 64))
    assert "no residual blocks" in found.interpretation[0]
    assert found.tables == ()
    json.dumps(found.to_dict())


def test_the_interval_of_a_change_is_agrestis_and_mins():
    change = paired_interval(12, 3, 100)
    assert change.value == pytest.approx(-0.09)
    # by hand: cells 12.5 and 3.5 of 102; −9/102 = −0.08824, √(16 − 81/102)/102 = 0.03823
    assert change.low == pytest.approx(-0.08824 - 1.96 * 0.03823, abs=1e-4)
    assert change.high == pytest.approx(-0.08824 + 1.96 * 0.03823, abs=1e-4)
    assert paired_interval(0, 0, 50).low < 0


@pytest.mark.slow
def test_it_leaves_no_trace_also_when_it_fails():
    network = cifar_resnet20().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pixels = images_of(3)
    residual_blocks(network, pixels)
    with pytest.raises(RuntimeError):
        residual_blocks(network, torch.randn(2, 4, 8, 8))
    assert all(module.training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert pixels.grad is None
    assert not pixels.requires_grad


@pytest.mark.slow
def test_on_real_images_a_shallow_network_needs_every_block_and_a_deep_one_does_not(test_data):
    from headstart.data.image_set import scan
    from headstart.data.images import open_image

    samples = scan(test_data / "cifar10_sample").samples[::2]
    classes = tuple(sorted({sample.label for sample in samples}))
    accuracies = {}
    for layers in (20, 56):
        weights = test_data / "weights" / f"cifar10_resnet{layers}.safetensors"
        backbone = load_backbone(f"cifar_resnet{layers}", weights=str(weights))
        prepared = torch.stack([backbone.preprocess.prepare(open_image(sample.path).rgb) for sample in samples])
        labels = torch.tensor([classes.index(sample.label) for sample in samples])
        pixels = backbone.preprocess.normalise(prepared)
        images = InspectedImages(pixels, tuple(s.name for s in samples), prepared, labels, classes)
        found = residual_blocks(backbone, images)
        assert found.compared_with == "labels"
        accuracies[layers] = (found.accuracy, max(block.accuracy for block in found.blocks))
        worst = min(found.blocks, key=lambda block: block.change)
        assert worst.projection  # Veit et al.: down-sampling blocks matter most
    assert accuracies[20][0] > 0.75
    assert accuracies[20][1] < accuracies[20][0] - 0.04
    assert accuracies[56][1] > accuracies[56][0] - 0.02
