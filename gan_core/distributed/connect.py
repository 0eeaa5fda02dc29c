"""Connects the processes of one machine with each other, for `gan_core.distributed.exchange`."""

import socket
from contextlib import closing, suppress
from pathlib import Path
from tempfile import mkdtemp

from torch.distributed import DistError

from gan_core.cores import local_processes
from gan_core.distributed.exchange import Exchange
from gan_core.distributed.rendezvous import Rendezvous


def connect(rendezvous: Rendezvous) -> Exchange | None:
    """Returns the connections to all other processes of the run; None if there are none, or other machines.

    Every process must call it.

    Raises:
        DistError: Another process has ended.
    """
    rank, world = rendezvous.rank, rendezvous.world
    if world == 1 or world != local_processes() or not hasattr(socket, "AF_UNIX"):
        return None
    # Only this user can enter the folder, and so only this user's processes can connect.
    folder = Path(rendezvous.from_main("folder of sockets", lambda: mkdtemp(prefix="gan_core-")))
    peers: dict[int, socket.socket] = {}
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(folder / str(rank)))
        listener.listen(world)
        listener.settimeout(rendezvous.deadline)
        rendezvous.compare("sockets", {})  # Now all of them listen.
        for lower in range(rank):
            peers[lower] = socket.socket(socket.AF_UNIX)
            peers[lower].connect(str(folder / str(lower)))
            peers[lower].sendall(rank.to_bytes(4, "big"))
        for _ in range(rank + 1, world):
            try:
                peer, _ = listener.accept()
            except TimeoutError as error:
                raise DistError(f"a process did not connect within {rendezvous.deadline:g} s") from error
            peers[int.from_bytes(peer.recv(4), "big")] = peer
    (folder / str(rank)).unlink()
    with suppress(OSError):  # It is empty for the last of them.
        folder.rmdir()
    return Exchange(rank, peers)
