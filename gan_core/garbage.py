"""Python's garbage collection, in commands and tests. Nothing here imports torch."""

import gc


def collect_rarely() -> None:
    """Makes Python look for garbage less often.

    Imports make a million objects and no garbage: looking for it takes a tenth of the time of a short command.
    """
    gc.set_threshold(50_000)
