"""A copy of the state that an update changes besides its optimizer, to restore it where the gradient was not finite."""

from collections.abc import Iterator, Mapping
from copy import copy, deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from gan_core.game.game import Stateful
from gan_core.game.phase import Networks


class Snapshot:
    """The networks' buffers and the game's extra state before an update."""

    def __init__(self, networks: Networks, extra_state: Mapping[str, Stateful], *, weights: bool = False) -> None:
        """Copies them.

        Args:
            networks: The game's networks.
            extra_state: The game's extra state.
            weights: Whether to copy the networks' weights too, for updates whose `Phase.after` may change them.
        """
        self.networks, self.extra_state, self.weights = networks, extra_state, weights
        self._tensors = {key: tensor.detach().clone() for key, tensor in self._current()}
        self._states = {name: deepcopy(owner.state_dict()) for name, owner in extra_state.items()}

    def _current(self) -> Iterator[tuple[tuple[str, str], Tensor]]:
        """Yields the networks' tensors; looked up each time because modules may replace buffers."""
        for name, network in self.networks.items():
            for key, tensor in chain(network.named_buffers(), network.named_parameters() if self.weights else ()):
                yield (name, key), tensor

    @torch.no_grad()
    def restore(self, finite: Tensor) -> None:
        """Restores everything unless `finite`, a bool on the device; see `select` for when it waits for the device."""
        for key, tensor in self._current():
            # `data`, because torch would take it for a change of what a graph of shared fakes has saved.
            tensor.data.copy_(torch.where(finite, tensor, self._tensors[key]))
        for name, owner in self.extra_state.items():
            owner.load_state_dict(select(finite, owner.state_dict(), self._states[name]))


def select(finite: Tensor, new: Any, old: Any) -> Any:
    """Returns `new` if `finite`, otherwise `old`: nested dictionaries and lists of tensors and plain values.

    Tensors on the device of `finite` are selected there. For any other value, such as a float, this waits for the
    device if it has changed.
    """
    if isinstance(new, Tensor) and isinstance(old, Tensor):
        if new.device == finite.device and new.shape == old.shape and new.dtype == old.dtype:
            return torch.where(finite, new, old)
    elif isinstance(new, dict) and isinstance(old, dict) and new.keys() == old.keys():
        selected = copy(new)  # The state of a module is a dictionary with an attribute.
        for key in new:
            selected[key] = select(finite, new[key], old[key])
        return selected
    elif isinstance(new, list | tuple) and type(new) is type(old) and len(new) == len(old):
        return type(new)(select(finite, *pair) for pair in zip(new, old, strict=True))
    elif not isinstance(new, Tensor) and not isinstance(old, Tensor) and new == old:
        return new
    return new if finite else old
