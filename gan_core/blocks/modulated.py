"""Convolutions that are modulated by a style, with demodulation in place of a normalisation (StyleGAN2)."""

from math import sqrt

import torch
from torch import Tensor, nn

from gan_core.blocks.equalised import EqualisedLinear, scaled_leaky_relu
from gan_core.blocks.fir import blur
from gan_core.blocks.noise import Noise
from gan_core.blocks.small_map_convolution import Conv2d, ConvTranspose2d

EPSILON = 1e-8


class ModulatedConv2d(nn.Module):
    """x (B, channels, H, W) and w (B, features) -> (B, out_channels, H, W), or twice the sides with `up`.

    Source: Karras et al. 2020, Analyzing and Improving the Image Quality of StyleGAN, section 2.2. An affine layer maps
    w to a style s_i for each input channel. Weights are modulated, w'_ijk = s_i · w_ijk (equation 1), and demodulated,
    w''_ijk = w'_ijk / √(Σ_i,k w'_ijk² + ε) (equation 3), for each image of its own. Here the maps are scaled before and
    after one convolution with common weights, which gives the same. A bias is added to the result.
    """

    def __init__(
        self, channels: int, out_channels: int, kernel: int, features: int, *, up: bool = False, demodulate: bool = True
    ) -> None:
        """Draws the weights from N(0, 1), with an equalised learning rate; styles begin at 1 for w = 0.

        Args:
            channels: Channels of x.
            out_channels: Channels of the result.
            kernel: Side of the kernel; odd, and 3 with `up`.
            features: Size of w.
            up: Whether the sides are doubled, by a transposed convolution and a FIR filter.
            demodulate: Whether weights are demodulated; the layers that give colours are not.
        """
        super().__init__()
        self.affine = EqualisedLinear(features, channels, bias=1.0)
        self.convolution: Conv2d | ConvTranspose2d
        if up:
            self.convolution = ConvTranspose2d(channels, out_channels, kernel, 2, bias=False)
        else:
            self.convolution = Conv2d(channels, out_channels, kernel, padding=kernel // 2, bias=False)
        nn.init.normal_(self.convolution.weight)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        # Demodulation cancels any constant factor on the weights.
        self.up, self.demodulate, self.scale = up, demodulate, 1.0 if demodulate else 1 / sqrt(channels * kernel**2)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Returns the maps."""
        style = self.scale * self.affine(w)
        y: Tensor = self.convolution(x * style[:, :, None, None])
        if self.up:
            y = blur(4 * y, 1)  # Of 2 H + 1 rows; three of four pixels between which it interpolates are zeros.
        if self.demodulate:
            squares = self.convolution.weight.square().sum((2, 3))
            norms = style.square() @ (squares if self.up else squares.T)  # A transposed one has the input first.
            y = y * torch.rsqrt(norms + EPSILON)[:, :, None, None]
        return y + self.bias[:, None, None]


class StyledConv2d(nn.Module):
    """A modulated 3 x 3 convolution, noise and activation: x (B, channels, H, W) and w (B, features) -> maps.

    Karras et al. 2020, figure 2d. The arguments are those of `ModulatedConv2d`.
    """

    def __init__(self, channels: int, out_channels: int, features: int, *, up: bool = False) -> None:
        """Draws the weights."""
        super().__init__()
        self.convolution = ModulatedConv2d(channels, out_channels, 3, features, up=up)
        self.noise = Noise()

    def forward(self, x: Tensor, w: Tensor, noise: bool = True) -> Tensor:
        """Returns maps of `out_channels`, and of twice the sides with `up`; `noise` says whether noise is added."""
        y: Tensor = self.convolution(x, w)
        return scaled_leaky_relu(self.noise(y) if noise else y)
