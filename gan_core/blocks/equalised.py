"""Layers with an equalised learning rate (Karras et al. 2018, Progressive Growing of GANs, section 4.1).

Weights are drawn from N(0, 1), and multiplied in each forward pass by He's constant 1 / √(fan in). An optimizer that
divides by the size of the gradients then changes all weights at the same relative rate.
"""

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.blocks.small_map_convolution import Conv2d


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """A leaky ReLU with slope 0.2, times √2 to keep the size of its input, as in the code of StyleGAN."""
    return sqrt(2) * F.leaky_relu(x, 0.2)


class EqualisedLinear(nn.Module):
    """A dense layer, (B, features) -> (B, units): y = x (c W)ᵀ + lr_multiplier · b, with c = lr_multiplier / √features.

    With `lr_multiplier` m below 1, weights are drawn from N(0, 1 / m²) and effectively learn at m times the rate
    (Karras et al. 2019, A Style-Based Generator Architecture, appendix C: 0.01 in the mapping network).
    """

    def __init__(self, features: int, units: int, *, bias: float | None = 0.0, lr_multiplier: float = 1.0) -> None:
        """Draws the weights; all biases of y begin at `bias`, and None leaves them out."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(units, features) / lr_multiplier)
        self.bias = None if bias is None else nn.Parameter(torch.full((units,), bias / lr_multiplier))
        self.scale, self.lr_multiplier = lr_multiplier / sqrt(features), lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, units) for (B, features)."""
        bias = None if self.bias is None else self.lr_multiplier * self.bias
        return F.linear(x, self.scale * self.weight, bias)


class EqualisedConv2d(Conv2d):
    """A convolution, (B, channels, H, W) -> (B, out_channels, H', W'): y = c (W * x) + b, c = 1 / √(channels k²)."""

    def __init__(
        self, channels: int, out_channels: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        """Draws the weights from N(0, 1); biases begin at 0."""
        super().__init__(channels, out_channels, kernel, stride, padding, bias=bias)
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.scale = 1 / sqrt(channels * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the maps. x is scaled, which gives the same as scaled weights."""
        return super().forward(self.scale * x)
