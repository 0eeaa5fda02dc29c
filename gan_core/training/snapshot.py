"""What a turn changes besides weights: the networks' buffers and the variant's memory."""

from collections.abc import Callable, Mapping
from copy import deepcopy

import torch

from gan_core.game.game import Stateful
from gan_core.game.phase import Networks


def snapshot(networks: Networks, memory: Mapping[str, Stateful]) -> Callable[[], None]:
    """Takes a copy, and returns what puts it back."""
    buffers = {
        (name, key): buffer.clone() for name, network in networks.items() for key, buffer in network.named_buffers()
    }
    states = {name: deepcopy(owner.state_dict()) for name, owner in memory.items()}

    @torch.no_grad()
    def put_back() -> None:
        for name, network in networks.items():
            for key, buffer in network.named_buffers():
                buffer.copy_(buffers[name, key])
        for name, owner in memory.items():
            owner.load_state_dict(states[name])

    return put_back
