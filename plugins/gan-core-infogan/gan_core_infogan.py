"""InfoGAN: parts of the latent, called codes, that an image must reveal: a category, and continuous codes.

A network Q on the discriminator's trunk estimates the codes of generated images. Both networks raise the lower bound on
the mutual information of codes and images that Q gives (Chen et al. 2016). Needs no labels.
"""

from math import log, pi
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_core import (
    Batch,
    Conv2d,
    ConvTranspose2d,
    DataSpec,
    Game,
    Inputs,
    Networks,
    Options,
    Output,
    Request,
    Terms,
    TwoPlayerOptions,
    Variant,
    alternating,
    generated,
    initialise,
    logistic_terms,
    precise_mean,
    uniform_latents,
)

LOG_2_PI = log(2 * pi)


class InfoganOptions(TwoPlayerOptions):
    """Options of InfoGAN. The defaults are those of the paper for MNIST (appendix C.1), for batches of 128."""

    lr: float = Field(1e-3, gt=0)
    """Learning rate of the generator."""
    discriminator_lr: float | None = Field(2e-4, gt=0)
    """Learning rate of the discriminator and of Q; null: that of the generator."""
    noise: int = Field(62, ge=1)
    """Size of the latent that is no code, z ~ U[-1, 1]."""
    categories: int = Field(10, ge=2)
    """Values of the categorical code."""
    continuous: int = Field(2, ge=0)
    """Number of continuous codes, c ~ U[-1, 1]."""
    information: float = Field(1.0, ge=0)
    """Weight λ of the mutual information in the losses of both networks (equation 6)."""
    width: int = Field(64, ge=1)
    """Feature maps of the layer next to the image. The other layers have 2 or 16 times as many units."""


class InfoganSampling(Options):
    """How samples are drawn."""

    rows: int = Field(0, ge=0)
    """The code that each row of a grid has a value of: 0 is the category; k is the k-th continuous code, which goes
    from -2 in the first row to 2 in the last (figure 2)."""


class InfoganGenerator(nn.Module):
    """Noise (B, noise), category (B,), codes (B, continuous) -> images (B, C, H, W) in [-1, 1]. Table 1."""

    def __init__(self, options: InfoganOptions, data: DataSpec) -> None:
        super().__init__()
        self.categories, side, width = options.categories, data.image_size // 4, options.width
        inputs = options.noise + options.categories + options.continuous
        self.layers = nn.Sequential(
            *dense(inputs, 16 * width, nn.ReLU()),
            *dense(16 * width, 2 * width * side**2, nn.ReLU()),
            nn.Unflatten(1, (2 * width, side, side)),
            ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            ConvTranspose2d(width, data.channels, 4, 2, 1),
            nn.Tanh(),
        )
        initialise(self, "normal")

    def forward(self, noise: Tensor, category: Tensor, codes: Tensor) -> Tensor:
        """Returns one image for each row."""
        chosen = F.one_hot(category, self.categories).to(noise)
        images: Tensor = self.layers(torch.cat([noise, chosen, codes], dim=1))
        return images


class InfoganDiscriminator(nn.Module):
    """Images (B, C, H, W) -> logits (B,), positive for real, and from `estimates` what Q says of the codes. Table 1."""

    def __init__(self, options: InfoganOptions, data: DataSpec) -> None:
        super().__init__()
        self.categories, side, width = options.categories, data.image_size // 4, options.width
        self.trunk = nn.Sequential(
            Conv2d(data.channels, width, 4, 2, 1),
            nn.LeakyReLU(0.1),
            Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            *dense(2 * width * side**2, 16 * width, nn.LeakyReLU(0.1)),
        )
        self.source = nn.Linear(16 * width, 1)
        codes = nn.Linear(2 * width, options.categories + options.continuous)
        self.codes = nn.Sequential(*dense(16 * width, 2 * width, nn.LeakyReLU(0.1)), codes)
        initialise(self, "normal")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the logits (B,), and the features (B, 16 width) that Q is computed from."""
        features: Tensor = self.trunk(images)
        return self.source(features).squeeze(1), features

    def estimates(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns Q's logits of the categories (B, categories), and its means of the continuous codes."""
        logits, means = self.codes(features).tensor_split([self.categories], dim=1)
        return logits, means


def dense(inputs: int, outputs: int, activation: nn.Module) -> list[nn.Module]:
    """Returns a dense layer, whose bias its batch normalisation would cancel, and an activation."""
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), activation]


def mutual_information(logits: Tensor, means: Tensor, category: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The lower bound L_I = E[log Q(c | x)] + H(c) of equation 5, in nats, for the category and all continuous codes.

    Q(c | x) of a continuous code is a Gaussian with standard deviation 1 (as in the authors' program for MNIST). H is
    log(categories), and log 2 for each code c ~ U[-1, 1].

    Args:
        logits: Q's logits of the categories, (B, categories).
        means: Q's means of the continuous codes, (B, continuous).
        category: The category that each image was generated from, (B,) int64.
        codes: The continuous codes that it was generated from, (B, continuous).
    """
    categorical = log(logits.shape[1]) - F.cross_entropy(logits, category)
    squares = (codes - means).square().sum(1)
    return categorical, means.shape[1] * (log(2) - 0.5 * LOG_2_PI) - 0.5 * precise_mean(squares)


def draw_codes(options: InfoganOptions, random: np.random.Generator, request: Request) -> Inputs:
    """Samples noise and codes; in a grid, the code that is asked for depends on the row."""
    uniform = uniform_latents(options.noise + options.continuous)(random, request)["z"]
    noise, codes = uniform.tensor_split([options.noise], dim=1)
    category = torch.from_numpy(random.integers(options.categories, size=request.count))
    if request.grid:
        rows = (request.first + torch.arange(request.count)) % request.grid
        varied = request.options.rows if request.options else 0
        if varied > options.continuous:
            raise ValueError(f"rows: {varied} is not allowed: the generator has {options.continuous} continuous codes")
        if varied:
            codes[:, varied - 1] = 4 * rows / max(1, request.grid - 1) - 2
        else:
            category = rows % options.categories
    return {"noise": noise, "category": category, "codes": codes}


def build(options: InfoganOptions, data: DataSpec) -> Game:
    """Returns the game, for images whose side is a multiple of 4 and at least 8 pixels.

    Raises:
        ValueError: The image size is not supported.
    """
    if data.image_size % 4 or data.image_size < 8:
        raise ValueError(
            f"image size {data.image_size} does not fit InfoGAN: it must be a multiple of 4, and at least 8. "
            f"Try --image-size {max(8, round(data.image_size / 4) * 4)}"
        )

    def information(discriminator: Any, features: Tensor, inputs: Inputs) -> Terms:
        logits, means = discriminator.estimates(features)
        categorical, continuous = mutual_information(logits, means, inputs["category"], inputs["codes"])
        terms = {"category": -options.information * categorical}
        if options.continuous:
            terms["codes"] = -options.information * continuous
        return terms

    def discriminator_loss(networks: Networks, batch: Batch) -> Terms:
        D = networks["discriminator"]
        on_real, on_fake = D(batch.images)[0], D(batch.fake["images"])
        return {**logistic_terms(on_real, on_fake[0]), **information(D, on_fake[1], batch.inputs)}

    def generator_loss(networks: Networks, batch: Batch) -> Terms:
        D = networks["discriminator"]
        logits, features = D(batch.fake["images"])
        return {"adversarial": precise_mean(F.softplus(-logits)), **information(D, features, batch.inputs)}

    return alternating(
        generator=InfoganGenerator(options, data),
        discriminator=InfoganDiscriminator(options, data),
        discriminator_loss=discriminator_loss,
        generator_loss=generator_loss,
        draw=lambda random, request: draw_codes(options, random, request),
        **options.turns(),
        output=Output(generate=generated().generate, rows=options.categories),
    )


variant = Variant(
    api=2,
    options=InfoganOptions,
    build=build,
    paper="Chen et al. 2016, InfoGAN: Interpretable Representation Learning by Information Maximizing Generative "
    "Adversarial Nets, https://arxiv.org/abs/1606.03657",
    sampling=InfoganSampling,
    small={"width": 4, "noise": 4},
)
