"""The projection head of a class-conditional discriminator."""

from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Features φ (B, features), labels y (B,) -> logits V_y · φ + ψ(φ), (B,), with an embedding V and a linear ψ.

    Miyato & Koyama 2018, cGANs with Projection Discriminator, equation 3.
    """

    def __init__(self, features: int, classes: int) -> None:
        """Builds V, (classes, features), and ψ."""
        super().__init__()
        self.unconditional = nn.Linear(features, 1)
        self.embedding = nn.Embedding(classes, features)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Returns one logit for each row of features and its label."""
        projected = (self.embedding(labels) * features).sum(1)
        logits: Tensor = self.unconditional(features).squeeze(1) + projected
        return logits
