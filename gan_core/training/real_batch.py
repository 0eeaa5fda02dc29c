"""The real rows of one batch."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gan_core.data.dataset import RealRows


class RealBatch:
    """The real rows of one batch; images are converted to [-1, 1] once for all phases of a step."""

    def __init__(
        self, rows: RealRows, mirrored: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
    ) -> None:
        self._stored, self._mirrored, self._device, self._dtype = rows, mirrored, device, dtype
        self._rows: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}

    def rows(self) -> dict[str, Tensor]:
        """Returns images (B, C, H, W) in [-1, 1] and labels (B,); converts again what a loss changed in place."""
        for name, column in self._stored.items():
            if name in self._rows and self._rows[name]._version == self._versions[name]:
                continue
            if column.ndim > 1:
                column = column.to(self._device, self._dtype).div_(127.5).sub_(1.0)
                if (flip := self._mirrored.get(name)) is not None:
                    column = torch.where(flip.view(-1, 1, 1, 1), column.flip(3), column)
            else:
                column = column.to(self._device)
            self._rows[name], self._versions[name] = column, column._version
        return dict(self._rows)
