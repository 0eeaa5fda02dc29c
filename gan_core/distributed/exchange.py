"""Tensors exchanged between the processes of one machine through sockets, by the threads that need them.

torch's collectives on CPUs pass a message from thread to thread, with seven switches of threads. Where a switch takes
0.1 ms, as on some virtual machines, a kilobyte takes 0.7 ms, and here 0.005 ms. Batch normalisation has a dozen a step.
Larger tensors, such as gradients, go here only between two processes: among more, each would send more than in a ring.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributed import DistError

from gan_core.cores import has_own_cores

LARGEST = 65_536
"""The most bytes of a message. A process can be one exchange ahead of another, so the buffers of sockets must hold two;
they have room for four, some of which the system needs."""


class Exchange:
    """This process's connections to all others of the run, which are on the same machine.

    Attributes:
        count: How many exchanges this process has begun.
        bytes: How many bytes it has passed to them.
    """

    def __init__(self, rank: int, peers: Mapping[int, socket.socket]) -> None:
        """Takes the number of this process, and the connection to each other one by its number."""
        self.rank, self.count, self.bytes = rank, 0, 0
        self._peers = peers
        for peer in peers.values():
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                peer.setsockopt(socket.SOL_SOCKET, buffer, 4 * LARGEST)

    def gather(self, tensor: Tensor) -> Tensor:
        """Returns the tensors of all processes, (W, ...), in the order of the processes.

        Args:
            tensor: This process's tensor (...), on the CPU, of at most `LARGEST` bytes. Every process must pass one of
                the same shape and type.

        Raises:
            DistError: Another process has ended.
        """
        parts = tensor.new_empty(1 + len(self._peers), *tensor.shape)
        parts[self.rank] = tensor.detach()
        with self._exchanging(tensor):
            sent = _bytes(parts[self.rank])
            for peer in self._peers.values():
                peer.sendall(sent)
            for rank, peer in self._peers.items():
                _receive(peer, _bytes(parts[rank]))
        return parts

    def add_other(self, tensor: Tensor) -> None:
        """Adds the other process's tensor to this one, in place. There must be two processes.

        Both send each byte once, as in any reduction of two processes; the sums are the same bits on both.

        Args:
            tensor: This process's tensor, contiguous, of any size. The other one must pass one of its shape and type.

        Raises:
            DistError: The other process has ended.
        """
        (peer,) = self._peers.values()
        other = torch.empty_like(tensor)
        sent, received = (_bytes(each) for each in (tensor, other))
        with self._exchanging(tensor):
            for first in range(0, len(sent), LARGEST):
                peer.sendall(sent[first : first + LARGEST])
                _receive(peer, received[first : first + LARGEST])
        tensor += other

    @contextmanager
    def _exchanging(self, tensor: Tensor) -> Iterator[None]:
        """Counts an exchange of this tensor, in which a connection that fails is a DistError."""
        self.count += 1
        self.bytes += tensor.nbytes
        try:
            yield
        except OSError as error:
            raise DistError(f"the connection to another process failed: {error}") from error

    def close(self) -> None:
        """Closes the connections."""
        for peer in self._peers.values():
            peer.close()


def _bytes(tensor: Tensor) -> memoryview:
    """Returns the memory of a contiguous tensor on the CPU."""
    return tensor.view(-1).view(torch.uint8).numpy().data


def _receive(peer: socket.socket, into: memoryview) -> None:
    """Fills `into`. A core that sleeps needs time to wake up, so a process with cores of its own does not sleep."""
    flags = socket.MSG_DONTWAIT if has_own_cores() else 0
    while len(into):
        try:
            received = peer.recv_into(into, 0, flags)
        except BlockingIOError:
            os.sched_yield()  # Other threads on this core go first.
            continue
        if not received:
            raise ConnectionError("it has ended")
        into = into[received:]


_current: Exchange | None = None


def current() -> Exchange | None:
    """Returns the exchange of this run; None on GPUs, of a single process, and if there are other machines."""
    return _current


def use(exchange: Exchange | None) -> None:
    """Makes this the exchange of the run, and closes the one before."""
    global _current
    if _current is not None:
        _current.close()
    _current = exchange
