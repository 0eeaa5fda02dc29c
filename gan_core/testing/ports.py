"""Free ports of this machine, and what a launcher tells the processes that it starts there."""

import random
import socket
from contextlib import suppress

FIRST, LAST = 10_000, 32_767
"""Below the ports that systems give to outgoing connections, so that none of those takes one before it is used."""


def free_ports(count: int) -> list[int]:
    """Returns `count` different ports on which no process listens now, drawn by chance."""
    ports: set[int] = set()
    while len(ports) < count:
        port = random.SystemRandom().randint(FIRST, LAST)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            ports.add(port)
    return list(ports)


def rank_environments(count: int, port: int) -> list[dict[str, str]]:
    """Returns the environment variables of each of `count` processes on one machine; one alone needs none."""
    if count == 1:
        return [{}]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
