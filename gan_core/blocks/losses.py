"""Losses that more than one variant may take."""

import torch.nn.functional as F
from torch import Tensor

from gan_core.game.phase import Terms
from gan_core.game.protocols import Discriminator


class RelativisticPairing:
    """RpGAN: how much more real is this real image than that generated one? On logits l, (B,).

    Jolicoeur-Martineau 2018, section 3; with f(t) = -softplus(-t) it is equation 2 of Huang et al. 2024 (R3GAN), who
    add R1 and R2. As many fakes as real images are wanted, for the i-th is compared with the i-th.
    """

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """E[softplus(l(G(z)) - l(x))], which is -log of the probability sigmoid(l(x) - l(G(z)))."""
        on_real, on_fake = D(real), D(fake)
        return {
            "relativistic": F.softplus(on_fake - on_real).mean(),
            "D(real)": on_real.detach().mean(),
            "D(fake)": on_fake.detach().mean(),
        }

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """E[softplus(l(x) - l(G(z)))]."""
        return {"adversarial": F.softplus(D(real) - D(fake)).mean()}
