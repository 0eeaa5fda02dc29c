"""Rendezvous of the processes of a launch: they compare their settings and report processes that are missing.

They communicate through torch's key-value store, which works before the process group exists and after it has failed.
No process waits forever: after a deadline it reports which process did not answer and, if known, why that one ended.
"""

import gc
import json
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from threading import Thread
from typing import TypeVar

from torch.distributed import DistError, PrefixStore, TCPStore  # type: ignore[attr-defined]  # Not in __all__.

from gan_core.console import say
from gan_core.distributed.heartbeat import GRACE, Beat, Heartbeat, named
from gan_core.distributed.launcher import started_processes
from gan_core.errors import LostProcessError, TrainingError, UserError

T = TypeVar("T")

_ANSWER = 5.0
"""Seconds in which the store answers."""

_numbers = count()  # Consecutive runs in the same processes use separate keys.


class Rendezvous:
    """The processes of a launch and the store through which they communicate."""

    def __init__(self, deadline: float) -> None:
        """Connects to the store, hosted by process 0 or by the launcher on its machine.

        Args:
            deadline: Seconds for which processes wait for each other.

        Raises:
            UserError: The launcher did not set MASTER_ADDR or MASTER_PORT.
            LostProcessError: Nothing answers at that address.
        """
        self.world, self.rank, self.deadline = started_processes(), int(os.environ.get("RANK", "0")), deadline
        self._number = next(_numbers)
        self._heartbeat: Heartbeat | None = None
        if self.world > 1:
            self._store = self._connect(hosts=self.rank == 0 and not _launcher_hosts_store())
            self._publish("beat", Beat().text())

    def compare(self, name: str, values: Mapping[str, object]) -> None:
        """Waits for all processes, and checks that their values are equal.

        Args:
            name: The name of the compared values, used in messages and keys.
            values: This process's values by name; they must be the same in all processes.

        Raises:
            LostProcessError: A process did not arrive in time.
            UserError: The values of two processes differ.
        """
        if self.world == 1:
            return
        self._publish(name, json.dumps(values, default=str))
        missing = self._missing(name, min(GRACE, self.deadline))
        if missing and self.deadline > GRACE:
            if self._reports(missing):
                say(f"waiting for {named(missing, self.world)}")
            missing = self._missing(name, self.deadline - GRACE)
        if missing:
            raise LostProcessError(
                f"{named(missing, self.world)} did not arrive within {self.deadline:g} s. Check that all processes "
                "were started, or use --deadline SECONDS to wait longer",
                reports=self._reports(missing),
            )
        first, *others = (json.loads(self._read(name, rank)) for rank in range(self.world))
        rows = [
            f"  {key}: {first.get(key)!r} in process 0, {other.get(key)!r} in process {rank}"
            for rank, other in enumerate(others, 1)
            for key in first | other
            if first.get(key) != other.get(key)
        ]
        if rows:
            raise UserError(
                f"the processes of this run disagree on the {name}:\n" + "\n".join(rows) + "\n"
                "Start all of them with the same command, the same versions and the same data"
            )

    def from_main(self, name: str, work: Callable[[], T]) -> T:
        """Runs `work` in process 0 and returns its result in all processes.

        Args:
            name: The name of the result, used in keys.
            work: Returns plain values: they are sent as JSON.

        Raises:
            UserError: `work` has raised it, in process 0.
        """
        if self.world == 1:
            return work()
        if self.rank == 0:
            try:
                self._publish(name, json.dumps({"result": work()}))
            except UserError as error:
                self._publish(name, json.dumps({"error": str(error)}))
        answer = json.loads(self._read(name, 0))
        if "error" in answer:
            raise UserError(answer["error"])
        result: T = answer["result"]
        return result

    @property
    def group_store(self) -> PrefixStore | None:
        """The store for setting up the process group; None with a single process.

        Not the launcher's own store, where a run that follows another, e.g. after a restart, may find the addresses of
        the earlier run.
        """
        return PrefixStore("group", self._store) if self.world > 1 else None

    def watch(self) -> None:
        """Starts to watch the other processes, until the block of `explaining` ends.

        Call it after they have been compared. If one is lost, this process ends, also while its main thread waits.
        """
        if self.world > 1:
            hosted_by = None if _launcher_hosts_store() else 0
            self._heartbeat = Heartbeat(self._connect(hosts=False), self.rank, self.world, self.deadline, hosted_by)

    @contextmanager
    def if_lost(self, work: Callable[[], None]) -> Iterator[None]:
        """Within, this process does `work` before it ends because another one is lost."""
        if self._heartbeat is None:
            yield
            return
        self._heartbeat.on_loss.append(work)
        try:
            yield
        finally:
            self._heartbeat.on_loss.remove(work)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tells the others of an error raised within: before the group is destroyed, in which they may wait."""
        try:
            yield
        except BaseException as error:
            if self.world > 1:
                with suppress(DistError):
                    self._tell(error)
            raise

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Replaces an error caused by a lost process, raised within, by a LostProcessError that names the process."""
        try:
            with self.telling():
                yield
        except Exception as error:
            explained = self._explain(error)
            if explained is error:
                raise
            raise explained from error
        finally:
            if self._heartbeat is not None:
                self._heartbeat.stop()

    def _explain(self, error: Exception) -> Exception:
        """Finds out, if this process ends because another one did not answer, which one and why.

        Returns:
            The error itself, or a LostProcessError that names the process.
        """
        if self.world == 1 or isinstance(error, LostProcessError):
            return error
        waited = _waited(error)
        # Frees what the frames hold, so that the process group closes and others stop waiting for this process.
        cause: BaseException | None = error
        while cause is not None:
            traceback.clear_frames(cause.__traceback__)
            cause = cause.__cause__ or cause.__context__
        gc.collect()
        try:
            missing, published = self._reasons()
        except DistError:
            missing, published = [0], {}
        if not waited:
            if isinstance(error, TrainingError):
                error.reports = self._reports(missing)  # Process 0 may wait for this one, until the launcher ends it.
            return error
        reasons = [f"process {rank} of {self.world} stopped: {text}" for rank, text in published.items() if text]
        if missing:
            reasons.append(f"{named(missing, self.world)} ended or did not answer within {self.deadline:g} s")
        reason = "\n".join(reasons) or f"communication between the processes failed: {error}"
        return LostProcessError(
            f"{reason}\nThe last checkpoint is intact: run the same command to resume from it",
            reports=self._reports(missing),
        )

    def _tell(self, error: BaseException) -> None:
        """Publishes why this process ends, unless it is another one that did not answer."""
        reason = "" if _waited(error) else f"{type(error).__name__}: {error}"
        if self._heartbeat is not None:
            self._heartbeat.end(reason)
        if not isinstance(error, LostProcessError):
            self._publish("end", reason)

    def _reasons(self) -> tuple[list[int], dict[int, str]]:
        """Returns which processes do not end within the grace time, and why those end that do.

        Raises:
            DistError: The store does not answer.
        """
        missing = self._missing("end", GRACE)
        there = [rank for rank in range(self.world) if rank not in missing]
        published = {rank: self._read("end", rank) for rank in there}
        self._publish("read", "")
        if self.rank == 0:  # The others still read from the store that it hosts.
            self._missing("read", _ANSWER, there)
        return missing, published

    def _connect(self, *, hosts: bool) -> PrefixStore:
        """Opens a connection to the store, and hosts it or not."""
        try:
            host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        except KeyError as error:
            raise UserError(
                f"WORLD_SIZE is {self.world}, but {error.args[0]} is not set: launch with accelerate or torchrun"
            ) from None
        try:
            store = TCPStore(
                host,
                port,
                is_master=hosts,
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

    def _publish(self, name: str, text: str) -> None:
        self._store.set(f"{name}/{self.rank}", text)

    def _read(self, name: str, rank: int) -> str:
        text: bytes = self._store.get(f"{name}/{rank}")
        return text.decode()

    def _missing(self, name: str, seconds: float, ranks: Iterable[int] | None = None) -> list[int]:
        """Waits up to `seconds` for all processes, or some, to publish `name`, and returns those that have not."""
        until, awaited = time.monotonic() + seconds, range(self.world) if ranks is None else ranks

        def poll() -> list[int]:
            # Polls, because the store's own wait prints to the terminal on a timeout.
            while missing := [rank for rank in awaited if not self._store.check([f"{name}/{rank}"])]:
                if time.monotonic() > until:
                    break
                time.sleep(0.05)
            return missing

        return _answered(poll, seconds + _ANSWER)

    def _reports(self, missing: list[int]) -> bool:
        """Returns whether this process prints the message: the first process that is not missing does."""
        return self.rank == min(set(range(self.world)) - set(missing))


def _waited(error: BaseException) -> bool:
    """Returns whether this error says that another process did not answer."""
    return isinstance(error, LostProcessError | DistError) or "gloo" in str(error)


def _launcher_hosts_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _answered(work: Callable[[], T], seconds: float) -> T:
    """Runs work with the store in a thread, and raises a DistError if its host, which may hang, does not answer."""
    ended: list[T | DistError] = []

    def run() -> None:
        try:
            ended.append(work())
        except DistError as error:
            ended.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not ended:
        raise DistError(f"no answer within {seconds:g} s")
    if isinstance(ended[0], DistError):
        raise ended[0]
    return ended[0]
