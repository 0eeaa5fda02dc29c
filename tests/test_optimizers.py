"""The first-party Adam: torch's results and states."""

import pytest
import torch
from torch import Tensor, nn, optim

from gan_core import adam


def trained(optimizer: optim.Optimizer, parameters: list[nn.Parameter], steps: int) -> None:
    for step in range(steps):
        for number, parameter in enumerate(parameters):
            # One of them has no gradient in every second step.
            parameter.grad = None if number == 1 and step % 2 else (parameter.detach() + 1).cos()
        optimizer.step()


def copies() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(*shape)) for shape in ((3, 4), (5,), (2, 3, 2))]


def flat(state: object) -> list[object]:
    """Returns the leaves of a state, tensors as lists."""
    if isinstance(state, dict):
        return [leaf for key, value in state.items() for leaf in [key, *flat(value)]]
    if isinstance(state, list | tuple):
        return [leaf for value in state for leaf in flat(value)]
    return [state.tolist() if isinstance(state, Tensor) else state]


@pytest.mark.parametrize("resumed", [False, True])
def test_adam_is_torch_s_to_the_bit(resumed: bool) -> None:
    mine, theirs = copies(), copies()
    make = adam(0.01, (0.5, 0.9), 1e-7)
    own, torchs = make(mine), optim.Adam(theirs, lr=0.01, betas=(0.5, 0.9), eps=1e-7, fused=True)
    for optimizer, parameters in ((own, mine), (torchs, theirs)):
        trained(optimizer, parameters, 5)
    if resumed:  # Each from the state of the other.
        saved = own.state_dict()
        own = make(mine)
        own.load_state_dict(torchs.state_dict())
        torchs.load_state_dict(saved)
    for group in (own.param_groups[0], torchs.param_groups[0]):
        group["lr"] = 0.02
    for optimizer, parameters in ((own, mine), (torchs, theirs)):
        trained(optimizer, parameters, 5)
    assert all(torch.equal(one, two) for one, two in zip(mine, theirs, strict=True))
    assert flat(own.state_dict()) == flat(torchs.state_dict())


def test_hooks_and_closures_are_called() -> None:
    parameters, called = copies(), list[str]()
    optimizer = adam(0.01)(parameters)
    trained(optimizer, parameters, 1)
    expected = [parameter.detach().clone() for parameter in parameters]
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    assert optimizer.step(lambda: called.append("closure") or 3.0) == 3.0
    assert called == ["before", "closure", "after"]
    assert not torch.equal(parameters[0], expected[0])  # The moments move it on.
