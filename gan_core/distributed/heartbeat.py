"""Heartbeats: each process tells the others how far it is, and leaves if it waits for one of them too long.

With NCCL a process that waits for a lost one gets no exception and runs no signal handler: its main thread stays in
CUDA. So two threads of each process do it. One exchanges beats through the run's store: the number of collectives that
this process has issued, of torch's and of `gan_core.distributed.exchange`. The other compares them. The store may block
forever, because it answers no more if the process that hosts it is stopped; hence two threads.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Lock, Thread, get_ident
from typing import NoReturn

from torch import distributed
from torch.distributed import DistError, PrefixStore  # type: ignore[attr-defined]  # Not in __all__.

from gan_core.console import print_error
from gan_core.distributed.exchange import current

GRACE = 10.0
"""Seconds before a waiting process prints a note, and for which a failing process waits for the others' reasons."""
_SLOWEST = 5.0
"""The longest time between two beats, in seconds."""
_CLOSING = 1.0
"""Seconds for which a process that leaves waits for what may hang: a thread, a disk, another process."""


@dataclass(frozen=True, kw_only=True)
class Beat:
    """What a process tells the others.

    Attributes:
        number: Counts its beats.
        collectives: How many collectives it has issued.
        place: Where in the code its main thread is.
        ended: Whether it ends because of an error.
        reason: The error, unless it is another process that was lost.
        left: Whether it beats no more, and nobody has to wait for it.
        lost: Why all processes must leave; "" unless this process has found that out.
    """

    number: int = 0
    collectives: int = 0
    place: str = ""
    ended: bool = False
    reason: str = ""
    left: bool = False
    lost: str = ""

    def text(self) -> str:
        """Returns it as JSON."""
        return json.dumps(asdict(self))


class Heartbeat:
    """The beats of this process and the others.

    A process is lost if it was silent for the deadline, if it has issued fewer collectives than another for the
    deadline without issuing one, or if it has said why it ends and another waits for it for `GRACE`. Long phases in
    which no process waits for another are never too long.
    """

    def __init__(self, store: PrefixStore, rank: int, world: int, deadline: float, hosted_by: int | None) -> None:
        """Starts to beat and to watch.

        Args:
            store: A connection to the store that no other thread uses; it has a beat of every process.
            rank: This process.
            world: The number of processes.
            deadline: Seconds.
            hosted_by: The process that hosts the store, or None if the launcher does.
        """
        self._store, self._rank, self._world, self._deadline = store, rank, world, deadline
        self._hosted_by = hosted_by
        self.on_loss: list[Callable[[], None]] = []
        """Called, the last first, before this process leaves because another one is lost."""
        self._interval = min(deadline / 10, _SLOWEST)
        self._main, self._collectives = get_ident(), 0
        self._ended, self._reason, self._left, self._lost = False, "", False, ""
        self._beats = self._compared = tuple(Beat() for _ in range(world))
        self._silent, self._behind, self._unheard = [0.0] * world, [0.0] * world, 0.0
        self._stopped, self._awake, self._deciding = Event(), Event(), Lock()
        self._threads = [Thread(target=work, name="heartbeat", daemon=True) for work in (self._exchange, self._watch)]
        for thread in self._threads:
            thread.start()

    def end(self, reason: str) -> None:
        """Tells the others that this process ends because of an error; "" if it has lost another process."""
        self._ended, self._reason = True, reason
        self._awake.set()

    def stop(self) -> None:
        """Ends both threads. Does not return if this process is leaving because another one is lost."""
        with self._deciding:
            self._stopped.set()
        self._leave_quietly()
        for thread in self._threads:
            thread.join(_CLOSING)

    def _exchange(self) -> None:
        """Sends beats and receives those of the others, until this process leaves or the store cannot be reached."""
        keys = [f"beat/{rank}" for rank in range(self._world)]
        number = 0
        with suppress(DistError):  # Then no beats are heard any more, which the other thread notices.
            while True:
                left = self._left
                self._store.set(keys[self._rank], self._beat(number := number + 1).text())
                self._beats = tuple(Beat(**json.loads(text)) for text in self._store.multi_get(keys))
                if left:
                    break
                self._awake.wait(self._interval)
                self._awake.clear()
            # The others need the store until they leave, too.
            until = time.monotonic() + _CLOSING
            while self._rank == self._hosted_by and time.monotonic() < until:
                if all(Beat(**json.loads(text)).left for text in self._store.multi_get(keys)):
                    break
                time.sleep(0.02)

    def _beat(self, number: int) -> Beat:
        self._collectives = max(self._collectives, _issued())
        return Beat(
            number=number,
            collectives=self._collectives,
            place=_place(self._main),
            ended=self._ended,
            reason=self._reason,
            left=self._left,
            lost=self._lost,
        )

    def _watch(self) -> None:
        """Leaves if a process is lost, or if another one has found that out."""
        now = time.monotonic()
        while not self._stopped.wait(self._interval):
            before, now = now, time.monotonic()
            # Time in which this process itself was stopped does not count.
            self._count(min(now - before, 2 * self._interval))
            with self._deciding:
                if self._stopped.is_set():
                    return
                if any(beat.lost for beat in self._beats):
                    self._leave()
                text, reporter = self._find_lost()
                if text and reporter == self._rank:
                    self._leave(text)
                if text and (reporter is None or self._unheard >= self._deadline):
                    self._leave()  # It has been printed, or who prints it cannot be heard.

    def _count(self, seconds: float) -> None:
        """Adds up for how long each process has been silent and behind the others."""
        self._unheard += seconds
        beats, before = self._beats, self._compared
        if beats is before:
            return
        most = max(beat.collectives for beat in beats)
        for rank, (beat, last) in enumerate(zip(beats, before, strict=True)):
            answers = beat.number != last.number or (beat.left and not beat.ended)
            goes_on = beat.collectives == most or beat.collectives != last.collectives
            self._silent[rank] = 0.0 if answers else self._silent[rank] + self._unheard
            self._behind[rank] = 0.0 if goes_on else self._behind[rank] + self._unheard
        self._compared, self._unheard = beats, 0.0

    def _find_lost(self) -> tuple[str, int | None]:
        """Returns why all must leave, or "", and which process prints it; None if it has been printed."""
        beats, within = self._compared, f"within {self._deadline:g} s"
        # If this one ends too, its main thread is finding out why.
        limit = self._deadline if self._ended else min(GRACE, self._deadline)
        ended = [
            rank
            for rank, beat in enumerate(beats)
            if beat.ended and rank != self._rank
            if self._behind[rank] + self._unheard >= limit or self._silent[rank] >= self._deadline
        ]
        if ended:
            told = [
                f"{named([rank], self._world)} stopped: {beats[rank].reason}" for rank in ended if beats[rank].reason
            ]
            return "\n".join(told) or f"{named(ended, self._world)} ended", None if 0 in ended else 0
        if self._unheard >= self._deadline:
            if self._hosted_by is None:
                return f"the launcher on the machine of process 0 ended or did not answer {within}", 0
            if not beats[self._hosted_by].left:
                return f"{named([self._hosted_by], self._world)} ended or did not answer {within}", self._hosted_by + 1
            return "", None
        if silent := self._over(self._silent):
            return f"{named(silent, self._world)} ended or did not answer {within}", self._first_except(silent)
        if behind := self._over(self._behind):
            least = min(beats[rank].collectives for rank in behind)
            behind = [rank for rank in behind if beats[rank].collectives == least]
            places = ", ".join(dict.fromkeys(beats[rank].place for rank in behind))
            text = f"{named(behind, self._world)} kept the others waiting for {self._deadline:g} s, in {places}"
            return text, self._first_except(behind)
        return "", None

    def _over(self, seconds: Sequence[float]) -> list[int]:
        return [rank for rank, passed in enumerate(seconds) if passed >= self._deadline]

    def _first_except(self, ranks: Sequence[int]) -> int:
        return min(set(range(self._world)) - set(ranks), default=-1)

    def _leave(self, text: str = "") -> NoReturn:
        """Ends this process, as an error of training would: its main thread may wait forever.

        Args:
            text: Why; printed, and told to the others, which leave first. "" if another process prints it.
        """
        closing = Thread(target=lambda: [work() for work in reversed(self.on_loss)], daemon=True)
        closing.start()
        closing.join(_CLOSING)  # A disk that hangs must not keep the message.
        if text:
            print_error(f"{text}\nThe last checkpoint is intact: run the same command to resume from it", self._rank)
            self._lost = text
            until = time.monotonic() + _CLOSING + 2 * self._interval
            others = [rank for rank in range(self._world) if rank != self._rank and not self._silent[rank]]
            while time.monotonic() < until and not all(self._beats[rank].left for rank in others):
                self._awake.set()
                time.sleep(0.02)
        self._leave_quietly()
        for thread in (self._threads[0], closing):
            thread.join(_CLOSING)
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(1)

    def _leave_quietly(self) -> None:
        self._left = True
        self._awake.set()


def named(ranks: Sequence[int], world: int) -> str:
    """Returns "process 1 of 4" or "processes 1, 2 of 4"."""
    return f"process{'es' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))} of {world}"


def _issued() -> int:
    """Returns how many collectives and exchanges this process has issued so far; 0 without a group."""
    issued = 0 if (exchange := current()) is None else exchange.count
    if distributed.is_initialized() and (group := distributed.group.WORLD) is not None:
        with suppress(RuntimeError):  # A backend that does not count.
            issued += int(group._get_sequence_number_for_group())  # type: ignore[attr-defined]
    return issued


def _place(thread: int) -> str:
    """Returns the line of Python at which a thread is, also while it is in a library: "update (meter.py:92)"."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "no code"
    return f"{frame.f_code.co_name} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"
