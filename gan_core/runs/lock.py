"""The lock of a run's folder: one training at a time writes to it. Readers need no lock.

The main process holds a POSIX record lock on FOLDER/.lock. The operating system releases it when the process ends,
however it ends, and no child process inherits it. On file systems without locks, the process in run.json counts.
"""

import errno
import json
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from gan_core.documents import parse_json
from gan_core.errors import UserError
from gan_core.runs.folder import RunFolder
from gan_core.runs.process import has_ended, is_here, this_process

try:
    import fcntl
except ImportError:  # On Windows.
    fcntl = None  # type: ignore[assignment]


class RunLock:
    """A context manager that holds the lock of a run's folder, which it creates if it is not there.

    A folder that it has created and in which nothing was written is removed at the end.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._file = folder.root / ".lock"
        self._handle: int | None = None
        self._created: list[Path] = []

    def __enter__(self) -> "RunLock":
        """Acquires the lock.

        Raises:
            UserError: Another process trains in this folder, or the folder cannot be written.
        """
        root = self._folder.root
        self._created = [path for path in (root, *root.parents) if not path.exists()]
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise UserError(f"out: {str(root)!r} cannot be written: {error}") from None
        try:
            self._acquire()
        except UserError:
            self._release()
            raise
        with suppress(OSError):  # On a full disk the lock still holds, only without a name.
            os.truncate(self._handle, 0)
            os.write(self._handle, json.dumps(this_process()).encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Releases the lock."""
        if self._created and list(self._folder.root.iterdir()) == [self._file]:
            self._file.unlink()
        self._release()

    def _acquire(self) -> None:
        holder = self._folder.read_metadata()
        holder = holder.get("process", {}) if holder.get("status") == "running" else {}
        assert self._handle is not None
        if (acquired := _locked(self._handle)) is None:
            # No locks here. A process on another host cannot be checked.
            acquired = not is_here(holder) or has_ended(holder)
        else:
            holder = _read(self._handle) or holder
        if not acquired:
            raise UserError(
                f"out: {str(self._folder.root)!r} is in use: {_described(holder)} trains there. Wait until it ends, or "
                "use another --out"
            )

    def _release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
        for path in self._created:
            with suppress(OSError):  # It holds a run now.
                path.rmdir()


def _locked(handle: int) -> bool | None:
    """Locks a file and returns whether that was possible; None where the system has no locks for it."""
    if fcntl is None:
        return None
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EACCES, errno.EAGAIN) else None
    return True


def _read(handle: int) -> dict[str, Any]:
    try:
        holder = parse_json(os.pread(handle, 1000, 0).decode())
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _described(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    since = ""
    with suppress(TypeError, ValueError, OverflowError):
        since = f", started {datetime.fromtimestamp(float(holder['started'])):%Y-%m-%d %H:%M:%S}"
    return f"process {holder.get('pid')} on {holder.get('host')}{since},"
