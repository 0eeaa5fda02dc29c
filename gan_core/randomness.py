"""Every random number of a run as a pure function of the seed, a stream, and a position.

numpy's Philox is a counter-based generator (Salmon et al. 2011): a key selects a stream of numbers, a counter the
position in it. So there is no state to save, and a resumed run draws the same numbers as an uninterrupted one. Numbers
are drawn for whole global batches and each process takes its slice, so they do not depend on the number of processes.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gan_core.transfer import to_device


@dataclass(frozen=True, slots=True)
class Streams:
    """The random streams of one seed."""

    seed: int

    def at(self, stream: str, position: int, part: int = 0) -> np.random.Generator:
        """Returns the generator of one draw: the same for the same arguments, on any machine."""
        name = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")
        # The lowest word of the 256-bit counter counts the numbers within the draw; the two highest select the draw.
        counter = np.array([0, 0, part, position], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=np.array([self.seed, name], dtype=np.uint64), counter=counter))

    def seed_modules(self, stream: str, position: int, part: int) -> None:
        """Reseeds torch's global generators, from which modules such as dropout draw.

        Pass a different `part` on each process. Dropout masks are exact on resume, but depend on the number of
        processes.
        """
        # torch's CPU generator uses only 32 bits of its seed.
        seed = int(self.at(stream, position, part).integers(2**32))
        if torch.accelerator.is_available():
            torch.manual_seed(seed)
        else:  # It would also store the seed, with a traceback, for GPUs that a build for CUDA may find later.
            torch.default_generator.manual_seed(seed)


@dataclass(frozen=True, slots=True)
class Share:
    """This process's part of every global batch."""

    rank: int
    world: int

    def micro_batches(self, batch: int, accumulate: int) -> list[slice]:
        """Returns this process's slices of a global batch, one for each micro-batch.

        The global batch is split into micro-batches first, and each micro-batch over the processes, so that the same
        images are normalised together on any number of processes.
        """
        micro_batch = batch // accumulate
        size = micro_batch // self.world
        starts = [micro * micro_batch + self.rank * size for micro in range(accumulate)]
        return [slice(start, start + size) for start in starts]


class UpdateRandomness:
    """The random numbers of a loss in one update: drawn for the global batch, then sliced to this process's part."""

    def __init__(
        self, random: np.random.Generator, batch: int, part: slice, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.random, self.batch, self.part, self.device, self.dtype = random, batch, part, device, dtype

    def uniform(self, *shape: int) -> Tensor:
        """Draws from U[0, 1): (B, *shape)."""
        return self._slice(self.random.random((self.batch, *shape), dtype=np.float32))

    def normal(self, *shape: int) -> Tensor:
        """Draws from N(0, 1): (B, *shape)."""
        return self._slice(self.random.standard_normal((self.batch, *shape), dtype=np.float32))

    def _slice(self, drawn: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Tensor:
        return to_device(torch.from_numpy(drawn[self.part]), self.device, self.dtype)
