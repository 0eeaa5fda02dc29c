"""Gradient penalties: R1 and R2 keep the norm of the discriminator's gradient by its input small, WGAN-GP near 1."""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_core.blocks.protocols import Discriminator, Loss
from gan_core.game.phase import Terms
from gan_core.precision import is_precise, precise

LogitFunction = Callable[[Tensor], Tensor]
"""Maps images (B, C, H, W) to logits (B,), each of which depends on its own image only: no batch normalisation."""


def differentiable(images: Tensor, weight: float) -> Tensor:
    """Returns the images, detached, and requiring a gradient if there is a penalty on them: its weight is not 0."""
    return images.detach().requires_grad_() if weight else images.detach()


def squared_gradient_norm(discriminator: LogitFunction, images: Tensor, logits: Tensor | None = None) -> Tensor:
    """E[‖∇D(x)‖²], with the gradient of each image's logit by its pixels: R1 on real images, R2 on generated ones.

    Mescheder et al. 2018, equations 9 and 10, without their factor γ / 2.

    Args:
        discriminator: D, which returns logits (B,).
        images: x, (B, C, H, W). They are detached: no gradient reaches the network that generated them.
        logits: D(x), if it is known and x requires a gradient. D runs forward again only where that was less precise
            than a penalty is.

    Returns:
        A scalar, differentiable by D's parameters. It is computed in float32 without TF32, or in float64 for float64
        images, also under autocast.
    """
    known = logits if images.requires_grad and is_precise(images.device) else None
    with precise(images.device):
        if known is None:
            images = images.detach().to(torch.promote_types(images.dtype, torch.float32)).requires_grad_()
            known = discriminator(images)
        (gradient,) = torch.autograd.grad(known.sum(), images, create_graph=True)
        return gradient.square().flatten(1).sum(1).mean()


def gradient_penalties(
    discriminator: LogitFunction,
    real: Tensor,
    fake: Tensor,
    r1: float,
    r2: float,
    *,
    logits_real: Tensor | None = None,
    logits_fake: Tensor | None = None,
) -> dict[str, Tensor]:
    """Returns the penalties (γ / 2) E[‖∇D(x)‖²] as terms "r1" and "r2" (Mescheder et al. 2018, equations 9 and 10).

    Args:
        discriminator: D, which returns logits (B,).
        real: Real images, (B, C, H, W).
        fake: Generated images, (B, C, H, W); they are detached.
        r1: γ on real images. If it is 0, there is no term "r1".
        r2: γ on generated images. If it is 0, there is no term "r2".
        logits_real: D of the real images, if it is known; see `squared_gradient_norm` and `differentiable`.
        logits_fake: D of the generated images, if it is known.
    """
    weighted = (("r1", r1, real, logits_real), ("r2", r2, fake, logits_fake))
    return {
        name: 0.5 * weight * squared_gradient_norm(discriminator, images, logits)
        for name, weight, images, logits in weighted
        if weight
    }


def lipschitz_penalty(critic: LogitFunction, real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """E[(‖∇D(x̂)‖₂ - 1)²] at x̂ = εx + (1 - ε)x̃ (Gulrajani et al. 2017, equation 3), in float32 or better, no TF32.

    Args:
        critic: D, which returns one value per image.
        real: Real images x, (B, C, H, W).
        fake: Generated images x̃, (B, C, H, W).
        epsilon: ε ~ U[0, 1), one number per image: (B, 1, 1, 1).
    """
    with precise(real.device):
        between = torch.lerp(fake.to(real), real, epsilon).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()  # type: ignore[no-any-return]  # norm has no type.


class Penalised:
    """A loss with the penalties R1 and R2 added to its discriminator's terms; see `gradient_penalties`."""

    def __init__(self, loss: Loss, r1: float, r2: float) -> None:
        """Stores the loss and the weights γ of its penalties on real (r1) and on generated images (r2)."""
        self.loss, self.r1, self.r2 = loss, r1, r2

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """Returns the loss's own terms, "r1" and "r2". D must return logits (B,).

        The penalties use the logits that the loss asks D for, so D judges each image once.
        """
        known: list[tuple[Tensor, Tensor]] = []

        def judge(images: Tensor) -> Tensor:
            logits: Tensor = D(images)
            known.append((images, logits))
            return logits

        def logits_of(images: Tensor) -> Tensor | None:
            return next((logits for judged, logits in known if judged is images), None)

        real, fake = differentiable(real, self.r1), differentiable(fake, self.r2)
        terms = self.loss.discriminator(judge, real, fake)
        penalties = gradient_penalties(
            D, real, fake, self.r1, self.r2, logits_real=logits_of(real), logits_fake=logits_of(fake)
        )
        return {**terms, **penalties}

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """Returns the loss's own terms."""
        return self.loss.generator(D, real, fake)
