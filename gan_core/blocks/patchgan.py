"""PatchGAN: a discriminator that judges overlapping patches of an image instead of the whole (Isola et al. 2017)."""

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from gan_core.blocks.layer_list import initialise

MOST_WIDTHS = 8
"""The feature maps double with each layer, up to this many times those of the first."""


class PatchDiscriminator(nn.Module):
    """Images (B, C, H, W) -> one logit for each of h x w overlapping patches, (B, 1, h, w).

    Source: Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks, appendix 6.1.2, and
    Zhu et al. 2017, appendix 7.2: 4 x 4 convolutions C64-C128-C256-C512 with leaky ReLU (slope 0.2), the last with
    stride 1, and a convolution to one channel; no normalisation after the first. Zero padding of 1. Initial weights are
    from N(0, 0.02²), biases 0. With 3 layers a patch has 70 x 70 pixels, see `receptive_field`; for the shape of the
    map see `patch_map`.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: int = 64,
        layers: int = 3,
        norm: Literal["instance", "batch", "none"] = "instance",
    ) -> None:
        """Builds the network.

        Args:
            channels: Channels of the images; for a conditional discriminator those of condition and image together,
                which are concatenated along the channels.
            width: Feature maps of the first layer.
            layers: Layers with stride 2, at least 1. (The first paper's 16 x 16 patches are 1, its 70 x 70 are 3, and
                its 286 x 286 are 5.)
            norm: The normalisation: instance, without scale and shift; batch, with them and without the convolutions'
                biases, which it cancels; or none.
        """
        super().__init__()
        widths = [width * min(2**number, MOST_WIDTHS) for number in range(layers + 1)]
        parts: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for number, (before, after) in enumerate(pairwise(widths), start=1):
            parts.append(nn.Conv2d(before, after, 4, 2 if number < layers else 1, 1, bias=norm != "batch"))
            if norm != "none":
                parts.append(nn.InstanceNorm2d(after) if norm == "instance" else nn.BatchNorm2d(after))
            parts.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        initialise(self, "normal")

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits of all patches; positive means real."""
        logits: Tensor = self.layers(images)
        return logits


def patch_map(height: int, width: int, layers: int) -> tuple[int, int]:
    """Returns the height and width of the map of logits for images of `height` x `width` pixels.

    Raises:
        ValueError: The images are too small: the side must be at least 3 after `layers` halvings, which leave out an
            odd pixel.
    """
    least = 3 << layers
    if min(height, width) < least:
        raise ValueError(
            f"images of {width} x {height} are too small for a PatchGAN with {layers} layers of stride 2, which needs "
            f"at least {least} pixels. Use larger images or fewer layers"
        )
    return (height >> layers) - 2, (width >> layers) - 2


def receptive_field(layers: int) -> int:
    """Returns the side of the patches in pixels: 16, 34, 70, 142 or 286 for 1 to 5 layers with stride 2."""
    side = 1 + 3 + 3  # Two convolutions of 4 x 4 with stride 1.
    for _ in range(layers):
        side = 2 * side + 2
    return side
