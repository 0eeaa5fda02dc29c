"""Options that several variants share: a variant's options class inherits from these classes."""

from collections.abc import Callable
from typing import Literal, TypedDict

from pydantic import Field, ValidationInfo, field_validator
from torch import nn

from gan_core.blocks.layer_list import Initialisation, LayerList, LayerListDiscriminator, LayerListGenerator, parse
from gan_core.blocks.layers import BatchNorm
from gan_core.blocks.optimizers import adam, sgd
from gan_core.blocks.penalties import Penalised
from gan_core.blocks.protocols import Loss
from gan_core.blocks.spectral import normalise_spectrally
from gan_core.game.data_spec import DataSpec
from gan_core.game.phase import MakeOptimizer
from gan_core.game.variant import Options


class OptimizerOptions(Options):
    """The optimizers of both networks."""

    optimizer: Literal["adam", "sgd"] = "adam"
    """adam, or sgd: gradient descent with Nesterov momentum."""
    lr: float = Field(2e-4, gt=0)
    """Learning rate."""
    discriminator_lr: float | None = Field(None, gt=0)
    """Learning rate of the discriminator, if it differs from lr (TTUR, Heusel et al. 2017, section 2)."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's first beta, or the momentum of sgd."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Adam's second beta."""
    epsilon: float = Field(1e-8, gt=0)
    """Adam's epsilon."""

    def make_optimizers(self) -> tuple[MakeOptimizer, MakeOptimizer]:
        """Returns the values of `Phase.optimizer` for the generator and for the discriminator, in this order."""
        return self._make_optimizer(self.lr), self._make_optimizer(self.discriminator_lr or self.lr)

    def _make_optimizer(self, lr: float) -> MakeOptimizer:
        if self.optimizer == "sgd":
            return sgd(lr=lr, momentum=self.beta1, nesterov=self.beta1 > 0)
        return adam(lr=lr, betas=(self.beta1, self.beta2), epsilon=self.epsilon)


class Turns(TypedDict):
    """Arguments of `two_player` and `alternating`."""

    generator_optimizer: MakeOptimizer
    discriminator_optimizer: MakeOptimizer
    fresh_latents: bool


class TwoPlayerOptions(OptimizerOptions):
    """How the two networks take turns, and their optimizers."""

    fresh_latents: bool = False
    """Update the generator on latents of its own (Goodfellow et al. 2014, algorithm 1), in place of the images that the
    discriminator has just been updated on. The latter runs the generator once a step, as most programs do."""

    def turns(self) -> Turns:
        """Returns the arguments of `two_player` or `alternating` that these options set."""
        generator, discriminator = self.make_optimizers()
        return Turns(
            generator_optimizer=generator, discriminator_optimizer=discriminator, fresh_latents=self.fresh_latents
        )


class LayerListOptions(Options):
    """Layer lists that replace the variant's own networks, and the discriminator's normalisation."""

    generator: LayerList | None = None
    """The generator as a layer list, instead of the variant's own; see gan_core/blocks/layer_list.py."""
    discriminator: LayerList | None = None
    """The discriminator as a layer list, instead of the variant's own."""
    initialisation: Initialisation = "torch"
    """Initial weights of layers from a layer list: torch's default, Glorot's uniform (as in Keras), or N(0, 0.02²)."""
    discriminator_norm: Literal["none", "batch", "spectral"] = "none"
    """The discriminator's normalisation. batch has no effect on a layer list, which names its own batch_norm layers;
    spectral applies to both."""

    @staticmethod
    def refuse_batch_norm(info: ValidationInfo, allowed: str) -> None:
        """Rejects a gradient penalty together with batch normalisation in the discriminator.

        Call it in the validator of the option that enables the penalty.

        Args:
            info: The validator's context, with the options before it.
            allowed: The option's value without a penalty, for the error message.

        Raises:
            ValueError: The discriminator has batch normalisation, by `discriminator_norm` or in its layer list.
        """
        layers = info.data.get("discriminator")
        if layers:
            batch_norm = any(isinstance(parse(entry), BatchNorm) for entry in layers)
        else:
            batch_norm = info.data.get("discriminator_norm") == "batch"
        if batch_norm:
            raise ValueError(
                f"{allowed} with batch normalisation in the discriminator, which makes the gradient by one image "
                "depend on the others. Set discriminator_norm=none, and use no batch_norm layer"
            )

    def make_networks(
        self, data: DataSpec, latent: int, generator: Callable[[], nn.Module], discriminator: Callable[[], nn.Module]
    ) -> tuple[nn.Module, nn.Module]:
        """Returns the generator and the discriminator: from layer lists if given, otherwise the variant's own.

        Args:
            data: The data set.
            latent: Size of the generator's input z, (B, latent).
            generator: Returns the variant's own generator.
            discriminator: Returns the variant's own discriminator, with batch normalisation if `discriminator_norm` is
                "batch". Spectral normalisation is added here.

        Raises:
            ValueError: A layer of a layer list does not fit.
        """
        image = (data.channels, data.image_size, data.image_size)
        G = LayerListGenerator(self.generator, latent, image, self.initialisation) if self.generator else generator()
        D = (
            LayerListDiscriminator(self.discriminator, image, self.initialisation)
            if self.discriminator
            else discriminator()
        )
        return G, self.normalise(D)

    def normalise(self, discriminator: nn.Module) -> nn.Module:
        """Returns the discriminator, with spectral normalisation if `discriminator_norm` is "spectral"."""
        return normalise_spectrally(discriminator) if self.discriminator_norm == "spectral" else discriminator


class PenaltyOptions(LayerListOptions):
    """Gradient penalties on the discriminator, added to any loss."""

    r1: float = Field(0.0, ge=0)
    """Weight γ of the penalty (γ / 2) E[‖∇D(x)‖²] on real images (Mescheder et al. 2018, equation 9)."""
    r2: float = Field(0.0, ge=0)
    """Weight of the same penalty on generated images (equation 10)."""

    @field_validator("r1", "r2")
    @classmethod
    def _needs_independent_images(cls, weight: float, info: ValidationInfo) -> float:
        if weight:
            cls.refuse_batch_norm(info, allowed="0")
        return weight

    def penalise(self, loss: Loss) -> Loss:
        """Returns the loss, with the penalties whose weights are above 0. D must return logits (B,)."""
        return Penalised(loss, self.r1, self.r2) if self.r1 or self.r2 else loss
