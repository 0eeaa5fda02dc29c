"""Minibatch standard deviation, the same on any number of processes."""

import torch
from torch import Tensor, nn

from gan_core.game.batch import Processes

EPSILON = 1e-8


class MinibatchStd(nn.Module):
    """Appends one channel that says how different the images of a group are: (B, C, H, W) -> (B, C + 1, H, W).

    Source: Karras et al. 2018, Progressive Growing of GANs, section 3: the standard deviation over the images of each
    feature and pixel, averaged over these. Over groups as in StyleGAN2's code: `group` images that follow each other in
    the global micro-batch, or, if their number is not a multiple of it, of its largest divisor below. Groups do not
    depend on the number of processes; where one has images of several, these exchange their maps.
    """

    def __init__(self, group: int = 4) -> None:
        """Stores the size of a group, at least 1."""
        super().__init__()
        self.group = group

    def forward(self, x: Tensor, processes: Processes | None = None) -> Tensor:
        """Returns the maps with the new channel, the same number for all pixels and all images of a group.

        Args:
            x: This process's rows of the maps.
            processes: Those of the loss's batch, where the rows are part of a global micro-batch. Every process must
                make the same calls.
        """
        alone = processes is None or len(x) % self.group == 0
        y = x if alone or processes is None else processes.gather(x)
        group = next(size for size in range(min(self.group, len(y)), 0, -1) if len(y) % size == 0)
        groups = y.to(torch.promote_types(y.dtype, torch.float32)).unflatten(0, (-1, group))
        variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)
        deviations = (variance + EPSILON).sqrt().mean((1, 2, 3)).repeat_interleave(group)
        own = deviations if alone or processes is None else processes.share(deviations)
        return torch.cat([x, own.to(x.dtype).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])], 1)

    def extra_repr(self) -> str:
        """Returns the size of a group, for `print(network)`."""
        return f"group={self.group}"
