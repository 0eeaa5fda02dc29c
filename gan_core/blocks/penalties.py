"""Penalties on a discriminator's slope, which keep it from being too sure of itself."""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_core.game.phase import Terms
from gan_core.game.protocols import Discriminator, Loss

Judge = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) -> one logit for each, (B,), of which no image changes another's: no batch normalisation."""


def squared_gradient_norm(judge: Judge, images: Tensor) -> Tensor:
    """E[‖∇D(x)‖²], the gradient of each image's logit by its pixels: R1 on real images, R2 on generated ones.

    Mescheder et al. 2018, equations 9 and 10, without their γ / 2.

    Args:
        judge: D.
        images: x, (B, C, H, W); nothing flows back into what made them.

    Returns:
        A scalar that can be differentiated, in float32 or better whatever the run's precision.
    """
    with torch.autocast(images.device.type, enabled=False):
        images = images.detach().to(torch.promote_types(images.dtype, torch.float32)).requires_grad_()
        (slope,) = torch.autograd.grad(judge(images).sum(), images, create_graph=True)
        return slope.square().flatten(1).sum(1).mean()


def gradient_penalties(judge: Judge, real: Tensor, fake: Tensor, r1: float, r2: float) -> dict[str, Tensor]:
    """Returns the terms (γ / 2) E[‖∇D(x)‖²] on real and on generated images, for weights γ that are not 0."""
    weighed = (("r1", r1, real), ("r2", r2, fake))
    return {name: 0.5 * weight * squared_gradient_norm(judge, images) for name, weight, images in weighed if weight}


class Penalised:
    """A loss, with R1 and R2 beside its discriminator's terms."""

    def __init__(self, loss: Loss, r1: float, r2: float) -> None:
        self.loss, self.r1, self.r2 = loss, r1, r2

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """The loss's own terms, "r1" and "r2". D returns logits (B,)."""
        return {**self.loss.discriminator(D, real, fake), **gradient_penalties(D, real, fake, self.r1, self.r2)}

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """The loss's own terms."""
        return self.loss.generator(D, real, fake)
