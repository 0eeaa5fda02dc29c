"""Self-attention over the pixels of a map."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """x (B, C, H, W) -> γ · o(attention) + x, with a scalar γ that starts at 0.

    Zhang et al. 2019 (SAGAN), equations 1 to 4, as Brock et al. 2019 have it: 1 x 1 convolutions without bias to C / 8
    channels for queries and keys and C / 2 for values; keys and values are the largest of each 2 x 2 pixels.
    """

    def __init__(self, channels: int) -> None:
        """Builds the layer for C = `channels`.

        Raises:
            ValueError: There are fewer than 8 channels.
        """
        super().__init__()
        if channels < 8:
            raise ValueError(f"self-attention needs at least 8 channels, but gets {channels}")
        self.query = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.key = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.value = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.output = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of the same shape."""
        query = self.query(x).flatten(2)
        key, value = (F.max_pool2d(each, 2).flatten(2) for each in (self.key(x), self.value(x)))
        weights = (query.transpose(1, 2) @ key).softmax(-1)
        attended = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        result: Tensor = self.gamma * self.output(attended) + x
        return result
