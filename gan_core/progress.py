"""Progress of work other than training: a progress bar in a terminal, one line elsewhere."""

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def progress(items: Iterable[T], total: int, what: str, console: Console, each: int = 1) -> Iterator[T]:
    """Yields the items, which stand for `each` of `total`, and shows how many of these are done, and the time left."""
    if not console.is_terminal:
        console.print(what, soft_wrap=True)
        yield from items
        return
    columns = (
        TextColumn(what, markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:3.0f}%"),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        for number, item in enumerate(items, start=1):
            yield item
            bar.update(task, completed=min(number * each, total))


def reading(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yields the `total` items that are read; the main process shows how many, if stderr is a terminal."""
    console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
    return progress(items, total, what, console) if console.is_terminal else iter(items)
