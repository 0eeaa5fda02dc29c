"""Penalties on a discriminator's slope, which keep it from being too sure of itself."""

import torch
from torch import Tensor


def squared_slope(logits: Tensor, images: Tensor) -> Tensor:
    """E[‖∇D(x)‖²], the gradient of each image's logit by its pixels: R1 on real images, R2 on generated ones.

    Mescheder et al. 2018, equation 9, without its γ / 2. The discriminator must judge each image by itself, so batch
    normalisation is out of place in it.

    Args:
        logits: D(x), (B,), computed from `images` with their gradient required, in float32 or better.
        images: x, (B, C, H, W).

    Returns:
        A scalar that can be differentiated.
    """
    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return slope.square().flatten(1).sum(1).mean()
