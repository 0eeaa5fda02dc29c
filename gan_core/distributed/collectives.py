"""Sums, means and rows over all processes that can be differentiated any number of times."""

import os
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributed import Work

from gan_core.cores import has_own_cores
from gan_core.distributed.exchange import LARGEST, Exchange, current
from gan_core.randomness import Share

# torch 2.14 renamed the function.
_all_gather = getattr(torch.distributed, "all_gather_single", torch.distributed.all_gather_into_tensor)


def stays_awake(device: torch.device) -> bool:
    """Returns whether this process waits for the others without sleeping: on CPUs, if its cores are its own.

    A core that sleeps needs time to wake up, most of all a virtual one. Processes that train together on CPUs wait for
    each other at each collective, a dozen times a step with batch normalisation.
    """
    return not torch.compiler.is_compiling() and device.type == "cpu" and has_own_cores()


def wait_awake(done: Callable[[], bool]) -> None:
    """Waits without sleeping. Other threads on this core, such as those that communicate, go first."""
    while not done():
        os.sched_yield()


def run_collective(collective: Callable[..., Work | None], *tensors: Tensor) -> None:
    """Runs a collective of torch.distributed, and waits for it."""
    work = collective(*tensors, async_op=stays_awake(tensors[0].device))
    if work is not None:
        wait_awake(work.is_completed)
        work.wait()


def gather(tensor: Tensor) -> Tensor:
    """Returns the tensors (n,) of all processes, of one size, in their order: (W, n). It cannot be differentiated."""
    if (exchange := _exchange_for(tensor)) is not None:
        return exchange.gather(tensor)
    parts = tensor.new_empty(torch.distributed.get_world_size() * len(tensor))
    run_collective(_all_gather, parts, tensor)
    return parts.view(-1, len(tensor))


def _exchange_for(tensor: Tensor) -> Exchange | None:
    """Returns the exchange between processes of one machine, if it may be used for such a tensor."""
    small = not torch.compiler.is_compiling() and tensor.device.type == "cpu" and tensor.nbytes <= LARGEST
    return current() if small else None


class _SumOverProcesses(torch.autograd.Function):
    """Sums a tensor over all processes. Its gradient is the sum of their gradients, and can be differentiated again."""

    @staticmethod
    def forward(context: object, tensor: Tensor) -> Tensor:
        """Sums the tensor; saves nothing for backward."""
        del context
        if (exchange := _exchange_for(tensor)) is not None:
            return exchange.gather(tensor).sum(0)
        total = tensor.clone()
        run_collective(torch.distributed.all_reduce, total)
        return total

    @staticmethod
    def backward(context: object, *gradients: Tensor) -> Tensor:
        """Sums the gradients: every process's copy of the sum depends on this process's tensor."""
        del context
        return sum_over_processes(gradients[0])


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Returns the sum of a tensor of the same shape on each process."""
    total: Tensor = _SumOverProcesses.apply(tensor.contiguous())
    return total


class Collectives:
    """The `gan_core.game.batch.Processes` of a run."""

    def __init__(self, share: Share) -> None:
        """Takes this process's share of a batch."""
        self.rank, self.world = share.rank, share.world

    def gather(self, rows: Tensor) -> Tensor:
        """Returns the rows of all processes in the order of the global micro-batch: (b, ...) -> (W b, ...)."""
        if self.world == 1:
            return rows
        # A sum of tensors that are zero but for each process's own rows: one collective, whose gradient is the same.
        before, after = rows.new_zeros(self.rank * len(rows), *rows.shape[1:]), (self.world - self.rank - 1) * len(rows)
        return sum_over_processes(torch.cat([before, rows, rows.new_zeros(after, *rows.shape[1:])]))

    def share(self, rows: Tensor) -> Tensor:
        """Returns this process's rows of a global micro-batch: (W b, ...) -> (b, ...).

        Raises:
            ValueError: They cannot be divided over the processes.
        """
        size, rest = divmod(len(rows), self.world)
        if rest:
            raise ValueError(f"{len(rows)} rows are not those of a global micro-batch of {self.world} processes")
        return rows[self.rank * size : (self.rank + 1) * size]

    def mean(self, value: Tensor) -> Tensor:
        """Returns the mean over processes of a tensor of the same shape on each."""
        return value if self.world == 1 else sum_over_processes(value) / self.world
