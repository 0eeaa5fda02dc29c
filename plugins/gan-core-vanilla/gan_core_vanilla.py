"""The original GAN: two fully connected networks and the logistic loss.

The discriminator learns to distinguish real images from generated ones; the generator learns to fool it. Both of the
paper's generator objectives are available: minimax, which its theory analyses, and non-saturating, which trains well.
Either network can be replaced by a layer list.
"""

from itertools import pairwise
from math import prod

from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from gan_core import (
    AugmentOptions,
    DataSpec,
    Game,
    ObjectiveOptions,
    PenaltyOptions,
    TwoPlayerOptions,
    Variant,
    normal_latents,
    two_player,
)


class VanillaOptions(AugmentOptions, ObjectiveOptions, PenaltyOptions, TwoPlayerOptions):
    """Options of the vanilla GAN."""

    latent: int = Field(64, ge=1)
    """Size of the latent z."""
    latent_std: float = Field(1.0, gt=0)
    """Standard deviation of the latent, z ~ N(0, latent_std² I)."""
    generator_fakes: int = Field(1, ge=1)
    """Fakes in the generator's batch per real image in the discriminator's batch."""
    width: int = Field(512, ge=1)
    """Units in each hidden layer of both networks."""
    layers: int = Field(2, ge=1, le=16)
    """Hidden layers in each network."""

    @field_validator("generator_fakes")
    @classmethod
    def _one_fake_per_pair(cls, fakes: int, info: ValidationInfo) -> int:
        cls.unless_paired(fakes, info)
        return fakes


def perceptron(inputs: int, outputs: int, options: VanillaOptions, batch_norm: bool = False) -> nn.Sequential:
    """Returns a multilayer perceptron with leaky ReLUs, (B, inputs) -> (B, outputs)."""
    layers: list[nn.Module] = []
    for before, after in pairwise([inputs, *[options.width] * options.layers]):
        layers += [nn.Linear(before, after), *([nn.BatchNorm1d(after)] if batch_norm else []), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(options.width, outputs))


class FullyConnectedGenerator(nn.Module):
    """z (B, latent) -> images (B, C, H, W) in [-1, 1]."""

    def __init__(self, options: VanillaOptions, data: DataSpec) -> None:
        super().__init__()
        self.shape = (data.channels, data.image_size, data.image_size)
        self.layers = perceptron(options.latent, prod(self.shape), options)

    def forward(self, z: Tensor) -> Tensor:
        """Returns one image for each latent."""
        images: Tensor = self.layers(z)
        return images.tanh().view(-1, *self.shape)


class FullyConnectedDiscriminator(nn.Module):
    """Images (B, C, H, W) in [-1, 1] -> logits (B,)."""

    def __init__(self, options: VanillaOptions, data: DataSpec) -> None:
        super().__init__()
        batch_norm = options.discriminator_norm == "batch"
        self.layers = perceptron(data.channels * data.image_size**2, 1, options, batch_norm)

    def forward(self, images: Tensor) -> Tensor:
        """Returns one logit per image; positive means real."""
        logits: Tensor = self.layers(images.flatten(1))
        return logits.squeeze(1)


def build(options: VanillaOptions, data: DataSpec) -> Game:
    """Returns the game, for images of any size and number of channels.

    Raises:
        ValueError: A layer of a layer list does not fit.
    """
    generator, discriminator = options.make_networks(
        data,
        options.latent,
        lambda: FullyConnectedGenerator(options, data),
        lambda: FullyConnectedDiscriminator(options, data),
    )
    game = two_player(
        generator=generator,
        discriminator=discriminator,
        loss=options.penalise(options.make_loss()),
        draw=normal_latents(options.latent, options.latent_std),
        generator_fakes=options.generator_fakes,
        **options.turns(),
    )
    return options.augmented(game, data)


variant = Variant(
    api=2,
    options=VanillaOptions,
    build=build,
    paper="Goodfellow et al. 2014, Generative Adversarial Networks, https://arxiv.org/abs/1406.2661",
    small={"width": 16},
)
