"""R3GAN: relativistic pairing with R1 and R2, on residual networks without normalisation (Huang et al. 2024).

The loss compares pairs of a real and a generated image, and both gradient penalties make its training converge without
the usual tricks (section 2). The networks mirror each other: grouped convolutions in inverted bottlenecks, Fixup's
initial weights, bilinear resampling (section 3). Learning rate, beta2, penalties and the average's half-life follow
cosine schedules.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gan_core import (
    Batch,
    DataSpec,
    Discriminator,
    Game,
    Inputs,
    Moment,
    Networks,
    Options,
    Penalised,
    RelativisticPairing,
    Request,
    Terms,
    Variant,
    adam,
    alternating,
    cosine,
    doubled_sides,
    downsample,
    fixup,
    generated,
    msr,
    normal_latents,
    upsample,
)

EXPANSION = 2
"""The channels between a block's convolutions, relative to those of the block."""
GROUP = 16
"""Channels in a group of the 3 x 3 convolutions: the cardinalities of the paper's code, 96 with a width of 768."""


class R3ganOptions(Options):
    """Options of R3GAN; the defaults are those of the paper for CIFAR-10."""

    width: int = Field(768, ge=8, multiple_of=8)
    """Channels at 4 to 32 pixels; they are halved with each doubling of the side above, as for FFHQ."""
    blocks: int = Field(2, ge=1)
    """Residual blocks at each size of the maps."""
    latent: int = Field(64, ge=1)
    """Size of the latent z, and of the generator's embedding of a class."""
    conditional: bool = False
    """Whether images are generated and judged by class; needs a data set with labels."""
    fresh_latents: bool = True
    """Update the generator on latents of its own, as in the paper's code; false takes the images that the discriminator
    has just been updated on, which is faster."""
    gamma: float = Field(0.05, gt=0)
    """Weight γ of R1 and R2 at the beginning: 0.05 for CIFAR-10, 2 for FFHQ at 64 pixels, 150 at 256."""
    final_gamma: float = Field(0.005, gt=0)
    """γ at the end of the decay, a tenth of the first one in the paper."""
    lr: float = Field(2e-4, gt=0)
    """Learning rate of Adam at the beginning."""
    final_lr: float = Field(5e-5, gt=0)
    """Learning rate at the end of the decay."""
    beta2: float = Field(0.9, ge=0, lt=1)
    """Adam's second beta at the beginning; the first one is 0."""
    final_beta2: float = Field(0.99, ge=0, lt=1)
    """Adam's second beta at the end of the decay."""
    final_half_life: float = Field(5000.0, ge=0)
    """Half-life of the generator's moving average at the end of the decay, in thousands of images; it begins at 0. 500
    for FFHQ."""
    decay_kimg: float = Field(20_000.0, gt=0)
    """Thousands of real images over which all of these follow a cosine schedule."""


def widths(options: R3ganOptions, sides: list[int]) -> list[int]:
    """Returns the channels for each side, multiples of 8."""
    return [max(8, min(options.width, options.width * 32 // side // 8 * 8)) for side in sides]


class Residual(nn.Module):
    """x + f(x), of the same shape: 1 x 1, grouped 3 x 3 and 1 x 1 convolutions (section 3)."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        inner = EXPANSION * channels
        self.expand = nn.Conv2d(channels, inner, 1)
        self.mix = nn.Conv2d(inner, inner, 3, padding=1, groups=max(1, inner // GROUP))
        self.reduce = nn.Conv2d(inner, channels, 1, bias=False)
        fixup((self.expand, self.mix, self.reduce), blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the maps."""
        y: Tensor = self.reduce(F.leaky_relu(self.mix(F.leaky_relu(self.expand(x), 0.2)), 0.2))
        return x + y


class Resample(nn.Module):
    """Doubles or halves the sides; a 1 x 1 convolution, on the smaller maps, changes the channels if they differ."""

    def __init__(self, channels: int, out_channels: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        same = channels == out_channels
        self.change = nn.Identity() if same else msr(nn.Conv2d(channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the maps."""
        y: Tensor = upsample(self.change(x)) if self.up else self.change(downsample(x))
        return y


class R3ganGenerator(nn.Module):
    """z (B, latent), and labels (B,) if it is conditional -> images (B, C, H, W), without limits."""

    def __init__(self, options: R3ganOptions, data: DataSpec, sides: list[int]) -> None:
        super().__init__()
        channels, blocks = widths(options, sides), options.blocks * len(sides)
        self.embedding = _embedding(data.classes, options.latent, 1.0) if options.conditional else None
        self.project = msr(nn.Linear(options.latent * (1 + options.conditional), channels[0], bias=False))
        self.basis = nn.Parameter(torch.randn(channels[0], 4, 4))
        layers: list[nn.Module] = []
        for stage, width in enumerate(channels):
            layers += [Resample(channels[stage - 1], width, up=True)] if stage else []
            layers += [Residual(width, blocks) for _ in range(options.blocks)]
        self.layers = nn.Sequential(*layers, msr(nn.Conv2d(channels[-1], data.channels, 1, bias=False)))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Returns one image for each latent."""
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], 1)
        images: Tensor = self.layers(self.project(z)[:, :, None, None] * self.basis)
        return images


class R3ganDiscriminator(nn.Module):
    """Images (B, C, H, W), and labels (B,) if it is conditional -> logits (B,)."""

    def __init__(self, options: R3ganOptions, data: DataSpec, sides: list[int]) -> None:
        super().__init__()
        channels, blocks = widths(options, sides)[::-1], options.blocks * len(sides)
        layers: list[nn.Module] = [msr(nn.Conv2d(data.channels, channels[0], 1, bias=False))]
        for stage, width in enumerate(channels):
            layers += [Resample(channels[stage - 1], width, up=False)] if stage else []
            layers += [Residual(width, blocks) for _ in range(options.blocks)]
        last = channels[-1]
        features = last if options.conditional else 1
        self.embedding = _embedding(data.classes, features, features**-0.5) if options.conditional else None
        self.layers, self.basis = nn.Sequential(*layers), nn.Parameter(torch.randn(last, 4, 4) / 4)
        self.project = msr(nn.Linear(last, features, bias=False))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Returns one logit for each image: of the pair of image and class, if it is conditional."""
        features: Tensor = self.project((self.layers(images) * self.basis).sum((2, 3)))
        return features.squeeze(1) if self.embedding is None else (features * self.embedding(labels)).sum(1)


def _embedding(classes: int, size: int, gain: float) -> nn.Embedding:
    """A dense layer without bias on one-hot labels, with MSR's weights: its fan in is the number of classes."""
    embedding = nn.Embedding(classes, size)
    nn.init.normal_(embedding.weight, 0.0, gain * classes**-0.5)
    return embedding


def build(options: R3ganOptions, data: DataSpec) -> Game:
    """Returns the game, for images whose side is a power of two and at least 8 pixels.

    Raises:
        ValueError: The image size is not supported, or classes are wanted from a data set without labels.
    """
    sides = doubled_sides(data.image_size, "R3GAN")
    if options.conditional and not data.classes:
        raise ValueError(f"conditional: data set {data.name!r} has no labels. Set conditional=false")
    over = options.decay_kimg * 1000
    gamma = cosine(options.gamma, options.final_gamma, over)
    lr, beta2 = cosine(options.lr, options.final_lr, over), cosine(options.beta2, options.final_beta2, over)
    pairing, latents = RelativisticPairing(), normal_latents(options.latent)

    def labels(batch: Batch) -> Tensor | None:
        """Real and generated images of a pair are of the same class."""
        return batch.labels if options.conditional else None

    def make_fake(networks: Networks, batch: Batch) -> dict[str, Tensor]:
        return {"images": networks["generator"](batch.inputs["z"], labels(batch))}

    def judge(networks: Networks, batch: Batch) -> Discriminator:
        """D(·), or D(·, y) with the classes of the batch."""
        return partial(networks["discriminator"], labels=labels(batch))

    def discriminator_loss(networks: Networks, batch: Batch) -> Terms:
        """Relativistic pairing (equation 2), and γ / 2 times R1 and R2."""
        penalised = Penalised(pairing, gamma(batch.moment), gamma(batch.moment))
        return penalised.discriminator(judge(networks, batch), batch.images, batch.fake["images"])

    def generator_loss(networks: Networks, batch: Batch) -> Terms:
        return pairing.generator(judge(networks, batch), batch.images, batch.fake["images"])

    def tune(moment: Moment) -> dict[str, object]:
        return {"lr": lr(moment), "betas": (0.0, beta2(moment))}

    def draw(random: np.random.Generator, request: Request) -> Inputs:
        """In training, a fake has the class of the real image that it is compared with."""
        return {**latents(random, request), **request.given}

    optimizer = adam(options.lr, (0.0, options.beta2))
    game = alternating(
        generator=R3ganGenerator(options, data, sides),
        discriminator=R3ganDiscriminator(options, data, sides),
        discriminator_loss=discriminator_loss,
        generator_loss=generator_loss,
        draw=draw,
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        fresh_latents=options.fresh_latents,
        make_fake=make_fake,
        output=generated(given=("labels",) if options.conditional else (), clamp=True),
    )
    return replace(
        game,
        phases=[replace(phase, tune=tune) for phase in game.phases],
        half_life=cosine(0.0, options.final_half_life * 1000, over),
    )


variant = Variant(
    api=2,
    options=R3ganOptions,
    build=build,
    paper="Huang et al. 2024, The GAN is dead; long live the GAN! A Modern GAN Baseline, "
    "https://arxiv.org/abs/2501.05441",
    small={"width": 8, "blocks": 1, "latent": 8},
)
