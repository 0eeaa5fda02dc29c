"""Dropout whose masks are the same on any number of processes, and cheap on CPUs."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.row_randomness import layer_randomness
from gan_core.transfer import to_device


class Dropout(nn.Module):
    """Sets each element to zero with probability p, and divides the others by 1 - p (Srivastava et al. 2014).

    In training and sampling, masks are drawn from the run's own streams, row by row of the global batch: they are the
    same on any number of processes and after a resume. p is rounded to a multiple of 2^-16. torch's own dropout draws
    from a generator of each process, and on CPUs with one thread. Rows must be those of the global batch in its order,
    or a fixed number for each: of real and generated images that are concatenated, each process would mask other rows.

    In compiled graphs (`--compile`) the layers may draw their masks in another order. Elsewhere, masks are those of
    torch's dropout.
    """

    def __init__(self, p: float = 0.5) -> None:
        """Stores the probability p, in [0, 1)."""
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}, but must be at least 0 and below 1")
        self.p = p

    def forward(self, x: Tensor, dropping: bool | None = None) -> Tensor:
        """Returns x with elements set to zero.

        Args:
            x: (B, ...).
            dropping: Whether elements are dropped; None: in training mode only.
        """
        if not (self.training if dropping is None else dropping) or not self.p:
            return x
        # A compiled graph draws while it runs, not while it is compiled.
        draw = _row_bits if torch.compiler.is_compiling() else _bits
        if not torch.compiler.is_compiling() and layer_randomness() is None:
            return F.dropout(x, self.p, training=True)
        # One byte is enough for multiples of 2^-8, such as 1/2.
        dtype, values = (torch.int8, 2**8) if (self.p * 2**8).is_integer() else (torch.int16, 2**16)
        dropped = round(self.p * values)
        mask = (draw(x, dtype) >= dropped - values // 2).to(torch.promote_types(x.dtype, torch.float32))
        return (x * mask.mul_(values / (values - dropped))).to(x.dtype)

    def extra_repr(self) -> str:
        """Returns the probability, for `print(network)`."""
        return f"p={self.p}"


def _bits(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns uniformly distributed integers of the shape of x, on its device, from what layers draw from now."""
    random = layer_randomness()
    assert random is not None
    return to_device(random.bits(len(x), tuple(x.shape[1:]), np.int8 if dtype == torch.int8 else np.int16), x.device)


_row_bits = torch.library.custom_op(
    "gan_core::row_bits", _bits, mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,)
)


@_row_bits.register_fake
def _(x: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty_like(x, dtype=dtype, memory_format=torch.contiguous_format)
