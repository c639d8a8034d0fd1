"""The residual lens: blocks found in any code, shares and gradients in closed form, lesions as cut by hand."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from headstart.backbones.backbone import load_backbone
from headstart.backbones.models.cifar_resnet import cifar_resnet20
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import DataError
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import inspected_model
from headstart.inspection.residual.blocks import BlockMeasurement, ResidualAnalysis, paired_interval, residual_blocks
from headstart.inspection.residual.change import compare_residuals
from headstart.inspection.residual.residual_sums import find_junctions


class NormalisedBlock(nn.Module):
    """x + W relu(norm(x)), He's initialisation: De and Smith's block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.weight = nn.Conv2d(width, width, 1, bias=False)
        nn.init.normal_(self.weight.weight, std=math.sqrt(2 / width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight(torch.relu(self.norm(x)))


class LinearBlock(nn.Module):
    """x + A x, so that every gradient is known."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.map(x)


def pictures(count: int, side: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def junctions_of(network: nn.Module, side: int = 64) -> list[str]:
    pixels = pictures(2, side)
    with torch.no_grad():
        return [one.name for one in find_junctions(network.eval(), network, pixels)]


@pytest.mark.parametrize(
    ("build", "expected", "first", "last"),
    [
        (torchvision.models.resnet18, 8, "layer1.0", "layer4.1"),
        (torchvision.models.resnet50, 16, "layer1.0", "layer4.2"),
        (torchvision.models.mobilenet_v2, 10, "features.3", "features.16"),
        (torchvision.models.mobilenet_v3_small, 6, "features.3", "features.11"),
        (torchvision.models.convnext_tiny, 18, "features.1.0", "features.7.2"),
        (lambda: timm.create_model("resnetv2_50"), 16, "stages.0.blocks.0", "stages.3.blocks.2"),
        (lambda: timm.create_model("convnext_atto"), 12, "stages.0.blocks.0", "stages.3.blocks.1"),
        (lambda: timm.create_model("vit_tiny_patch16_224", img_size=64), 24, "blocks.0 #1", "blocks.11 #2"),
        (cifar_resnet20, 9, "layer1.0", "layer3.2"),
        (lambda: load_backbone("random").network, 4, "stage1", "stage4"),
        (torchvision.models.squeezenet1_0, 0, "", ""),
        (torchvision.models.densenet121, 0, "", ""),
    ],
)
def test_the_blocks_of_many_kinds_of_networks_are_found(build, expected, first, last):
    names = junctions_of(build())
    assert len(names) == expected == len(set(names))
    assert (names[:1], names[-1:]) == (([first], [last]) if expected else ([], []))


def test_the_share_of_normalised_branches_at_initialisation_is_one_over_the_root_of_l_plus_1():
    torch.manual_seed(0)
    width, depth = 256, 16
    network = nn.Sequential(nn.Identity(), *[NormalisedBlock(width) for _ in range(depth)]).eval()
    inputs = torch.randn(512, width, 1, 1)
    recalibrate_batch_norm(network, lambda: [inputs])
    lens = residual_blocks(nn.Sequential(network, nn.Flatten()).eval(), inputs, lesions=False)
    for place, block in enumerate(lens.blocks, start=1):
        assert block.share == pytest.approx(1 / math.sqrt(place + 1), abs=0.03)
        assert abs(block.cosine) < 0.1


def test_share_cosine_and_their_norms_equal_what_is_computed_block_by_block():
    torch.manual_seed(1)
    network = load_backbone("random").network
    pixels = pictures(5, 64)
    found = residual_blocks(network, pixels, lesions=False).blocks[2]
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


def test_gradients_through_branch_and_shortcut_are_those_of_linear_blocks():
    torch.manual_seed(2)
    network = nn.Sequential(LinearBlock(3), LinearBlock(3), nn.Flatten(), nn.Linear(3, 2, bias=False)).eval()
    pixels = torch.randn(4, 3, 1, 1)
    labels = torch.tensor([0, 1, 1, 0])
    images = InspectedImages(pixels, tuple("abcd"), labels=labels, classes=("x", "y"))
    found = residual_blocks(network, images, lesions=False).blocks
    first, second = (network[i].map.weight.detach()[:, :, 0, 0] for i in (0, 1))
    arriving = network[3].weight.detach()[labels]  # n×3: the gradient of each image's score behind the second block
    for block, weight, gradient in ((found[1], second, arriving), (found[0], first, arriving + arriving @ second)):
        branch, shortcut = (gradient @ weight).norm(dim=1).sum(), gradient.norm(dim=1).sum()
        assert block.gradient == pytest.approx(float(branch / (branch + shortcut)), rel=1e-5)


def test_leaving_a_block_out_is_the_network_whose_branch_was_cut_by_hand():
    torch.manual_seed(3)
    network = torchvision.models.resnet18(num_classes=5).eval()  # adds in place, and has ReLUs in place
    pixels = pictures(33, 32)  # one more than a batch
    names = tuple(map(str, range(33)))
    labels = torch.randint(0, 5, (33,))
    found = residual_blocks(network, InspectedImages(pixels, names, labels=labels, classes=tuple("abcde"))).blocks
    for place, block in ((1, "layer1"), (7, "layer4")):
        cut = copy.deepcopy(network)
        norm = getattr(cut, block)[place % 2].bn2
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
        with torch.no_grad():
            expected = (cut(pixels).argmax(1) == labels).double().mean()
        assert found[place].accuracy == pytest.approx(float(expected))


def test_a_block_that_was_initialised_to_nothing_is_the_identity_and_its_loss_nothing():
    network = cifar_resnet20().eval()
    nn.init.zeros_(network.layer2[1].bn2.weight)
    block = residual_blocks(network, pictures(6)).blocks[4]
    assert (block.name, block.share, block.gradient, block.change) == ("layer2.1", 0.0, 0.0, 0.0)
    assert block.change_low < 0 < block.change_high


def test_labels_are_brought_to_the_order_of_the_models_own_classes(small_classifier):
    model = small_classifier(True)
    pixels = pictures(12, 96)
    answers = inspected_model(model).logits(pixels).argmax(1)
    theirs = ("wasps", "bees", "ants")
    labels = torch.tensor([theirs.index(model.classes[i]) for i in answers])
    images = InspectedImages(pixels, tuple(map(str, range(12))), labels=labels, classes=theirs)
    lens = residual_blocks(model, images)
    assert lens.accuracy == 1.0
    assert lens.against == "labels"
    strange = InspectedImages(pixels, images.names, labels=labels, classes=("a", "b", "c"))
    assert residual_blocks(model, strange, lesions=False).against == "own answers"


def test_a_backbone_without_a_top_has_shares_alone():
    lens = residual_blocks(load_backbone("random"), pictures(3, 64))
    assert lens.accuracy is None
    assert {block.gradient for block in lens.blocks} == {block.change for block in lens.blocks} == {None}
    assert lens.interpretation
    assert len(lens.figure().axes) == 2


@pytest.mark.parametrize("change", [0.0, 0.02])
def test_where_no_block_is_missed_none_is_said_to_be(change):
    block = BlockMeasurement("stage1", False, 0.5, 0.4, 0.6, 0.1, 0.5, 0.9, change, change, change)
    lens = ResidualAnalysis("net", 40, (block, replace(block, name="stage2")), 0.9, "labels")
    assert lens.interpretation[0] == "Leaving out any one block costs nothing here."
    fallen = replace(lens, blocks=(block, replace(block, name="stage2", change=-0.001, change_low=-0.002)))
    assert lens.interpretation[1] == fallen.interpretation[1]
    assert fallen.interpretation[0].startswith("Without stage2 the accuracy falls by 0.1 points")


def test_a_module_may_say_which_operand_is_its_shortcut():
    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.left(x) + self.right(x)

    network = nn.Sequential(Twin(), nn.Flatten())
    pixels = pictures(3, 4)
    assert residual_blocks(network, pixels).blocks == ()
    network[0].residual_shortcut = 1
    block = residual_blocks(network, pixels, lesions=False).blocks[0]
    with torch.no_grad():
        left, right = network[0].left(pixels).flatten(1), network[0].right(pixels).flatten(1)
    assert block.name == "0"
    assert block.share == pytest.approx(float(left.norm(dim=1).mean() / (left + right).norm(dim=1).mean()), rel=1e-5)


def test_a_network_without_blocks_is_told_so():
    lens = residual_blocks(torchvision.models.squeezenet1_0(num_classes=3), pictures(2, 64))
    assert "no residual blocks" in lens.interpretation[0]
    assert lens.tables == ()
    json.dumps(lens.to_dict())


def test_the_interval_of_a_change_is_agrestis_and_mins():
    change, low, high = paired_interval(12, 3, 100)
    assert change == pytest.approx(-0.09)
    # by hand: cells 12.5 and 3.5 of 102; −9/102 = −0.08824, √(16 − 81/102)/102 = 0.03823
    assert low == pytest.approx(-0.08824 - 1.96 * 0.03823, abs=1e-4)
    assert high == pytest.approx(-0.08824 + 1.96 * 0.03823, abs=1e-4)
    assert paired_interval(0, 0, 50)[1] < 0


def test_before_and_after_name_the_blocks_that_changed():
    torch.manual_seed(4)
    before = cifar_resnet20().eval()
    after = copy.deepcopy(before)
    nn.init.constant_(after.layer3[1].bn2.weight, 3.0)
    pixels = pictures(8)
    change = compare_residuals(*(residual_blocks(one, pixels, lesions=False) for one in (before, after)))
    assert change.moved[0] == "layer3.1"
    assert "the 7 blocks before layer3.1" in change.interpretation[1]
    json.dumps(change.to_dict())
    assert len(change.figure().axes) == 2
    with pytest.raises(DataError, match="same blocks"):
        compare_residuals(change.before, residual_blocks(before, pixels[:4], lesions=False))


def test_nothing_changed_is_said_so():
    lens = residual_blocks(cifar_resnet20(), pictures(4), lesions=False)
    assert compare_residuals(lens, lens).moved == ()
    assert "No block changed" in compare_residuals(lens, lens).interpretation[0]


def test_it_leaves_no_trace_also_when_it_fails():
    network = cifar_resnet20().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pixels = pictures(3)
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
        lens = residual_blocks(backbone, images)
        assert lens.against == "labels"
        accuracies[layers] = (lens.accuracy, max(block.accuracy for block in lens.blocks))
        worst = min(lens.blocks, key=lambda block: block.change)
        assert worst.projection  # Veit et al.: down-sampling blocks matter most
    assert accuracies[20][0] > 0.75
    assert accuracies[20][1] < accuracies[20][0] - 0.04
    assert accuracies[56][1] > accuracies[56][0] - 0.02
