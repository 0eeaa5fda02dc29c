"""Free ports of this machine."""

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
