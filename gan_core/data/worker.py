"""A process that decodes images for another one. Nothing here imports torch, so that it starts at once.

python -m gan_core.data.worker MEMORY SLOTS

It is asked on stdin and answers on stdout. It ends when the process that started it does, however that ends: the end of
stdin tells it.
"""

import mmap
import os
import signal
import struct
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from gan_core.data.decoder import Decoder, fields_of, row_bytes
from gan_core.data.sent import aligned, decode


def main() -> None:
    """Decodes rows into shared memory until no more are asked for.

    MEMORY is the descriptor of a file that the processes share: the first SLOTS bytes are for decoded rows, and from
    the next multiple of 64 on it has the decoder, as `gan_core.data.sent` encodes it.
    """
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):  # They ask the process that trains to save and stop, which needs us.
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    file, slots = int(sys.argv[1]), int(sys.argv[2])
    requests, replies = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # What a decoder prints must not be read as an answer.
    memory = mmap.mmap(file, 0)
    decoder: Decoder = decode(memoryview(memory)[aligned(slots) :])
    slot_bytes = np.frombuffer(memory, np.uint8, slots)
    with suppress(EOFError, BrokenPipeError):
        while True:
            start, indices = asked(requests.recv_bytes())
            size = len(indices) * row_bytes(decoder)
            problem = fill(decoder, indices, slot_bytes[start : start + size].reshape(len(indices), -1))
            replies.send_bytes(problem.encode(errors="surrogatepass"))


def request(start: int, indices: NDArray[np.int64]) -> bytes:
    """Returns the request for the rows at `indices`, to be put at an offset of the shared memory."""
    return struct.pack("<q", start) + indices.astype("<i8").tobytes()


def asked(content: bytes) -> tuple[int, NDArray[np.int64]]:
    """Returns the offset and the indices of a request."""
    return struct.unpack_from("<q", content)[0], np.frombuffer(content, "<i8", offset=8).astype(np.int64)


def fill(decoder: Decoder, indices: NDArray[np.int64], rows: NDArray[np.uint8]) -> str:
    """Decodes the rows at `indices` into `rows`, (N, row_bytes) uint8; returns what went wrong, or ""."""
    fields = fields_of(decoder, rows)
    for at, index in enumerate(indices.tolist()):
        try:
            for name, image in decoder.decode(index).items():
                fields[name][at] = image
        except Exception as error:
            return f"{decoder.name(index)}: {str(error) or type(error).__name__}"
    return ""


if __name__ == "__main__":
    main()
