"""Normalises on two processes, and saves what each found: python -m tests.norms FOLDER, started as ranks.

First with gloo alone, then with sockets for small tensors.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import all_reduce, destroy_process_group, get_rank, init_process_group

from gan_core.bench.parts import Traffic
from gan_core.distributed.batchnorm import GlobalBatchNorm
from gan_core.distributed.connect import connect
from gan_core.distributed.exchange import current, use
from gan_core.distributed.rendezvous import Rendezvous

# torch 2.14 renamed the function.
all_gather = getattr(torch.distributed, "all_gather_single", torch.distributed.all_gather_into_tensor)

NORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "averaged": {"momentum": None},
    "untracked": {"track_running_stats": False},
    "without weights": {"affine": False},
}
"""Arguments of the norms."""

CHANNELS = 3
SPLITS = {"even": (4, 4), "uneven": (2, 6), "all and none": (8, 0)}
"""How many images of the global batch each process has."""

CASES = (
    *(("even", name, (4, 3)) for name in NORMS),
    *(("even", "plain", shape) for shape in ((), (5,), (2, 3, 2))),
    *((split, "plain", (5,)) for split in ("uneven", "all and none")),
)
"""(split, norm, sizes after batch and channels), for 2D to 5D inputs."""


def whole(shape: tuple[int, ...]) -> Tensor:
    """Returns the global batch of 8."""
    return torch.randn(8, CHANNELS, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


def network(norm: type[nn.Module], shape: tuple[int, ...] = (), **arguments: Any) -> nn.Sequential:
    """Returns two norms with a layer and a nonlinearity between them, always with the same weights."""
    torch.manual_seed(1)
    convolution = {0: nn.Linear, 1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(shape)]
    sizes = (CHANNELS, CHANNELS) if len(shape) == 0 else (CHANNELS, CHANNELS, 1)
    made = nn.Sequential(norm(CHANNELS, **arguments), convolution(*sizes), nn.Tanh(), norm(CHANNELS, **arguments))
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made.double()


def derivatives(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Returns the output, its gradient by x, and the gradients of a penalty on that gradient by x and the weights."""
    x = x.clone().requires_grad_()
    out = module(x)
    (gradient,) = torch.autograd.grad(out.pow(3).sum() / 100, x, create_graph=True)
    penalty = (gradient.square() + gradient * out).sum()
    wanted = {"x": x, **dict(module.named_parameters())}
    second = torch.autograd.grad(penalty, list(wanted.values()))
    return {"out": out.detach(), "gradient": gradient.detach(), **dict(zip(wanted, second, strict=True))}


def collectives() -> tuple[int, int]:
    """Returns how many one layer needs forward, and how many backward."""
    norm = GlobalBatchNorm(CHANNELS)
    x = torch.randn(4, CHANNELS, 5, requires_grad=True)
    with Traffic() as forward:
        out = norm(x)
    with Traffic() as backward:
        out.sum().backward()
    return forward.collectives, backward.collectives


class _Part(torch.autograd.Function):
    """All rows -> this process's."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        return rows.chunk(2)[get_rank()].clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _Whole.apply(gradient)


class _Whole(torch.autograd.Function):
    """This process's rows -> all rows."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        out = rows.new_empty(2 * len(rows), *rows.shape[1:])
        all_gather(out, rows.contiguous())
        return out

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _Part.apply(gradient)


class _Shared(torch.autograd.Function):
    """A weight that all processes have: its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, weight: Tensor) -> Tensor:
        return weight.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _Total.apply(gradient)


class _Total(torch.autograd.Function):
    """The sum over processes, of whose gradient each has the whole."""

    @staticmethod
    def forward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _Shared.apply(gradient)


def numerical() -> bool:
    """Checks second derivatives against differences. Every process computes the same function of the global batch."""
    norm = GlobalBatchNorm(2).double()

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        parameters = {"weight": _Shared.apply(weight), "bias": _Shared.apply(bias)}
        return _Whole.apply(torch.func.functional_call(norm, parameters, (_Part.apply(x),)))

    torch.manual_seed(0)  # Of the values here, and of the gradients that the check draws.
    inputs = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in ((4, 2, 2), (2,), (2,))]
    return torch.autograd.gradcheck(function, inputs) and torch.autograd.gradgradcheck(function, inputs)


def far_from_zero() -> Tensor:
    """Images whose mean is 10,000 times their deviation, float32."""
    return torch.randn(64, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(2)) + 1e4


def results() -> dict[str, Any]:
    """Returns what this process finds."""
    rank = get_rank()
    found: dict[str, Any] = {"collectives": collectives(), "numerical": numerical()}
    for case in CASES:
        split, name, shape = case
        module = network(GlobalBatchNorm, shape, **NORMS[name])
        found[str(case)] = derivatives(module, whole(shape).split(SPLITS[split])[rank]), module.state_dict()
    for dtype in (torch.float32, torch.bfloat16):
        norm = GlobalBatchNorm(CHANNELS, momentum=1.0)
        x = far_from_zero() if dtype == torch.float32 else (far_from_zero() - 1e4).to(dtype)
        found[str(dtype)] = norm(x.split((16, 48))[rank]), norm.running_mean, norm.running_var
    return found


def main(folder: Path) -> None:
    """Saves the results of this process."""
    rendezvous = Rendezvous(deadline=60.0)
    rank = rendezvous.rank
    init_process_group("gloo", store=rendezvous.group_store, rank=rank, world_size=rendezvous.world)
    torch.save(results(), folder / f"gloo-{rank}.pt")
    use(connect(rendezvous))
    torch.save(results(), folder / f"sockets-{rank}.pt")
    exchange = current()
    assert exchange is not None
    assert exchange.count > 4 * len(CASES)
    use(None)
    destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
