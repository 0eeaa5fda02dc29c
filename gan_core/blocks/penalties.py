"""Gradient penalties R1 and R2, which keep the norm of the discriminator's gradient by its input small."""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_core.blocks.protocols import Discriminator, Loss
from gan_core.game.phase import Terms
from gan_core.precision import precise

LogitFunction = Callable[[Tensor], Tensor]
"""Maps images (B, C, H, W) to logits (B,), each of which depends on its own image only: no batch normalisation."""


def squared_gradient_norm(discriminator: LogitFunction, images: Tensor) -> Tensor:
    """E[‖∇D(x)‖²], with the gradient of each image's logit by its pixels: R1 on real images, R2 on generated ones.

    Mescheder et al. 2018, equations 9 and 10, without their factor γ / 2.

    Args:
        discriminator: D, which returns logits (B,).
        images: x, (B, C, H, W). They are detached: no gradient reaches the network that generated them.

    Returns:
        A scalar, differentiable by D's parameters. It is computed in float32 without TF32, or in float64 for float64
        images, also under autocast.
    """
    with precise(images.device):
        images = images.detach().to(torch.promote_types(images.dtype, torch.float32)).requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
        return gradient.square().flatten(1).sum(1).mean()


def gradient_penalties(
    discriminator: LogitFunction, real: Tensor, fake: Tensor, r1: float, r2: float
) -> dict[str, Tensor]:
    """Returns the penalties (γ / 2) E[‖∇D(x)‖²] as terms "r1" and "r2" (Mescheder et al. 2018, equations 9 and 10).

    Args:
        discriminator: D, which returns logits (B,).
        real: Real images, (B, C, H, W).
        fake: Generated images, (B, C, H, W); they are detached.
        r1: γ on real images. If it is 0, there is no term "r1".
        r2: γ on generated images. If it is 0, there is no term "r2".
    """
    weighted = (("r1", r1, real), ("r2", r2, fake))
    return {
        name: 0.5 * weight * squared_gradient_norm(discriminator, images) for name, weight, images in weighted if weight
    }


class Penalised:
    """A loss with the penalties R1 and R2 added to its discriminator's terms; see `gradient_penalties`."""

    def __init__(self, loss: Loss, r1: float, r2: float) -> None:
        """Stores the loss and the weights γ of its penalties on real (r1) and on generated images (r2)."""
        self.loss, self.r1, self.r2 = loss, r1, r2

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """Returns the loss's own terms, "r1" and "r2". D must return logits (B,)."""
        return {**self.loss.discriminator(D, real, fake), **gradient_penalties(D, real, fake, self.r1, self.r2)}

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """Returns the loss's own terms."""
        return self.loss.generator(D, real, fake)
