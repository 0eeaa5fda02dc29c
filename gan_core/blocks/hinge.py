"""The hinge loss."""

import torch.nn.functional as F
from torch import Tensor

from gan_core.blocks.losses import precise_mean
from gan_core.game.phase import Terms


def hinge_terms(logits_real: Tensor, logits_fake: Tensor) -> Terms:
    """The discriminator's hinge loss: E[max(0, 1 - l(x))] + E[max(0, 1 + l(G(z)))].

    Lim & Ye 2017, Geometric GAN; Miyato et al. 2018, equation 16. The generator's loss is -E[l(G(z))] (equation 17).

    Args:
        logits_real: Logits of the real images, l(x), (B,).
        logits_fake: Logits of the generated images, l(G(z)), of any batch size.

    Returns:
        The scalar means over the batch "real" and "fake", and, detached, the mean logits "D(real)" and "D(fake)".
    """
    return {
        "real": precise_mean(F.relu(1 - logits_real)),
        "fake": precise_mean(F.relu(1 + logits_fake)),
        "D(real)": precise_mean(logits_real.detach()),
        "D(fake)": precise_mean(logits_fake.detach()),
    }
