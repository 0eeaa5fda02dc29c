"""Options that several variants have in common; a variant's own options inherit those that it wants."""

from typing import Literal

from pydantic import Field

from gan_core.blocks.stack import Initialisation, Stack
from gan_core.game.optimizers import adam, sgd
from gan_core.game.phase import MakeOptimizer
from gan_core.game.variant import Options


class OptimizerOptions(Options):
    """The optimizers of both networks."""

    optimizer: Literal["adam", "sgd"] = "adam"
    """Adam, or gradient descent with Nesterov's momentum."""
    lr: float = Field(2e-4, gt=0)
    """The learning rate."""
    discriminator_lr: float | None = Field(None, gt=0)
    """The discriminator's learning rate, where it has one of its own (TTUR, Heusel et al. 2017, section 2)."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's first beta, or the momentum of sgd."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Adam's second beta."""
    epsilon: float = Field(1e-8, gt=0)
    """Adam's epsilon."""

    def make_optimizers(self) -> tuple[MakeOptimizer, MakeOptimizer]:
        """Returns what `Phase.optimizer` wants, for the generator and for the discriminator."""
        return self._make_optimizer(self.lr), self._make_optimizer(self.discriminator_lr or self.lr)

    def _make_optimizer(self, lr: float) -> MakeOptimizer:
        if self.optimizer == "sgd":
            return sgd(lr=lr, momentum=self.beta1, nesterov=self.beta1 > 0)
        return adam(lr=lr, betas=(self.beta1, self.beta2), epsilon=self.epsilon)


class StackOptions(Options):
    """Networks as lists of layers, in place of the variant's own."""

    generator: Stack | None = None
    """The generator's layers, instead of the variant's own; see gan_core/blocks/stack.py."""
    discriminator: Stack | None = None
    """The discriminator's layers, instead of the variant's own."""
    initialisation: Initialisation = "torch"
    """Initial weights of such layers: torch's, Glorot's uniform ones (as Keras), or N(0, 0.02²)."""
