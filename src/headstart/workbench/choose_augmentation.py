"""`train --augment auto`: horizontal flips are used only where held-out images keep their class when flipped."""

from __future__ import annotations

from headstart.backbones.backbone import Backbone
from headstart.data.dataset import Dataset
from headstart.workbench.session import Session

_FLIP = "horizontal-flip"


def choose_augmentation(session: Session, dataset: Dataset, backbone: Backbone) -> None:
    """With `augment` auto: turn the recipe's flips off where a flip changes the class of training images, and say so.

    The answer follows from the images, the weights and the seed, so that a resumed training finds the same one.

    Args:
        dataset: with its split. backbone: before it is fine-tuned.

    Raises:
        DataError: no training image can be read, or they are too few to hold some out.
    """
    recipe = session.recipe
    if recipe.augment != "auto" or not recipe.flips:
        return
    from headstart.workbench.advise_augment import MOST, check_augmentations  # torchvision: as long to import as torch

    with session.step("check augmentation"):
        advice, _ = check_augmentations(
            session, dataset.training_only(), backbone, transforms=(_FLIP,), most=MOST, source=str(dataset)
        )
    (check,) = advice.checks
    if check.verdict in ("useful", "harmless"):
        session.notice(f"--augment auto: horizontal flips stay on: {check.reason}.")
        return
    session.recipe = recipe.with_options({"flips": False, "flip_tta": False})
    tta = ", and flip TTA with them" if recipe.flip_tta else ""
    session.notice(f"--augment auto: horizontal flips are turned off{tta}: {check.verdict}, {check.reason}.")
