"""Batch normalisation whose scale and shift depend on a condition, such as a class."""

from torch import Tensor, nn


class ConditionalBatchNorm(nn.Module):
    """x (B, C, H, W), condition -> (1 + γ(condition)) · (x - mean) / std + β(condition), (B, C, H, W).

    Dumoulin et al. 2017, equation 5, and de Vries et al. 2017, equation 6. Mean and standard deviation are those of
    `nn.BatchNorm2d`, and so of the global batch on several processes.
    """

    def __init__(self, channels: int, condition: int, *, labels: bool = False) -> None:
        """Builds γ and β.

        Args:
            channels: C.
            condition: Size of the condition, a tensor (B, condition), which γ and β are linear functions of, without
                bias (Brock et al. 2019, appendix B). With `labels`, the number of classes.
            labels: Whether the condition is a label, (B,) int64: then γ and β are embeddings, which start at 0.
        """
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels, affine=False)
        self.scale: nn.Module
        self.shift: nn.Module
        if labels:
            self.scale, self.shift = nn.Embedding(condition, channels), nn.Embedding(condition, channels)
            nn.init.zeros_(self.scale.weight)
            nn.init.zeros_(self.shift.weight)
        else:
            self.scale = nn.Linear(condition, channels, bias=False)
            self.shift = nn.Linear(condition, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Returns the normalised, scaled and shifted x."""
        scale, shift = self.scale(condition)[:, :, None, None], self.shift(condition)[:, :, None, None]
        normal = self.normalise(x)
        result: Tensor = normal + normal * scale + shift
        return result
