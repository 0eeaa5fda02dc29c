"""Computes with the rows of two processes, and saves what each found: python -m tests.rows FOLDER, started as ranks."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed import destroy_process_group, get_rank, init_process_group

from gan_core.distributed.collectives import Collectives
from gan_core.randomness import Share
from tests.norms import _Part, _Whole


def whole(size: int = 6) -> Tensor:
    """Returns the rows of the global micro-batch."""
    return torch.randn(size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def function(processes: Collectives, rows: Tensor) -> Tensor:
    """Returns rows that depend on the rows of all processes, on their order, and on a mean over processes."""
    everyone = processes.gather(rows)
    deviation = everyone.var(0, unbiased=False).add(0.1).sqrt()
    before = processes.share(everyone.tanh().cumsum(0))
    return rows * deviation + before + processes.mean(rows.square().mean(0))


def derivatives(processes: Collectives, rows: Tensor) -> dict[str, Tensor]:
    """Returns the function's values, its gradient, and the gradient of a penalty on that gradient."""
    rows = rows.clone().requires_grad_()
    out = function(processes, rows)
    (gradient,) = torch.autograd.grad(out.pow(3).sum(), rows, create_graph=True)
    (second,) = torch.autograd.grad((gradient.square() + gradient * out).sum(), rows)
    return {"out": out.detach(), "gradient": gradient.detach(), "second": second}


def numerical(processes: Collectives) -> bool:
    """Checks derivatives against differences. Every process computes the same function of all rows."""
    torch.manual_seed(0)  # Of the gradients that the check draws.
    rows = whole(4)[:, :1].clone().requires_grad_()

    def both(rows: Tensor) -> Tensor:
        return _Whole.apply(function(processes, _Part.apply(rows)))

    return torch.autograd.gradcheck(both, rows) and torch.autograd.gradgradcheck(both, rows)


def main(folder: Path) -> None:
    """Saves the results of this process."""
    init_process_group("gloo")
    processes = Collectives(Share(get_rank(), 2))
    labels = torch.arange(4) + 10 * get_rank()
    found: dict[str, Any] = {
        "labels": processes.gather(labels),
        "own": processes.share(processes.gather(labels)),
        "chosen": processes.gather(labels > 10),
        "mean": processes.mean(torch.tensor(float(get_rank()))),
        "derivatives": derivatives(processes, whole().chunk(2)[get_rank()]),
        "numerical": numerical(processes),
    }
    torch.save(found, folder / f"{get_rank()}.pt")
    destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
