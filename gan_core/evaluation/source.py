"""Where images to be judged come from."""

from typing import Protocol

from torch import Tensor


class Source(Protocol):
    """A generator, as an evaluation sees it: an endless list of images, in blocks of 64.

    `gan_core.sampling.sampler.Sampler` is one. The same block must have the same images whenever, and on whichever
    process, it is asked for.
    """

    @property
    def classes(self) -> int:
        """How many labels can be asked for; 0 where the source is unconditional."""

    def block(self, number: int, labels: Tensor | None) -> Tensor:
        """Returns images 64 `number` to 64 `number` + 63: (64, C, H, W) uint8, of labels (64,) int64 or of any."""
