"""What gan_core changes in its process, such as torch's number of threads, is as before afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restores the number of threads and the state of torch's random numbers, which belong to the caller."""
    threads, generator = torch.get_num_threads(), torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(generator)
