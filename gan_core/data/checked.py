"""Checking pictures: each is read and decoded once, and what was found is remembered while its file stays the same."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError
from rich.console import Console

from gan_core.console import PlainConsole
from gan_core.data.names import Names
from gan_core.data.pictures import HEADER, examine
from gan_core.data.remembered import Arrays, Remembered
from gan_core.data.stored import Stored
from gan_core.progress import progress

_AT_ONCE = 4096
"""Pictures that are handed to the threads at a time."""
_QUIET = 2000
"""Up to so many pictures are checked without a word: that takes about a second."""


@dataclass(frozen=True)
class Checked:
    """Pictures, and what was found out about each.

    Attributes:
        stored: The pictures.
        headers: Their headers, (N,) of `HEADER`; zeros where there is a problem.
        problems: Why some cannot be used, by number.
    """

    stored: Stored
    headers: NDArray[Any]
    problems: dict[int, str]


def check(stored: Stored, console: Console | None = None) -> Checked:
    """Reads and decodes every picture that was not checked before, or whose file has changed since.

    Args:
        stored: The pictures.
        console: Where progress is shown; None shows that of more than 2,000 pictures on stderr.
    """
    memory = Remembered("pictures", stored.place)
    headers = _known(stored, memory.load())
    if not _is_unknown(headers).any():
        return Checked(stored, headers, {})
    with memory.alone():
        headers = _known(stored, memory.load())  # Another process may just have checked them.
        problems: dict[int, str] = {}
        numbers = np.flatnonzero(_is_unknown(headers)).tolist()
        for at, found in zip(numbers, _examined(stored, numbers, console), strict=True):
            if isinstance(found, str):
                problems[at] = found
            else:
                headers[at] = found
        if len(problems) < len(numbers):  # What fails is tried again each time: the disk may have been at fault.
            memory.save(
                {
                    "text": np.frombuffer(stored.names.text, np.uint8),
                    "ends": stored.names.ends,
                    "stamps": stored.stamps,
                    "headers": headers,
                }
            )
    return Checked(stored, headers, problems)


def _is_unknown(headers: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(headers["width"] == 0)


def _known(stored: Stored, remembered: Arrays) -> NDArray[Any]:
    """Returns the headers of pictures whose names and stamps are those that are remembered; zeros of the others."""
    headers = np.zeros(len(stored.names), HEADER)
    if not {"text", "ends", "stamps", "headers"} <= remembered.keys() or remembered["headers"].dtype != HEADER:
        return headers
    text, ends, stamps = remembered["text"].tobytes(), remembered["ends"].astype(np.int64), remembered["stamps"]
    if text == stored.names.text and np.array_equal(ends, stored.names.ends):
        same = (stamps == stored.stamps).all(1)
        headers[same] = remembered["headers"][same]
        return headers
    numbers = {name: number for number, name in enumerate(Names(text, ends))}
    for at, name in enumerate(stored.names):
        number = numbers.get(name)
        if number is not None and np.array_equal(stamps[number], stored.stamps[at]):
            headers[at] = remembered["headers"][number]
    return headers


def _examined(stored: Stored, numbers: Sequence[int], console: Console | None) -> Iterator[tuple[Any, ...] | str]:
    """Yields the header of each picture, or what is wrong with it, in order, and shows progress."""

    def attempt(at: int) -> tuple[Any, ...] | str:
        try:
            content = stored.read(at)
            with stored.open(content) as image:
                return examine(image, content)
        except UnidentifiedImageError:
            return "not an image"
        except Exception as error:  # Pillow's decoders raise all kinds.
            return str(error) or type(error).__name__

    def found() -> Iterator[tuple[Any, ...] | str]:
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(numbers), _AT_ONCE):
                yield from pool.map(attempt, numbers[start : start + _AT_ONCE])

    if console is None and len(numbers) <= _QUIET:
        return found()
    what = f"checking {len(numbers):,} images of {stored.place}, once"
    return progress(found(), len(numbers), what, console or PlainConsole(stderr=True))
