"""Pre-activation residual blocks (He et al. 2016, Identity Mappings), which double or halve the side of a map.

Miyato et al. 2018, appendix B.4, with the widths of Brock et al. 2019, appendix B (figure 15): both convolutions of a
block have its number of outputs.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.blocks.small_map_convolution import Conv2d


class UpBlock(nn.Module):
    """x (B, inputs, H, W), condition -> (B, outputs, 2 H, 2 W): norm, ReLU, up, conv, norm, ReLU, conv, plus shortcut.

    Up is by the nearest neighbour. The shortcut has a 1 x 1 convolution before it, which is the same as after it.
    """

    def __init__(self, inputs: int, outputs: int, norm: Callable[[int], nn.Module]) -> None:
        """Builds the block.

        Args:
            inputs: Channels of x.
            outputs: Channels of the result.
            norm: `norm(channels)` returns a normalisation that is called with maps and the condition, such as
                `ConditionalBatchNorm`.
        """
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Returns maps of twice the height and width."""
        h = self.conv1(F.interpolate(F.relu(self.norm1(x, condition)), scale_factor=2))
        h = self.conv2(F.relu(self.norm2(h, condition)))
        result: Tensor = h + F.interpolate(self.shortcut(x), scale_factor=2)
        return result


class DownBlock(nn.Module):
    """x (B, inputs, H, W) -> (B, outputs, H / 2, W / 2): ReLU, conv, ReLU, conv, mean of 2 x 2, plus shortcut."""

    def __init__(self, inputs: int, outputs: int, *, down: bool = True, first: bool = False) -> None:
        """Builds the block.

        Args:
            inputs: Channels of x.
            outputs: Channels of the result.
            down: Whether the side is halved; an odd last row or column is left out. Otherwise it stays, and the
                shortcut of a block that also keeps the number of channels is x itself.
            first: Whether x is an image, to which no ReLU is applied.
        """
        super().__init__()
        self.down, self.first = down, first
        self.conv1 = Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = Conv2d(inputs, outputs, 1) if down or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of half the height and width, or of the same."""
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.down:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        result: Tensor = h + self.shortcut(x)
        return result
