"""Options that several variants have in common; a variant's own options inherit those that it wants."""

from collections.abc import Callable
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from torch import nn

from gan_core.blocks.layer_list import Initialisation, LayerListDiscriminator, LayerListGenerator, Stack, parse
from gan_core.blocks.layers import BatchNorm
from gan_core.blocks.penalties import Penalised
from gan_core.blocks.spectral import normalise_spectrally
from gan_core.game.data_spec import DataSpec
from gan_core.game.optimizers import adam, sgd
from gan_core.game.phase import MakeOptimizer
from gan_core.game.protocols import Loss
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


class LayerListOptions(Options):
    """Networks as lists of layers, in place of the variant's own, and the discriminator's normalisation."""

    generator: Stack | None = None
    """The generator's layers, instead of the variant's own; see gan_core/blocks/stack.py."""
    discriminator: Stack | None = None
    """The discriminator's layers, instead of the variant's own."""
    initialisation: Initialisation = "torch"
    """Initial weights of such layers: torch's, Glorot's uniform ones (as Keras), or N(0, 0.02²)."""
    discriminator_norm: Literal["none", "batch", "spectral"] = "none"
    """The discriminator's normalisation. Listed layers bring their own batch normalisation; spectral holds for any."""

    @staticmethod
    def refuse_batch_norm(info: ValidationInfo, allowed: str) -> None:
        """Refuses, in the validator of an option, a penalty on slopes beside batch normalisation in the discriminator.

        Args:
            info: What the validator knows of the other options.
            allowed: The value that the option may have nevertheless.

        Raises:
            ValueError: The discriminator has batch normalisation, its own or a listed one.
        """
        listed = info.data.get("discriminator")
        if listed:
            batch_norm = any(isinstance(parse(entry), BatchNorm) for entry in listed)
        else:
            batch_norm = info.data.get("discriminator_norm") == "batch"
        if batch_norm:
            raise ValueError(
                f"{allowed} with batch normalisation in the discriminator, which mixes the images whose slopes are to "
                "be taken one by one: set discriminator_norm=none, and list no batch_norm"
            )

    def make_networks(
        self, data: DataSpec, latent: int, generator: Callable[[], nn.Module], discriminator: Callable[[], nn.Module]
    ) -> tuple[nn.Module, nn.Module]:
        """Makes generator and discriminator: those that are listed, and else the variant's own.

        Args:
            data: The images.
            latent: The size of the generator's input z, (B, latent).
            generator: Makes the variant's own.
            discriminator: Makes the variant's own, with batch normalisation where `discriminator_norm` is "batch".

        Raises:
            ValueError: A listed layer does not fit.
        """
        image = (data.channels, data.image_size, data.image_size)
        made = LayerListGenerator(self.generator, latent, image, self.initialisation) if self.generator else generator()
        judge = (
            LayerListDiscriminator(self.discriminator, image, self.initialisation)
            if self.discriminator
            else discriminator()
        )
        return made, self.normalise(judge)

    def normalise(self, discriminator: nn.Module) -> nn.Module:
        """Returns the discriminator, with spectral normalisation where that is asked for."""
        return normalise_spectrally(discriminator) if self.discriminator_norm == "spectral" else discriminator


class PenaltyOptions(LayerListOptions):
    """Penalties on the discriminator's slope, beside any loss."""

    r1: float = Field(0.0, ge=0)
    """Weight γ of the penalty (γ / 2) E[‖∇D(x)‖²] on real images (Mescheder et al. 2018, equation 9)."""
    r2: float = Field(0.0, ge=0)
    """The same on generated images (equation 10)."""

    @field_validator("r1", "r2")
    @classmethod
    def _needs_each_image_alone(cls, weight: float, info: ValidationInfo) -> float:
        if weight:
            cls.refuse_batch_norm(info, allowed="0")
        return weight

    def penalise(self, loss: Loss) -> Loss:
        """Returns the loss, with the penalties where they have a weight."""
        return Penalised(loss, self.r1, self.r2) if self.r1 or self.r2 else loss
