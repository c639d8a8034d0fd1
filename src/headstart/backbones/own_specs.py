"""Specs of headstart's own networks: `embedded`, with packaged weights, and `random`, with none."""

from __future__ import annotations

from headstart.backbones.spec import BackboneSpec, Stage

OWN_SPECS = (
    BackboneSpec(
        name="embedded",
        title="small network of fire modules, trained on drawn images",
        builder="headstart.backbones.models.fire_resnet:FireResNet",
        head=(),
        stages=(
            Stage("stem", "stem", 96),
            *(Stage(f"stage{i}", f"stage{i}", width) for i, width in ((1, 256), (2, 384), (3, 512), (4, 512))),
        ),
        resize=104,
        crop=104,
        packaged="embedded/embedded.safetensors",
        licence="MIT (headstart); distilled from SqueezeNet 1.0 (BSD), see its card",
        code_licence="MIT",
        origin="trained by headstart on images it drew, block by block after SqueezeNet 1.0",
        paper="Iandola et al. 2016, SqueezeNet, arXiv:1602.07360 (the modules)",
        parameters=0.74096,
        gmac=0.146,
        accuracy=0.743,
        image_statistics=(0.51, -0.01, 0.27),  # measured on 512 drawn images
        pretrained_classes="",
        note="comes with headstart; ImageNet weights are far better on photographs of natural things",
    ),
    BackboneSpec(
        name="random",
        title="small residual network, random weights",
        builder="headstart.backbones.models.small_resnet:SmallResNet",
        head=(),
        stages=(
            Stage("stem", "stem", 32),
            *(Stage(f"stage{i}", f"stage{i}", width) for i, width in ((1, 32), (2, 64), (3, 128), (4, 256))),
        ),
        resize=96,
        crop=96,
        licence="MIT (headstart)",
        code_licence="MIT",
        origin="drawn from the seed by headstart",
        paper="He et al. 2015, Delving Deep into Rectifiers, arXiv:1502.01852 (the initialisation)",
        parameters=1.227936,
        gmac=0.041,
        pretrained_classes="",
        pretrained=False,
        note="random weights; batch-norm statistics from the training images",
    ),
)
