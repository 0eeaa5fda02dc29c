"""Path length regularisation, which makes a step of fixed size in w change images by a fixed amount (StyleGAN2)."""

from math import prod

import torch
from torch import Tensor, nn

from gan_core.game.batch import Batch
from gan_core.game.phase import Networks, Terms

DECAY = 0.01
"""Weight of a batch in the moving average of the lengths."""


def path_lengths(images: Tensor, ws: Tensor, y: Tensor) -> Tensor:
    """‖Jᵀ y‖ for each image, where J is the derivative of its pixels by w: (B,).

    Karras et al. 2020, Analyzing and Improving the Image Quality of StyleGAN, equation 4. As in the authors' code, y is
    divided by the square root of the number of pixels, and the square norm is the mean over the layers' w.

    Args:
        images: g(w), (B, C, H, W).
        ws: The w of each layer, (B, layers, latent), from which the images were made.
        y: A sample of N(0, 1) with the shape of the images.
    """
    scale = prod(images.shape[2:]) ** -0.5
    (gradient,) = torch.autograd.grad((images * y * scale).sum(), ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


class PathLength(nn.Module):
    """E(‖Jᵀ y‖ - a)², where a is the moving average of the lengths, this batch's mean included (equation 4).

    Put it into `Game.state`, and its method `follow` into `Phase.after`.
    """

    mean: Tensor

    def __init__(self, weight: float) -> None:
        """Stores the penalty's weight; a begins at 0."""
        super().__init__()
        self.weight = weight
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, images: Tensor, ws: Tensor, batch: Batch) -> Terms:
        """Returns the weighted penalty and the mean length, which is only logged; see `path_lengths`."""
        lengths = path_lengths(images, ws, batch.random.normal(*images.shape[1:]))
        mean = self.mean.to(lengths).lerp(batch.processes.mean(lengths.mean()), DECAY)
        return {"penalty": self.weight * (lengths - mean).square().mean(), "length": lengths.mean().detach()}

    def follow(self, networks: Networks, terms: Terms, batch: Batch) -> None:
        """Updates a with the mean length over all processes."""
        del networks, batch
        self.mean.lerp_(terms["length"].to(self.mean), DECAY)
