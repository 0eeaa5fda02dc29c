"""DCGAN: convolutional networks for stable GAN training.

Strided convolutions instead of pooling, batch normalisation in both networks, ReLU in the generator and leaky ReLU in
the discriminator (section 3 of the paper), for square images whose side is a multiple of 4 and at least 8 pixels.
"""

from itertools import pairwise
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from gan_core import (
    AugmentOptions,
    Conv2d,
    ConvTranspose2d,
    DataSpec,
    Game,
    LayerListOptions,
    ObjectiveOptions,
    PenaltyOptions,
    TwoPlayerOptions,
    Variant,
    normal_latents,
    two_player,
)


class DcganNetworkOptions(LayerListOptions):
    """Options of DCGAN's networks, for all variants that use them."""

    discriminator_norm: Literal["none", "batch", "spectral"] = "batch"
    """The discriminator's normalisation; the paper uses batch. batch has no effect on a layer list, which names its own
    batch_norm layers."""
    latent: int = Field(100, ge=1)
    """Size of the latent z ~ N(0, I)."""
    width: int = Field(64, ge=1)
    """Feature maps of the layer next to the image; they double each time the image's side is halved."""
    max_width: int = Field(1024, ge=1)
    """Upper limit of the feature maps of a layer."""


class DcganOptions(AugmentOptions, DcganNetworkOptions, ObjectiveOptions, PenaltyOptions, TwoPlayerOptions):
    """Options of DCGAN. The defaults lr = 2e-4, beta1 = 0.5 and the non-saturating loss are the paper's."""


def stages(image_size: int) -> int:
    """Returns how many times the side is halved: at least twice, then while it is even and above 4.

    28 -> 14 -> 7; 64 -> 32 -> 16 -> 8 -> 4; 8 -> 4 -> 2.

    Raises:
        ValueError: The side is not a multiple of 4, or below 8.
    """
    if image_size % 4 or image_size < 8:
        raise ValueError(
            f"image size {image_size} does not fit DCGAN: it must be a multiple of 4, and at least 8. "
            f"Try --image-size {max(8, round(image_size / 4) * 4)}"
        )
    count, side = 2, image_size // 4
    while side % 2 == 0 and side > 4:
        count, side = count + 1, side // 2
    return count


def widths(options: DcganNetworkOptions, data: DataSpec) -> list[int]:
    """Returns the number of feature maps of each stage; the first is the one next to the image.

    Raises:
        ValueError: The image size is not supported; see `stages`.
    """
    return [min(options.width * 2**i, options.max_width) for i in range(stages(data.image_size))]


def initialise(module: nn.Module) -> None:
    """Draws weights from N(0, 0.02²) (Radford et al. 2016, section 4), scales of batch norms from N(1, 0.02²)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


class DcganGenerator(nn.Module):
    """z (B, latent) -> images (B, C, H, W) in [-1, 1]. Figure 1 of the paper, with 4 x 4 kernels."""

    def __init__(self, options: DcganNetworkOptions, data: DataSpec) -> None:
        super().__init__()
        outwards = widths(options, data)[::-1]
        side = data.image_size >> len(outwards)
        layers: list[nn.Module] = [ConvTranspose2d(options.latent, outwards[0], side, bias=False)]
        for before, after in pairwise(outwards):
            layers += [nn.BatchNorm2d(before), nn.ReLU(), ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(outwards[-1]), nn.ReLU(), ConvTranspose2d(outwards[-1], data.channels, 4, 2, 1)]
        self.layers = nn.Sequential(*layers, nn.Tanh()).apply(initialise)

    def forward(self, z: Tensor) -> Tensor:
        """Returns one image for each latent."""
        images: Tensor = self.layers(z[:, :, None, None])
        return images


class DcganDiscriminator(nn.Module):
    """Images (B, C, H, W) in [-1, 1] -> logits (B,)."""

    def __init__(self, options: DcganNetworkOptions, data: DataSpec) -> None:
        super().__init__()
        inwards, batch_norm = widths(options, data), options.discriminator_norm == "batch"
        # The first layer has no batch normalisation: the paper found training with it unstable (section 3).
        layers: list[nn.Module] = [Conv2d(data.channels, inwards[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(inwards):
            layers.append(Conv2d(before, after, 4, 2, 1, bias=not batch_norm))
            layers += [nn.BatchNorm2d(after)] if batch_norm else []
            layers.append(nn.LeakyReLU(0.2))
        side = data.image_size >> len(inwards)
        self.layers = nn.Sequential(*layers, Conv2d(inwards[-1], 1, side)).apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Returns one logit per image; positive means real."""
        logits: Tensor = self.layers(images)
        return logits.flatten()


def dcgan_networks(options: DcganNetworkOptions, data: DataSpec) -> tuple[nn.Module, nn.Module]:
    """Returns the generator and the discriminator: DCGAN's, or those of the options' layer lists.

    Raises:
        ValueError: The image size is not supported, or a layer of a layer list does not fit.
    """
    return options.make_networks(
        data, options.latent, lambda: DcganGenerator(options, data), lambda: DcganDiscriminator(options, data)
    )


def build(options: DcganOptions, data: DataSpec) -> Game:
    """Returns the game; see `dcgan_networks` for the images that it supports."""
    generator, discriminator = dcgan_networks(options, data)
    game = two_player(
        generator=generator,
        discriminator=discriminator,
        loss=options.penalise(options.make_loss()),
        draw=normal_latents(options.latent),
        **options.turns(),
    )
    return options.augmented(game, data)


variant = Variant(
    api=2,
    options=DcganOptions,
    build=build,
    paper="Radford et al. 2016, Unsupervised Representation Learning with Deep Convolutional GANs, "
    "https://arxiv.org/abs/1511.06434",
    small={"width": 8},
)
