"""BigGAN: class-conditional residual networks with spectral normalisation, a projection head and the hinge loss.

Each block of the generator has batch normalisation whose scale and shift are linear functions of an embedding of the
class and of a part of the latent (Brock et al. 2019, appendix B). Needs labelled data.
"""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from gan_core import Batch, ConditionalBatchNorm, DataSpec, DownBlock, Draw, Game, Inputs, Networks, OptimizerOptions

# isort: split
from gan_core import Options, ProjectionHead, Request, SelfAttention, Terms, UpBlock, Variant

# isort: split
from gan_core import alternating, conditional_latents, generated, hinge_terms, initialise_orthogonally, normal_latents

# isort: split
from gan_core import normalise_spectrally, orthogonal_penalty, precise_mean, truncated_normal

UP = {4: (16, 16, 8, 4, 2), 5: (16, 16, 8, 4, 2, 1)}
"""Channels of the generator's maps in multiples of `width`, by the number of blocks; 4 each for fewer blocks."""
DOWN = {4: (1, 2, 4, 8, 16), 5: (1, 2, 4, 8, 16, 16)}
"""Those that the discriminator's blocks return; of fewer blocks there are 4, of which two or less halve the side."""


class BigganOptions(OptimizerOptions):
    """Options of BigGAN. The optimizers' settings are the paper's, for batches of 2,048 (section 3)."""

    lr: float = Field(5e-5, gt=0)
    """Learning rate of the generator."""
    discriminator_lr: float | None = Field(2e-4, gt=0)
    """Learning rate of the discriminator; null: that of the generator."""
    beta1: float = Field(0.0, ge=0, lt=1)
    """Adam's first beta, or the momentum of sgd."""
    latent: int = Field(120, ge=1)
    """Size of the latent z ~ N(0, I)."""
    split_latents: bool = True
    """Split the latent into equal parts: one for the first layer, and one for each block's normalisation."""
    embedding: int = Field(128, ge=0)
    """Size of the class embedding that all blocks share; 0: each normalisation has embeddings of its own, and
    split_latents must be false."""
    width: int = Field(64, ge=1)
    """Channels are multiples of it; the paper has 96."""
    attention: int = Field(64, ge=0)
    """Side of the maps that have self-attention, in both networks; 0: none."""
    discriminator_steps: int = Field(2, ge=1)
    """Updates of the discriminator, each on a new batch, per update of the generator."""
    orthogonal: float = Field(1e-4, ge=0)
    """Weight β of the orthogonal regularisation of the generator (equation 3)."""

    @field_validator("embedding")
    @classmethod
    def _takes_latents(cls, value: int, info: ValidationInfo) -> int:
        if not value and info.data.get("split_latents"):
            raise ValueError("above 0 with split_latents=true: parts of the latent are concatenated to the embedding")
        return value


class BigganSampling(Options):
    """How samples are drawn."""

    truncation: float | None = Field(None, gt=0)
    """Truncate latents to [-truncation, truncation] (section 3.1): better and less diverse samples for lower values."""
    standing_statistics: int = Field(0, ge=0)
    """Batches of 64 samples over which means and variances of batch normalisation are averaged before sampling
    (section 2), with latents truncated in the same way; the paper has 100. 0: their averages over training."""


def blocks_for(image_size: int) -> int:
    """Returns the number of the generator's blocks, each of which doubles the side, from a side of 4 to 7 pixels.

    8 -> 1; 16 and 28 -> 2; 32 -> 3; 64 -> 4; 128 -> 5.

    Raises:
        ValueError: The side is not supported.
    """
    allowed = {side << count: count for count in range(1, 6) for side in (7, 6, 5, 4) if 8 <= side << count <= 128}
    if image_size not in allowed:
        nearest = min(allowed, key=lambda size: abs(size - image_size))
        raise ValueError(
            f"image size {image_size} does not fit BigGAN: it must be 4 to 7, doubled one to five times, and at most "
            f"128. Try --image-size {nearest}"
        )
    return allowed[image_size]


class BigganGenerator(nn.Module):
    """z (B, latent), labels (B,) -> images (B, C, H, W) in [-1, 1]."""

    def __init__(self, options: BigganOptions, data: DataSpec) -> None:
        super().__init__()
        count = blocks_for(data.image_size)
        channels = [options.width * multiple for multiple in UP.get(count, (4,) * (count + 1))]
        self.parts = count + 1 if options.split_latents else 1
        part, self.side = options.latent // self.parts, data.image_size >> count
        self.shared = nn.Embedding(data.classes, options.embedding) if options.embedding else nn.Identity()
        condition = options.embedding + (part if options.split_latents else 0) or data.classes
        norm = partial(ConditionalBatchNorm, condition=condition, labels=not options.embedding)
        self.dense = nn.Linear(part, channels[0] * self.side**2)
        self.blocks = nn.ModuleList(UpBlock(before, after, norm) for before, after in pairwise(channels))
        sides = [self.side << number for number in range(1, count + 1)]
        self.attention = attention(channels[1:], sides, options)
        last = nn.Conv2d(channels[-1], data.channels, 3, padding=1)
        self.image = nn.Sequential(nn.BatchNorm2d(channels[-1]), nn.ReLU(), last, nn.Tanh())
        normalise_spectrally(initialise_orthogonally(self), embeddings=False)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Returns one image for each latent and label."""
        condition = self.shared(labels)
        first, *others = z.chunk(self.parts, dim=1)
        x = self.dense(first).unflatten(1, (-1, self.side, self.side))
        for number, block in enumerate(self.blocks):
            x = block(x, torch.cat([condition, others[number]], dim=1) if others else condition)
            x = self.attention[number](x)
        images: Tensor = self.image(x)
        return images


class BigganDiscriminator(nn.Module):
    """Images (B, C, H, W), labels (B,) -> logits (B,), positive for real."""

    def __init__(self, options: BigganOptions, data: DataSpec) -> None:
        super().__init__()
        count = blocks_for(data.image_size)
        channels = [data.channels, *(options.width * multiple for multiple in DOWN.get(count, (4,) * 4))]
        halvings = count if count in DOWN else min(count, 2)
        self.blocks = nn.ModuleList(
            DownBlock(before, after, down=number < halvings, first=number == 0)
            for number, (before, after) in enumerate(pairwise(channels))
        )
        sides = [data.image_size >> min(number, halvings) for number in range(1, len(channels))]
        self.attention = attention(channels[1:], sides, options)
        self.head = ProjectionHead(channels[-1], data.classes)
        normalise_spectrally(initialise_orthogonally(self))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Returns one logit for each image and label."""
        x = images
        for block, attention in zip(self.blocks, self.attention, strict=True):
            x = attention(block(x))
        logits: Tensor = self.head(F.relu(x).sum((2, 3)), labels)
        return logits


def attention(channels: list[int], sides: list[int], options: BigganOptions) -> nn.ModuleList:
    """Returns what follows each block: self-attention where the option names the side of its maps, or nothing."""
    return nn.ModuleList(
        SelfAttention(each) if side == options.attention else nn.Identity()
        for each, side in zip(channels, sides, strict=True)
    )


def latents(size: int) -> Draw:
    """Returns a `draw` of normal latents, truncated where the sampling options say so."""
    normal = normal_latents(size)

    def draw(random: np.random.Generator, request: Request) -> Inputs:
        if request.options is None or request.options.truncation is None:
            return normal(random, request)
        return {"z": truncated_normal(random, (request.count, size), request.options.truncation)}

    return draw


def build(options: BigganOptions, data: DataSpec) -> Game:
    """Returns the game; see `blocks_for` for the images that it supports.

    Raises:
        ValueError: The image size is not supported, or the latent cannot be split into equal parts.
    """
    parts = blocks_for(data.image_size) + 1
    if options.split_latents and options.latent % parts:
        raise ValueError(
            f"latent: {options.latent} cannot be split into {parts} equal parts. Try latent="
            f"{max(1, round(options.latent / parts)) * parts}, or split_latents=false"
        )
    draw = conditional_latents(latents(options.latent), data.classes)

    def discriminator_loss(networks: Networks, batch: Batch) -> Terms:
        assert batch.labels is not None
        D = networks["discriminator"]
        return hinge_terms(D(batch.images, batch.labels), D(batch.fake["images"], batch.inputs["labels"]))

    def generator_loss(networks: Networks, batch: Batch) -> Terms:
        logits = networks["discriminator"](batch.fake["images"], batch.inputs["labels"])
        terms = {"adversarial": -precise_mean(logits)}
        if options.orthogonal:
            terms["orthogonal"] = options.orthogonal * orthogonal_penalty(networks["generator"])
        return terms

    def standing_statistics(networks: Networks, random: np.random.Generator, sampling: Any) -> None:
        """Averages means and variances over batches; nothing but batch normalisation is in training mode."""
        if sampling is None or not sampling.standing_statistics:
            return
        generator = networks["generator"]
        weight = next(generator.parameters())
        for module in generator.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None  # An average in which every batch counts the same.
                module.train()
        for _ in range(sampling.standing_statistics):
            drawn = draw(random, Request(count=64, options=sampling))
            generator(z=drawn["z"].to(weight), labels=drawn["labels"].to(weight.device))

    generator_optimizer, discriminator_optimizer = options.make_optimizers()
    game = alternating(
        generator=BigganGenerator(options, data),
        discriminator=BigganDiscriminator(options, data),
        discriminator_loss=discriminator_loss,
        generator_loss=generator_loss,
        draw=draw,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        discriminator_steps=options.discriminator_steps,
        fresh_latents=True,
        output=generated(given=("labels",)),
    )
    return replace(game, prepare=standing_statistics)


variant = Variant(
    api=2,
    options=BigganOptions,
    build=build,
    paper="Brock et al. 2019, Large Scale GAN Training for High Fidelity Natural Image Synthesis, "
    "https://arxiv.org/abs/1809.11096",
    needs=(("images", "labels"),),
    sampling=BigganSampling,
    small={"width": 2, "latent": 6, "embedding": 4, "attention": 8},
)
