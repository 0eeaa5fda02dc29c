"""Stands in for python, accelerate or torchrun, by its own name: what it runs is forked from the server beside it.

It imports little, for it starts once for each process.
"""

import json
import os
import signal
import socket
import sys

MODULES = {"accelerate": "accelerate.commands.accelerate_cli", "torchrun": "torch.distributed.run"}
OURS = (*MODULES.values(), "gan_core", "gan_core.bench", "gan_core.testing.quiet_import", "gan_core.testing.runs")
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def main() -> None:
    """Waits for the forked process and ends as it does; without one, becomes the real interpreter."""
    folder, name = os.path.split(sys.argv[0])
    words = [MODULES[name], *sys.argv[1:]] if name in MODULES else module(sys.argv[1:])
    codes = ask(words, folder) if words and words[0] in OURS else []
    if not codes:
        arguments = ["-m", *words] if name in MODULES else sys.argv[1:]
        os.execv(sys.executable, [sys.executable, *arguments])
    if codes[0] < 0:
        signal.signal(-codes[0], signal.SIG_DFL)
        os.kill(os.getpid(), -codes[0])
    sys.exit(codes[0])


def module(arguments: list[str]) -> list[str]:
    """Returns what follows `-m`, if these are a module and its arguments."""
    if arguments[:1] == ["-u"]:
        arguments = arguments[1:]
    return arguments[1:] if arguments[:1] == ["-m"] else []


def ask(words: list[str], folder: str) -> list[int]:
    """Returns the exit code of the process that the server forks, or nothing if it cannot."""
    request = {"words": words, "folder": os.getcwd(), "environments": [dict(os.environ)]}
    request["executable"] = os.path.join(folder, "python")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(os.path.join(folder, "socket"))
        socket.send_fds(connection, [json.dumps(request).encode()], [1, 2])
        processes = json.loads(connection.recv(1 << 20))
        if not processes:
            return []
        for number in FORWARDED:
            signal.signal(number, lambda number, frame: os.kill(processes[0], number))
        codes: list[int] = json.loads(connection.recv(1 << 20))
        return codes


if __name__ == "__main__":
    main()
