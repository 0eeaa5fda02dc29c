"""A pool of generated images, from which a discriminator is also shown older ones (Shrivastava et al. 2017)."""

from typing import Any

import torch
from torch import Tensor

from gan_core.game.batch import Batch


class ImagePool:
    """A pool of `size` generated images; put it into `Game.state`.

    Source: Shrivastava et al. 2017, Learning from Simulated and Unsupervised Images through Adversarial Training,
    section 2.3, as Zhu et al. 2017 use it (section 4). The first `size` images are stored and returned. After that an
    image is returned as it is with probability 1/2; otherwise it takes the place of a random image of the pool, which
    is returned in its stead.

    The images of a micro-batch are taken one after the other in the order of the global micro-batch, so that every
    process has the same pool, and results do not depend on the number of processes.
    """

    def __init__(self, size: int = 50) -> None:
        """Makes an empty pool of `size` images; 0 returns all images as they are."""
        self.size = size
        self.images = torch.zeros(0)
        self.count = torch.zeros((), dtype=torch.int64)

    @torch.no_grad()
    def exchange(self, images: Tensor, batch: Batch) -> Tensor:
        """Returns the images (B, C, H, W), detached, some of them exchanged with older ones.

        Every process must call it. It never waits for the device.

        Args:
            images: This process's generated images, one per real row of the batch.
            batch: The loss's batch, whose random numbers are used and whose processes share the pool.
        """
        if self.size == 0:
            return images.detach()
        everyone = batch.processes.gather(images.detach())
        drawn = batch.processes.gather(batch.random.uniform(2))
        if len(self.images) == 0:
            self.images = everyone.new_zeros(self.size, *everyone.shape[1:])
        self.images, self.count = self.images.to(everyone), self.count.to(everyone.device)
        slots, swapped = (drawn[:, :1] * self.size).long(), drawn[:, 1:] < 0.5
        returned = []
        for image, slot, swap in zip(everyone.split(1), slots, swapped, strict=True):
            full = self.count == self.size
            slot = torch.where(full, slot, self.count)
            older, exchanged = self.images.index_select(0, slot), (full & swap).view(1, 1, 1, 1)
            returned.append(torch.where(exchanged, older, image))
            self.images.index_copy_(0, slot, torch.where(exchanged | ~full, image, older))
            self.count = self.count + ~full
        return batch.processes.share(torch.cat(returned))

    def state_dict(self) -> dict[str, Any]:
        """Returns the images, (size, C, H, W) in the order of their places, and how many there are."""
        return {"images": self.images, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the images.

        Raises:
            ValueError: It is the state of a pool of another size.
        """
        if len(state["images"]) not in (0, self.size):
            raise ValueError(f"a pool of {len(state['images'])} images does not fit one of {self.size}")
        self.images, self.count = state["images"].clone(), state["count"].clone()
