"""Rate: the learning rate of a recipe: a climb, a cosine, and perhaps a line to nothing before the cosine's end."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from headstart.pretraining.recipe import PretrainingRecipe


class Rate(OneCycleLR):
    """A climb over `warm_up` of the horizon, half a cosine from there, times a line over the recipe's last epochs.

    Until the ending begins nothing depends on the number of epochs: how long to train can be decided meanwhile.

    Source: Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations",
        arXiv:2405.18392: a rate that is kept and then falls in a line does as well as a cosine.
    """

    def __init__(self, optimizer: Optimizer, recipe: PretrainingRecipe) -> None:
        self._end, self._ending = recipe.steps, recipe.ending * recipe.batches
        super().__init__(optimizer, recipe.rate, recipe.laid_out, pct_start=recipe.warm_up, cycle_momentum=False)

    def get_lr(self) -> list[float | Tensor]:
        """The rate of the next step for each group of parameters."""
        left = max(self._end - self.last_epoch, 0)
        share = min(1.0, left / self._ending) if self._ending else 1.0
        return [share * rate for rate in super().get_lr()]
