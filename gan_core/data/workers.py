"""Worker processes that decode rows ahead of time, into memory that is shared with them.

torch's DataLoader is not used: its workers import torch or are forked from a process with CUDA, NCCL and OpenMP
threads, whose sockets they then hold after it is killed. These import numpy and Pillow only, and end with the process
that started them, because the pipe between them closes.
"""

import mmap
import os
import shutil
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gan_core.data.decoder import Decoder, row_bytes
from gan_core.data.sent import Content, aligned, encode
from gan_core.data.worker import request
from gan_core.errors import TrainingError

CHANGED = "the data set has changed since it was checked. "
"""The beginning of the error for a row that cannot be decoded while training."""

_PIECE = 64
"""Rows that a worker decodes at a time, at most."""
_PIECE_BYTES = 4 << 20
_AHEAD = 4
"""Pieces that are decoded ahead, for each worker."""


class Workers:
    """Processes that decode rows, in the order in which they are asked for.

    Attributes:
        piece: How many rows one of them decodes at a time.
    """

    def __init__(self, decoder: Decoder, count: int) -> None:
        """Starts `count` processes.

        Raises:
            UserError: The decoder cannot be sent to them.
        """
        self.row_bytes = row_bytes(decoder)
        self.piece = max(1, min(_PIECE, _PIECE_BYTES // self.row_bytes))
        self.slots = _AHEAD * count
        size = self.slots * self.piece * self.row_bytes
        with _shared_file(size, encode(decoder)) as file:
            self._memory = np.frombuffer(mmap.mmap(file.fileno(), size), np.uint8).reshape(self.slots, -1)
            self._processes = [_Process(file.fileno(), size) for _ in range(count)]
        self._finalize = weakref.finalize(self, _close, self._processes)

    def decode(self, pieces: Iterator[NDArray[np.int64]]) -> Iterator[NDArray[np.uint8]]:
        """Yields the rows (N, row_bytes) of each piece; they are overwritten when the next ones are asked for.

        Raises:
            TrainingError: A row cannot be decoded, or a process was killed.
        """
        asked: deque[tuple[int, int]] = deque()
        number = 0
        try:
            for piece in pieces:
                if len(asked) == self.slots:
                    yield self._rows(*asked.popleft())
                slot = number % self.slots
                self._process(number).ask(slot * self.piece * self.row_bytes, piece)
                asked.append((number, len(piece)))
                number += 1
            while asked:
                yield self._rows(*asked.popleft())
        finally:
            while asked:  # So that the next to ask gets its own answers.
                with suppress(TrainingError, OSError):  # At the end of the program they are closed already.
                    self._process(asked.popleft()[0]).answer()

    def close(self) -> None:
        """Ends the processes."""
        self._finalize()

    def _process(self, number: int) -> "_Process":
        return self._processes[number % len(self._processes)]

    def _rows(self, number: int, count: int) -> NDArray[np.uint8]:
        if problem := self._process(number).answer():
            raise TrainingError(CHANGED + problem)
        return self._memory[number % self.slots, : count * self.row_bytes].reshape(count, -1)


class _Process:
    """One process, and the pipes to it."""

    def __init__(self, file: int, slots: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(  # noqa: S603 (our own program)
            [sys.executable, "-m", "gan_core.data.worker", str(file), str(slots)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[file],
            env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C in a terminal is not for it.
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests = Connection(os.dup(self.process.stdin.fileno()), readable=False)
        self.answers = Connection(os.dup(self.process.stdout.fileno()), writable=False)
        self.process.stdin.close()
        self.process.stdout.close()

    def ask(self, start: int, indices: NDArray[np.int64]) -> None:
        """Asks for rows at an offset of the shared memory."""
        with suppress(BrokenPipeError):  # The answer will say so.
            self.requests.send_bytes(request(start, indices))

    def answer(self) -> str:
        """Waits for what was asked for first; returns what went wrong, or "".

        Raises:
            TrainingError: The process has ended.
        """
        try:
            return self.answers.recv_bytes().decode(errors="surrogatepass")
        except (EOFError, ConnectionError):
            code = self.process.wait()
            killed = "was killed, perhaps because memory ran out" if code < 0 else "has failed, as it says above"
            raise TrainingError(
                f"a process that decodes images {killed} (exit code {code}). Use fewer: --set workers=1, or 0 for none"
            ) from None

    def close(self) -> None:
        """Ends the process: it reads that nothing more comes."""
        self.requests.close()
        self.answers.close()


def _close(processes: list[_Process]) -> None:
    for one in processes:
        one.close()
    for one in processes:
        try:
            one.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()


def _shared_file(size: int, content: Content) -> BinaryIO:
    """Opens a file without a name of `size` bytes; `content` follows at the next multiple of 64.

    It is in memory where there is room.

    Raises:
        OSError: There is none.
    """
    memory = Path("/dev/shm")  # noqa: S108 (it has no name there)
    fits = memory.is_dir() and shutil.disk_usage(memory).free > 2 * (size + sum(map(len, content)))
    file = TemporaryFile(dir=memory if fits else None)  # noqa: SIM115 (it is returned)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # Else a full disk would be a bus error later.
        file.seek(aligned(size))
        file.writelines(content)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file
