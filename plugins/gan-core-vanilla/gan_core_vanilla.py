"""The original GAN: two fully connected networks and the logistic loss.

The discriminator learns to tell real images from generated ones; the generator learns to be taken for real. Both of
the paper's objectives for the generator are here: minimax, which the theory treats, and non-saturating, which trains.
Other networks can be given as lists of layers.
"""

from itertools import pairwise
from math import prod
from typing import Literal

import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from gan_core import (
    DataSpec,
    Discriminator,
    Game,
    OptimizerOptions,
    PenaltyOptions,
    RelativisticPairing,
    Terms,
    Variant,
    normal_latents,
    two_player,
)


class VanillaOptions(PenaltyOptions, OptimizerOptions):
    """What can be set with `--set key=value`."""

    objective: Literal["non-saturating", "minimax", "relativistic"] = "non-saturating"
    """What the generator minimises: -log D(G(z)); log(1 - D(G(z))), which fades where D is sure of itself; or how
    much more real a real image looks than a generated one."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """One-sided: the discriminator's target for real images is 1 less this (Salimans et al. 2016, section 3.4)."""
    discriminator_weight: float = Field(1.0, gt=0)
    """Weight of both of the discriminator's terms: 0.5 gives the mean over one batch, half real and half fake."""
    latent: int = Field(64, ge=1)
    """Size of the latent z."""
    latent_std: float = Field(1.0, gt=0)
    """z ~ N(0, latent_std² I)."""
    generator_fakes: int = Field(1, ge=1)
    """Fakes in the generator's batch for each real image in the discriminator's."""
    width: int = Field(512, ge=1)
    """Units in each hidden layer of both networks."""
    layers: int = Field(2, ge=1, le=16)
    """Hidden layers in each network."""

    @field_validator("label_smoothing", "discriminator_weight", "generator_fakes")
    @classmethod
    def _goes_with_the_objective(cls, value: float, info: ValidationInfo) -> float:
        assert info.field_name is not None
        default = cls.model_fields[info.field_name].default
        if info.data.get("objective") == "relativistic" and value != default:
            raise ValueError(
                f"{default} with objective=relativistic, whose one term has no labels and compares pairs of images"
            )
        return value


class Logistic:
    """The losses of Goodfellow et al. 2014, on logits l with D(x) = sigmoid(l(x)).

    softplus(-l) is -log D and softplus(l) is -log(1 - D), without the overflow of either logarithm.
    """

    def __init__(self, objective: str = "non-saturating", label_smoothing: float = 0.0, weight: float = 1.0) -> None:
        self.objective, self.label_smoothing, self.weight = objective, label_smoothing, weight

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """Equation 1, maximised over D: log D(x) + log(1 - D(G(z))), here with its sign turned. Logits (B,).

        With smoothing s the real term is the cross-entropy with a target of 1 - s: -(1 - s) log D - s log(1 - D).
        """
        logits_real, logits_fake = D(real), D(fake)
        return {
            "real": self.weight * (F.softplus(-logits_real) + self.label_smoothing * logits_real).mean(),
            "fake": self.weight * F.softplus(logits_fake).mean(),
            "D(real)": logits_real.detach().sigmoid().mean(),
            "D(fake)": logits_fake.detach().sigmoid().mean(),
        }

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """Equation 1, minimised over G, or section 3's non-saturating -log D(G(z)). Logits (B,)."""
        del real
        logits = D(fake)
        if self.objective == "minimax":
            return {"adversarial": -F.softplus(logits).mean()}
        return {"adversarial": F.softplus(-logits).mean()}


def perceptron(inputs: int, outputs: int, options: VanillaOptions, batch_norm: bool = False) -> nn.Sequential:
    """Linear layers with leaky ReLUs between them: (B, inputs) -> (B, outputs)."""
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
        """Draws one image for each latent."""
        images: Tensor = self.layers(z)
        return images.tanh().view(-1, *self.shape)


class FullyConnectedDiscriminator(nn.Module):
    """Images (B, C, H, W) in [-1, 1] -> logits (B,)."""

    def __init__(self, options: VanillaOptions, data: DataSpec) -> None:
        super().__init__()
        batch_norm = options.discriminator_norm == "batch"
        self.layers = perceptron(data.channels * data.image_size**2, 1, options, batch_norm)

    def forward(self, images: Tensor) -> Tensor:
        """Returns one logit an image: positive means real."""
        logits: Tensor = self.layers(images.flatten(1))
        return logits.squeeze(1)


def build(options: VanillaOptions, data: DataSpec) -> Game:
    """Makes the game for data of any size and channels."""
    generator, discriminator = options.make_networks(
        data,
        options.latent,
        lambda: FullyConnectedGenerator(options, data),
        lambda: FullyConnectedDiscriminator(options, data),
    )
    generator_optimizer, discriminator_optimizer = options.make_optimizers()
    loss = (
        RelativisticPairing()
        if options.objective == "relativistic"
        else Logistic(options.objective, options.label_smoothing, options.discriminator_weight)
    )
    return two_player(
        generator=generator,
        discriminator=discriminator,
        loss=options.penalise(loss),
        draw=normal_latents(options.latent, options.latent_std),
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        generator_fakes=options.generator_fakes,
    )


variant = Variant(
    api=1,
    options=VanillaOptions,
    build=build,
    paper="Goodfellow et al. 2014, Generative Adversarial Networks, https://arxiv.org/abs/1406.2661",
)
