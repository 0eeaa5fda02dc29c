"""Random numbers for the rows that a discriminator judges: real images, or any number of fakes for each."""

from dataclasses import dataclass

from torch import Tensor

from gan_core.game.batch import Randomness


@dataclass(frozen=True, slots=True)
class RowRandomness:
    """Random numbers for `count` rows, which do not depend on the number of processes.

    Attributes:
        random: The random numbers of the update, for its real rows.
        real: Real rows of the micro-batch on this process.
        count: Rows to draw for. Rows i · count / real and on belong to real row i, as in a game's fakes.
    """

    random: Randomness
    real: int
    count: int

    def uniform(self, numbers: int) -> list[Tensor]:
        """Returns `numbers` samples of U[0, 1) for each row: tensors (count,)."""
        return self._columns(self.random.uniform(-(-self.count // self.real), numbers))

    def normal(self, numbers: int) -> list[Tensor]:
        """Returns `numbers` samples of N(0, 1) for each row: tensors (count,)."""
        return self._columns(self.random.normal(-(-self.count // self.real), numbers))

    def _columns(self, drawn: Tensor) -> list[Tensor]:
        return list(drawn.flatten(0, 1)[: self.count].unbind(1))
