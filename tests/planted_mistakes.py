"""Mistakes that people make, planted in small networks, each with the word that the finding must contain.

Written from what practitioners report, not from the rules: no rule's code is used here. `benchmarks/doctor.py` prints
which are found.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

Given = tuple[nn.Module, dict[str, object]]
MISTAKES: dict[str, Mistake] = {}


@dataclass(frozen=True)
class Mistake:
    """A network with a mistake in it.

    Args:
        make: the network, and what else `doctor` is given.
        word: that the name of a finding, or what it says was found, must contain.
    """

    make: Callable[[], Given | nn.Module]
    word: str

    def given(self) -> Given:
        """The network, seeded, and the inputs of `doctor`."""
        torch.manual_seed(0)
        made = self.make()
        return made if isinstance(made, tuple) else (made, {})


def planted(name: str, word: str) -> Callable[[Callable[[], Given | nn.Module]], Callable[[], Given | nn.Module]]:
    def note(make: Callable[[], Given | nn.Module]) -> Callable[[], Given | nn.Module]:
        MISTAKES[name] = Mistake(make, word)
        return make

    return note


class Small(nn.Module):
    """Two convolutions, pooling, a linear layer; with places for a mistake."""

    def __init__(self, classes: int = 4, width: int = 16, *, norm: bool = True) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.bn2 = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.fc = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 4)
        return F.relu(self.bn2(self.conv2(x))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))


def plain(width: int = 32, depth: int = 6, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Fully connected, without normalisation."""
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(3 * 32 * 32, width), activation()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 4))


def batch(count: int = 8, classes: int = 4, side: int = 32) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 3, side, side), torch.arange(count) % classes


def sgd(network: nn.Module, **options: float) -> dict[str, object]:
    return {"optimizer": torch.optim.SGD(network.parameters(), **{"lr": 0.01, **options})}


def moved(network: nn.Module) -> nn.Module:
    """As after some training: scales, shifts and statistics that have moved."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


# Layers that follow each other wrongly


@planted("no activation between linear layers", "activation")
def _() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 64), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))


@planted("activation whose result is not used", "activation")
def _() -> nn.Module:
    class Forgetful(Small):
        def features(self, x: Tensor) -> Tensor:
            x = self.bn1(self.conv1(x))
            F.relu(x)
            return F.relu(self.bn2(self.conv2(x))).mean((2, 3))

    return Forgetful()


@planted("ReLU after the last layer", "relu")
def _() -> nn.Module:
    return nn.Sequential(Small(), nn.ReLU())


@planted("sigmoid before cross-entropy", "sigmoid")
def _() -> Given:
    return nn.Sequential(Small(), nn.Sigmoid()), {"loss": nn.CrossEntropyLoss(), "batch": batch()}


@planted("softmax before cross-entropy", "softmax")
def _() -> Given:
    return nn.Sequential(Small(), nn.Softmax(1)), {"loss": nn.CrossEntropyLoss(), "batch": batch()}


@planted("softmax twice", "softmax after softmax")
def _() -> nn.Module:
    return nn.Sequential(Small(), nn.Softmax(1), nn.Softmax(1))


@planted("sigmoid before a loss with logits", "sigmoid")
def _() -> Given:
    x, y = batch()
    loss = nn.BCEWithLogitsLoss()
    return nn.Sequential(Small(1), nn.Sigmoid()), {"loss": loss, "batch": (x, (y % 2).float()[:, None])}


@planted("one unit in the middle", "one unit")
def _() -> nn.Module:
    class Narrow(Small):
        def __init__(self) -> None:
            super().__init__()
            self.squeeze, self.fc = nn.Linear(16, 1), nn.Linear(1, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.relu(self.squeeze(self.features(x))))

    return Narrow()


@planted("batch norm twice", "twice")
def _() -> nn.Module:
    network = Small()
    network.bn1 = nn.Sequential(nn.BatchNorm2d(16), nn.BatchNorm2d(16))
    return network


@planted("3×3 convolution after global pooling", "one pixel")
def _() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


@planted("instance norm on maps of one pixel", "single value")
def _() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.GroupNorm(8, 8), nn.Flatten(), nn.Linear(8, 4)
    )


@planted("one layer three times in a list", "layer")
def _() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 32 * 32, 32), *[nn.Linear(32, 32), nn.ReLU()] * 3, nn.Linear(32, 4)
    )


@planted("bias before batch norm", "bias")
def _() -> nn.Module:
    return Small()


@planted("one batch norm in two places", "shared batch norm")
def _() -> nn.Module:
    network = Small()
    network.bn2 = network.bn1
    return network


@planted("dropout before batch norm", "dropout before")
def _() -> Given:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm2d(3), nn.ReLU(), Small())
    return network, {"images": batch()[0]}


@planted("functional dropout that is always on", "dropout in eval")
def _() -> nn.Module:
    class Dropping(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.dropout(self.features(x)))

    return Dropping()


@planted("layers in a plain list", "registered")
def _() -> nn.Module:
    class Listed(Small):
        def __init__(self) -> None:
            super().__init__()
            self.more = [nn.Linear(16, 16)]

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.relu(self.more[0](self.features(x))))

    return Listed()


# Freezing and modes


@planted("frozen new head", "head")
def _() -> nn.Module:
    network = Small()
    network.fc.requires_grad_(False)
    return network


@planted("requires_grad of a module", "freez")
def _() -> nn.Module:
    network = Small()
    network.conv1.requires_grad = False
    return network


@planted("trained in eval mode", "eval mode")
def _() -> Given:
    network = Small().eval()
    return network, sgd(network)


@planted("train() that goes to eval mode", "eval mode")
def _() -> nn.Module:
    class Stuck(Small):
        def train(self, mode: bool = True) -> Stuck:
            return super().train(False)

    return Stuck().train()


@planted("batch norm in train mode in a network in eval mode", "mode")
def _() -> nn.Module:
    network = moved(Small()).eval()
    network.bn2.train()
    return network


@planted("frozen weights, moving statistics", "statistics")
def _() -> nn.Module:
    network = moved(Small())
    network.requires_grad_(False)
    network.fc.requires_grad_(True)
    return network.train()


@planted("everything frozen", "frozen")
def _() -> nn.Module:
    return Small().requires_grad_(False).train()


# Gradients


@planted("detached backbone", "no gradient")
def _() -> nn.Module:
    class Detached(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.features(x).detach())

    return Detached()


class Residual(nn.Module):
    """A block between a convolution and a head."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = (
            nn.Conv2d(3, 8, 3),
            nn.Conv2d(8, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
        )
        self.fc, self.kind, self.act = nn.Linear(8, 4), kind, nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.kind == "detached":
            x = F.relu(x.detach() + self.norm(self.conv(F.relu(x))))
        elif self.kind == "overwritten":
            shortcut = x
            x = self.norm(self.conv(self.act(x))) + shortcut
        else:
            x = torch.sigmoid(self.norm(self.conv(x)))
            x += 1
        return self.fc(x.mean((2, 3)))


@planted("detached shortcut", "shortcut")
def _() -> nn.Module:
    return Residual("detached")


@planted("in-place ReLU that destroys the shortcut", "in place")
def _() -> nn.Module:
    return Residual("overwritten")


@planted("in-place operation that breaks backward()", "backward")
def _() -> nn.Module:
    return Residual("breaking")


# Initialisation


def initialised(network: nn.Module, fill: Callable[[Tensor], object]) -> nn.Module:
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            fill(module.weight)
    return network


@planted("weights far too large", "exploding")
def _() -> nn.Module:
    return initialised(plain(64, 8), partial(nn.init.normal_, std=1.0))


@planted("weights far too small", "vanishing")
def _() -> nn.Module:
    return initialised(plain(64, 8), partial(nn.init.normal_, std=1e-3))


@planted("twenty sigmoids", "vanishing")
def _() -> nn.Module:
    return plain(32, 20, nn.Sigmoid)


@planted("constant weights", "symmetric")
def _() -> nn.Module:
    return initialised(Small(), partial(nn.init.constant_, val=0.1))


@planted("weights of zero", "symmetric")
def _() -> nn.Module:
    return initialised(plain(), nn.init.zeros_)


@planted("a weight that is nan", "finite")
def _() -> nn.Module:
    network = Small()
    network.conv1.weight.data[0, 0, 0, 0] = float("nan")
    return network


# Batches


@planted("reshape that mixes images", "mixed")
def _() -> nn.Module:
    class Mixing(Small):
        def forward(self, x: Tensor) -> Tensor:
            x = self.features(x)
            return self.fc(x.t().reshape(len(x), -1))

    return Mixing()


@planted("mean over the batch", "mixed")
def _() -> nn.Module:
    class Centred(Small):
        def forward(self, x: Tensor) -> Tensor:
            x = self.features(x)
            return self.fc(x - x.mean(0))

    return Centred()


@planted("batches of two with batch norm", "batches")
def _() -> Given:
    return Small(), {"batch_size": 2}


# The optimiser


@planted("learning rate of 0", "learning rate")
def _() -> Given:
    network = Small()
    return network, sgd(network, lr=0.0)


@planted("learning rate of 50", "learning rate")
def _() -> Given:
    network = Small()
    return network, sgd(network, lr=50.0)


@planted("weight decay of 5", "decay")
def _() -> Given:
    network = Small()
    return network, sgd(network, weight_decay=5.0)


@planted("optimiser of another network", "not in the network")
def _() -> Given:
    return Small(), sgd(copy.deepcopy(Small()))


@planted("optimiser of an old head", "missing")
def _() -> Given:
    network = Small()
    given = sgd(network)
    network.fc = nn.Linear(16, 4)
    return network, given


# The training step


@planted("NLLLoss on logits", "log-probabilities")
def _() -> Given:
    return Small(), {"loss": nn.NLLLoss(), "batch": batch()}


@planted("labels from 1", "labels")
def _() -> Given:
    x, y = batch()
    return Small(), {"loss": nn.CrossEntropyLoss(), "batch": (x, y + 1)}


@planted("labels as float", "float32")
def _() -> Given:
    x, y = batch()
    return Small(), {"loss": nn.CrossEntropyLoss(), "batch": (x, y.float())}


@planted("images as bytes", "uint8")
def _() -> Given:
    x, y = batch()
    return Small(), {"loss": nn.CrossEntropyLoss(), "batch": ((x * 50 + 128).clamp(0, 255).to(torch.uint8), y)}


_TORCHVISION = (
    "resnet18 resnet50 vgg11 vgg11_bn squeezenet1_0 squeezenet1_1 googlenet inception_v3 alexnet densenet121 "
    "mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet0_5 mnasnet1_0 shufflenet_v2_x0_5 efficientnet_b0 "
    "efficientnet_v2_s regnet_y_400mf regnet_x_400mf convnext_tiny swin_t swin_v2_t vit_b_32"
)
_TIMM = (  # a small one of each family
    "beit_base_patch16_224 halonet_h1 test_byobnet cait_xxs24_224 coat_tiny convit_tiny convmixer_768_32 "
    "test_convnext cpubone_nano crossvit_tiny_240 csatv2 cs3darknet_focus_s cspnext_tiny davit_tiny "
    "deit_tiny_patch16_224 densenet121 dla34 dpn68 edgenext_x_small efficientformer_l1 efficientformerv2_s0 "
    "test_efficientnet efficientvim_m1 efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224 fasternet_s fastvit_t8 "
    "focalnet_tiny_srf gcvit_xxtiny ghostnet_050 hardcorenas_b hgnet_tiny hiera_tiny_224 hrnet_w18_small iformer_t "
    "inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small levit_128 lowformer_b0 "
    "test_mambaout test_coatnet caformer_s18 gmlp_ti16_224 lcnet_050 mobilevit_xxs mvitv2_tiny test_nfnet pit_ti_224 "
    "pvt_v2_b0 qwen3_vit_88m rdnet_tiny regnetx_002 repghostnet_050 repvit_m1 res2next50 resnest14d test_resnet "
    "resnetv2_18 rexnet_100 selecsls42 legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s050 "
    "swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 tiny_vit_5m_224 "
    "tnt_s_legacy_patch16_224 tresnet_m twins_svt_small vgg11 visformer_tiny test_vit vit_tiny_r_s16_p8_224 "
    "test_vit_relpos vitamin_small_224 volo_d1_224 vovnet39a legacy_xception xception41 "
    "xcit_nano_12_p8_224 tnt_s_patch16_224 coat_lite_tiny deit_tiny_distilled_patch16_224 levit_128s"
)
HEALTHY = (*(f"tv:{name}" for name in _TORCHVISION.split()), *(f"timm:{name}" for name in _TIMM.split()))
"""Networks as torchvision and timm build them, with random weights."""


def healthy(name: str) -> nn.Module:
    """One of HEALTHY, seeded, in train mode."""
    torch.manual_seed(0)
    library, _, own = name.partition(":")
    if library == "timm":
        import timm

        return timm.create_model(own, pretrained=False)
    options = {"init_weights": True} if own in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(own, weights=None, **options)
