"""An optimizer's state in a checkpoint: restored completely, but not over settings that have changed since."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_core.game.phase import MakeOptimizer

Groups = list[dict[str, Any]]


def settings_of(optimizer: Optimizer) -> Groups:
    """Returns the parameter groups of a new optimizer without their parameters: its settings, as they were made."""
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def merged(saved: Groups, made_then: Groups | None, made_now: Groups) -> Groups:
    """Returns the parameter groups of a resumed run.

    A value that the variant now makes differently was changed by a setting and is the new one. All others are those of
    the checkpoint: optimizers count steps and adapt rates in their groups.

    Args:
        saved: The groups in the checkpoint.
        made_then: The settings with which the saved optimizer was made; None in checkpoints of gan_core 0.1.0, which
            do not hold them.
        made_now: The settings with which the current optimizer was made.

    Raises:
        ValueError: There is another number of groups.
    """
    if len(saved) != len(made_now):
        raise ValueError(f"{len(saved)} parameter groups instead of {len(made_now)}")
    if made_then is None:
        return [{**group, **now} for group, now in zip(saved, made_now, strict=True)]
    return [
        {**group, **{key: value for key, value in now.items() if key not in then or not _equal(value, then[key])}}
        for group, then, now in zip(saved, made_then, made_now, strict=True)
    ]


def check_shapes(saved: Mapping[int, Any], make: MakeOptimizer, parameters: Sequence[nn.Parameter]) -> None:
    """Compares the tensors of a saved state with those that the optimizer makes in a step on copies of the parameters.

    Fused kernels do not check shapes: with others they would write outside of their memory.

    Raises:
        ValueError: A tensor has another shape or dtype, or belongs to no parameter.
    """
    if any(not isinstance(index, int) or not 0 <= index < len(parameters) for index in saved):
        raise ValueError(f"state of parameters {sorted(map(str, saved))}, but there are {len(parameters)}")
    for index, expected in _after_one_step(make, parameters).items():
        if index not in saved:  # It was never updated.
            continue
        for key, value in expected.items():
            found = saved[index].get(key)
            if isinstance(value, Tensor) and _kind(found) != _kind(value):
                raise ValueError(f"{key} of parameter {index} is {_kind(found)}, but must be {_kind(value)}")


def _after_one_step(make: MakeOptimizer, parameters: Iterable[nn.Parameter]) -> dict[int, Any]:
    copies = [nn.Parameter(torch.zeros_like(parameter)) for parameter in parameters]
    for copy in copies:
        copy.grad = torch.zeros_like(copy)
    optimizer = make(copies)
    optimizer.step()
    state: dict[int, Any] = optimizer.state_dict()["state"]
    return state


def _kind(value: object) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one.cpu(), other.cpu())
    return one == other
