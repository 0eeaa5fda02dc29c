"""The original GAN: two fully connected networks and the logistic loss.

The discriminator learns to tell real images from generated ones; the generator learns to be taken for real. Both of
the paper's objectives for the generator are here: minimax, which the theory treats, and non-saturating, which trains.
"""

from itertools import pairwise
from math import prod
from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_core import DataSpec, Discriminator, Game, Options, Terms, Variant, adam, normal_latents, two_player


class VanillaOptions(Options):
    """What can be set with `--set key=value`."""

    objective: Literal["non-saturating", "minimax"] = "non-saturating"
    """What the generator minimises: -log D(G(z)), or log(1 - D(G(z))), which fades where D is sure of itself."""
    latent: int = Field(64, ge=1)
    """Size of the latent z ~ N(0, I)."""
    width: int = Field(512, ge=1)
    """Units in each hidden layer of both networks."""
    layers: int = Field(2, ge=1, le=16)
    """Hidden layers in each network."""
    lr: float = Field(2e-4, gt=0)
    """Adam's learning rate, for both networks."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's first beta, for both networks."""


class Logistic:
    """The losses of Goodfellow et al. 2014, on logits l with D(x) = sigmoid(l(x)).

    softplus(-l) is -log D and softplus(l) is -log(1 - D), without the overflow of either logarithm.
    """

    def __init__(self, objective: str) -> None:
        self.objective = objective

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """Equation 1, maximised over D: log D(x) + log(1 - D(G(z))), here with its sign turned. Logits (B,)."""
        logits_real, logits_fake = D(real), D(fake)
        return {
            "real": F.softplus(-logits_real).mean(),
            "fake": F.softplus(logits_fake).mean(),
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


def perceptron(inputs: int, outputs: int, options: VanillaOptions) -> nn.Sequential:
    """Linear layers with leaky ReLUs between them: (B, inputs) -> (B, outputs)."""
    widths = [inputs, *[options.width] * options.layers, outputs]
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.LeakyReLU(0.2))]
    return nn.Sequential(*layers[:-1])


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
        self.layers = perceptron(data.channels * data.image_size**2, 1, options)

    def forward(self, images: Tensor) -> Tensor:
        """Returns one logit an image: positive means real."""
        logits: Tensor = self.layers(images.flatten(1))
        return logits.squeeze(1)


def build(options: VanillaOptions, data: DataSpec) -> Game:
    """Makes the game for data of any size and channels."""
    optimizer = adam(lr=options.lr, betas=(options.beta1, 0.999))
    return two_player(
        generator=FullyConnectedGenerator(options, data),
        discriminator=FullyConnectedDiscriminator(options, data),
        loss=Logistic(options.objective),
        draw=normal_latents(options.latent),
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
    )


variant = Variant(
    api=1,
    options=VanillaOptions,
    build=build,
    paper="Goodfellow et al. 2014, Generative Adversarial Networks, https://arxiv.org/abs/1406.2661",
)
