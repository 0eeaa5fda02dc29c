"""Rendezvous of the processes of a launch: they compare what they were started with, and name those that are missing.

They communicate through torch's key-value store, which works before there is a process group and after the group broke.
So no process waits for ever: one that waits in vain reports which process did not answer, and why that one ended.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import count

from torch.distributed import DistError, PrefixStore, TCPStore  # type: ignore[attr-defined]  # It lists neither.

from gan_core.distributed.launcher import started_processes
from gan_core.errors import LostProcessError, UserError

GRACE = 10.0
"""Seconds after which a process that waits prints a note, and for which processes that end wait for each other."""

_numbers = count()  # Consecutive runs in the same processes have a rendezvous each.


class Rendezvous:
    """The processes of this launch, with the store through which they communicate."""

    def __init__(self, deadline: float) -> None:
        """Connects to the store, which process 0 or the launcher of its machine hosts.

        Args:
            deadline: Seconds for which processes wait for each other.

        Raises:
            UserError: The launcher did not say where the store is.
            LostProcessError: Nothing answers there.
        """
        self.world, self.rank, self.deadline = started_processes(), int(os.environ.get("RANK", "0")), deadline
        self._number = next(_numbers)
        if self.world > 1:
            self._store = self._open()

    def compare(self, what: str, mine: Mapping[str, object]) -> None:
        """Waits until every process is here, and compares their values.

        Args:
            what: A name for this point of the run.
            mine: This process's values by name; they must be the same everywhere.

        Raises:
            LostProcessError: A process did not arrive in time.
            UserError: The values of two processes differ.
        """
        if self.world == 1:
            return
        self._publish(what, json.dumps(mine, default=str))
        missing = self._missing(what, min(GRACE, self.deadline))
        if missing and self.deadline > GRACE:
            if self._first_except(missing):
                print(f"waiting for {self._named(missing)}", file=sys.stderr, flush=True)
            missing = self._missing(what, self.deadline - GRACE)
        if missing:
            raise LostProcessError(
                f"{self._named(missing)} did not arrive within {self.deadline:g} s. Were all of them started? "
                "(--deadline SECONDS changes how long the others wait.)",
                reports=self._first_except(missing),
            )
        first, *others = (json.loads(self._read(what, rank)) for rank in range(self.world))
        rows = [
            f"  {key}: {first.get(key)!r} in process 0, {other.get(key)!r} in process {rank}"
            for rank, other in enumerate(others, 1)
            for key in first | other
            if first.get(key) != other.get(key)
        ]
        if rows:
            raise UserError(
                f"the processes of this run disagree on the {what}:\n" + "\n".join(rows) + "\n"
                "Start all of them with the same command, the same versions and the same data"
            )

    @property
    def group_store(self) -> PrefixStore | None:
        """The store through which the process group is set up; None where there is one process.

        Not the launcher's own store: there, a run that follows another, for example after a restart, may find the
        addresses of the run before.
        """
        return PrefixStore("group", self._store) if self.world > 1 else None

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turns an error within that another process caused by being gone into one that names that process."""
        try:
            yield
        except Exception as error:
            explained = self._explain(error)
            if explained is error:
                raise
            raise explained from error

    def _explain(self, error: Exception) -> Exception:
        """Publishes why this process ends; if it ends because another does not answer, finds out which and why.

        Returns:
            The error itself, or one that names the process for which this one waited.
        """
        if self.world == 1 or isinstance(error, LostProcessError):
            return error
        waited = isinstance(error, DistError) or "gloo" in str(error)
        try:
            self._publish("the end", "" if waited else f"{type(error).__name__}: {error}")
            missing = self._missing("the end", GRACE)
            said = {rank: self._read("the end", rank) for rank in range(self.world) if rank not in missing}
        except DistError:
            missing, said = [0], {}
        if not waited:
            return error
        reasons = [f"process {rank} of {self.world} stopped: {text}" for rank, text in said.items() if text]
        if missing:
            reasons.append(f"{self._named(missing)} is gone or does not answer (after {self.deadline:g} s at most)")
        reason = "\n".join(reasons) or f"the processes lost each other: {error}"
        return LostProcessError(
            f"{reason}\nThe last checkpoint is intact: run the same command to resume from it",
            reports=self._first_except(missing),
        )

    def _open(self) -> PrefixStore:
        try:
            host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        except KeyError as error:
            raise UserError(
                f"WORLD_SIZE is {self.world}, but {error.args[0]} is not set: launch with accelerate or torchrun"
            ) from None
        launcher_hosts_it = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        try:
            store = TCPStore(
                host,
                port,
                is_master=self.rank == 0 and not launcher_hosts_it,
                timeout=timedelta(seconds=self.deadline),
                wait_for_workers=False,
                multi_tenant=True,
            )
        except DistError:
            raise LostProcessError(
                f"process 0 of {self.world} did not arrive within {self.deadline:g} s: nothing answers at {host}:{port}"
            ) from None
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return PrefixStore(f"gan_core/{attempt}/{self._number}", store)

    def _publish(self, what: str, text: str) -> None:
        self._store.set(f"{what}/{self.rank}", text)

    def _read(self, what: str, rank: int) -> str:
        text: bytes = self._store.get(f"{what}/{rank}")
        return text.decode()

    def _missing(self, what: str, seconds: float) -> list[int]:
        """Returns the processes that have not arrived after so many seconds."""
        until = time.monotonic() + seconds
        # Polls, because the store's own wait prints to the terminal when it times out.
        while missing := [rank for rank in range(self.world) if not self._store.check([f"{what}/{rank}"])]:
            if time.monotonic() > until:
                break
            time.sleep(0.05)
        return missing

    def _first_except(self, missing: list[int]) -> bool:
        return self.rank == min(set(range(self.world)) - set(missing))

    def _named(self, ranks: list[int]) -> str:
        return f"process{'es' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))} of {self.world}"
