"""The interface of what is evaluated: a source of images."""

from typing import Protocol

from torch import Tensor


class Source(Protocol):
    """An unlimited sequence of images in blocks of 64, such as `gan_core.sampling.sampler.Sampler`.

    A block must contain the same images at every call, on every process.
    """

    @property
    def classes(self) -> int:
        """The number of classes that can be requested; 0 if the source is unconditional."""

    def block(self, number: int, labels: Tensor | None) -> Tensor:
        """Returns images 64 `number` to 64 `number` + 63: (64, C, H, W) uint8.

        Labels are (64,) int64, or None for images of any class.
        """
