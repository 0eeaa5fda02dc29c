"""U-Net: an encoder and a decoder with skip connections between their layers of the same size (Isola et al. 2017)."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from gan_core.blocks.dropout import Dropout
from gan_core.blocks.layer_list import initialise

MOST_WIDTHS = 8
"""The feature maps double with each layer, up to this many times those of the first."""

DROPPED = 3
"""Blocks of the decoder that have dropout, from the innermost one on."""


class UNet(nn.Module):
    """Images (B, C, H, W) in [-1, 1] -> images (B, C', H, W) in [-1, 1]; H and W are multiples of 2 ** levels.

    Source: Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks, appendix 6.1.1: 4 x 4
    convolutions with stride 2, in the encoder C64-C128-C256-C512-C512-C512-C512-C512 for 8 levels, with leaky ReLU
    (slope 0.2), in the decoder the reverse with ReLU, and tanh at the end. Layer i of the encoder is concatenated to
    the input of layer n - i of the decoder, and the first three blocks of the decoder have dropout. The first layer has
    no normalisation, nor has the innermost one, which at 1 x 1 pixels would be set to zero. Only the last convolution
    has a bias, and initial weights are from N(0, 0.02²).
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        levels: int,
        width: int = 64,
        norm: Literal["instance", "batch"] = "instance",
        dropout: float = 0.5,
    ) -> None:
        """Builds the network.

        Args:
            channels: Channels of the images that it is called with.
            out_channels: Channels of the images that it returns.
            levels: How many times the side is halved, at least 2: 8 for 256 pixels in the paper.
            width: Feature maps of the first layer.
            norm: instance, with scale and shift, which is the paper's batch normalisation with its batch of one image;
                or batch.
            dropout: Probability with which the decoder's first blocks set an element to zero.
        """
        super().__init__()
        widths = [width * min(2**level, MOST_WIDTHS) for level in range(levels)]
        self.down = nn.ModuleList([nn.Conv2d(channels, width, 4, 2, 1, bias=False)])
        for level, (before, after) in enumerate(pairwise(widths), start=2):
            block = [nn.LeakyReLU(0.2), nn.Conv2d(before, after, 4, 2, 1, bias=False)]
            self.down.append(nn.Sequential(*block, *([] if level == levels else [_norm(norm, after)])))
        self.up = nn.ModuleList()
        inner = widths[-1]
        for after in widths[-2::-1]:
            up = nn.ConvTranspose2d(inner, after, 4, 2, 1, bias=False)
            self.up.append(nn.Sequential(nn.ReLU(), up, _norm(norm, after)))
            inner = 2 * after  # With the skip connection.
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(inner, out_channels, 4, 2, 1), nn.Tanh())
        self.dropout = Dropout(dropout)
        initialise(self, "normal")

    def forward(self, images: Tensor, *, noise: bool | None = None) -> Tensor:
        """Returns one image for each image.

        Args:
            images: (B, C, H, W).
            noise: Whether elements are dropped; None: in training mode only. The paper's only noise is dropout, which
                it leaves on for tests.
        """
        dropping = self.training if noise is None else noise
        skips: list[Tensor] = []
        x = images
        for down in self.down:
            x = down(x)
            skips.append(x)
        skips.pop()
        for number, up in enumerate(self.up):
            x = up(x)
            if number < DROPPED:
                x = self.dropout(x, dropping)
            x = torch.cat((skips.pop(), x), 1)
        translated: Tensor = self.last(x)
        return translated


def _norm(kind: str, width: int) -> nn.Module:
    return nn.InstanceNorm2d(width, affine=True) if kind == "instance" else nn.BatchNorm2d(width)
