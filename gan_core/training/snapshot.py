"""A copy of the state that an update changes besides weights: the networks' buffers and the game's extra state."""

from collections.abc import Callable, Mapping
from copy import deepcopy

import torch

from gan_core.game.game import Stateful
from gan_core.game.phase import Networks


def snapshot(networks: Networks, extra_state: Mapping[str, Stateful]) -> Callable[[], None]:
    """Copies both, and returns the function that restores them."""
    buffers = {
        (name, key): buffer.clone() for name, network in networks.items() for key, buffer in network.named_buffers()
    }
    states = {name: deepcopy(owner.state_dict()) for name, owner in extra_state.items()}

    @torch.no_grad()
    def restore() -> None:
        for name, network in networks.items():
            for key, buffer in network.named_buffers():
                buffer.copy_(buffers[name, key])
        for name, owner in extra_state.items():
            owner.load_state_dict(states[name])

    return restore
