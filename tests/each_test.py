"""Fixtures of every test, those of plugins among them, which the tests' conftest.py does not reach by itself."""

from collections.abc import Iterator

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from gan_core.precision import tf32_restored


@pytest.fixture(autouse=True)
def _fresh_accelerator() -> Iterator[None]:
    """accelerate keeps its state in singletons; every test begins without."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True)
def _tf32_as_before() -> Iterator[None]:
    """A penalty that a test computes by itself forbids TF32 until the test ends, not in others."""
    with tf32_restored():
        yield
