"""Work that is shared out over processes, with few tasks waiting at a time. Nothing here imports torch."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

from gan_core.cores import usable_cores

A = TypeVar("A")
T = TypeVar("T")

_WAITING = 4
"""Tasks per process that are handed out but whose results are not taken yet: they bound the memory."""


def in_processes(work: Callable[[A], T], tasks: Iterable[A], processes: int | None = None) -> Iterator[T]:
    """Yields the results of all tasks in their order.

    Args:
        work: A function that workers can import, which must not need torch: they start in a fraction of a second.
        tasks: Read as they are handed out.
        processes: None takes one per core.

    Raises:
        BrokenProcessPool: A process was killed, for example because memory is short.
    """
    processes = processes or usable_cores()
    # Not forked: threads of libraries that are loaded here would not run there.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_end_with_parent)
    waiting: deque[Future[T]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) >= _WAITING * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Ends this process when the one that started it is killed, of which its queues say nothing."""

    def wait() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=wait, daemon=True).start()
