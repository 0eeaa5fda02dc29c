"""What a checkpoint holds is finite, and the same on all processes: process 0 saves it for all."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_core.errors import NotFiniteError, TrainingError


def check_finite(networks: Mapping[str, nn.Module]) -> None:
    """Checks the weights and buffers of networks.

    Raises:
        NotFiniteError: One is NaN or infinite.
    """
    for name, network in networks.items():
        tensors = {key: tensor for key, tensor in network.state_dict().items() if tensor.is_floating_point()}
        if tensors and not torch.stack([tensor.isfinite().all() for tensor in tensors.values()]).all():
            key = next(key for key, tensor in tensors.items() if not tensor.isfinite().all())
            raise NotFiniteError(f"{name}: {key} is not finite after the last update; it is not saved")


def check_same(states: Mapping[str, Mapping[str, Any]], accelerator: Accelerator) -> None:
    """Compares a hash of each state over all processes.

    Args:
        states: Tensors and plain values by owner; the owners are the same on all processes.
        accelerator: The run's accelerator.

    Raises:
        TrainingError: A state differs between processes.
    """
    if accelerator.num_processes == 1:
        return
    digests = [list(_digest(state)) for state in states.values()]
    mine = torch.tensor([digests], dtype=torch.uint8, device=accelerator.device)
    same = (accelerator.gather(mine) == mine).all(-1)
    for at, name in enumerate(states):
        if not same[:, at].all():
            others = ", ".join(str(rank) for rank, equal in enumerate(same[:, at].tolist()) if not equal)
            raise TrainingError(
                f"{name} differs between the processes (process {accelerator.process_index} from {others}): only "
                "process 0's would be saved, so nothing was. State must be computed from the same values on every "
                "process, such as reduced terms"
            )


def shared_state(network: nn.Module, *, statistics: bool) -> dict[str, Tensor]:
    """Returns the part of a network's state that is the same on all processes.

    Args:
        network: The network.
        statistics: Whether this includes the running statistics of batch normalisation.
    """
    local = set() if statistics else set(_statistics(network))
    return {key: value for key, value in network.state_dict().items() if key not in local}


def _statistics(network: nn.Module) -> Iterator[str]:
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm):
            yield from (f"{name}.{key}".lstrip(".") for key, _ in module.named_buffers(recurse=False))


def _digest(value: object) -> bytes:
    """Returns the first 8 bytes of the sha256 of nested mappings and sequences of tensors and plain values."""
    found = hashlib.sha256()

    def add(part: object) -> None:
        if isinstance(part, Tensor):
            found.update(repr((part.dtype, tuple(part.shape))).encode())
            found.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(part, Mapping):
            for key, inner in part.items():
                found.update(repr(key).encode())
                add(inner)
        elif isinstance(part, list | tuple):
            found.update(repr(len(part)).encode())
            for inner in part:
                add(inner)
        else:
            found.update(repr(part).encode())

    add(value)
    return found.digest()[:8]
