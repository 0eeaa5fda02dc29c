"""Rows of all processes in a loss: their order, and their derivatives against one process and against differences."""

import os
from typing import Any

import pytest
import torch

from gan_core.distributed.collectives import Collectives
from gan_core.randomness import Share
from tests import forked
from tests.conftest import ROOT
from tests.rows import derivatives, whole


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("rows")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = forked.run(["tests.rows", str(folder)], folder=ROOT, environment=environment, processes=2, timeout=120)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_rows_are_gathered_in_the_order_of_ranks_and_each_process_gets_its_own_back(
    found: list[dict[str, Any]],
) -> None:
    for rank, mine in enumerate(found):
        assert mine["labels"].tolist() == [0, 1, 2, 3, 10, 11, 12, 13]
        assert mine["own"].tolist() == [10 * rank + number for number in range(4)]
        assert mine["chosen"].tolist() == [False] * 5 + [True] * 3
        assert mine["chosen"].dtype == torch.bool
        assert mine["mean"] == 0.5


@pytest.mark.parametrize("value", ["out", "gradient", "second"])
def test_two_processes_compute_the_rows_of_one(found: list[dict[str, Any]], value: str) -> None:
    one = derivatives(Collectives(Share(0, 1)), whole())[value]
    two = torch.cat([mine["derivatives"][value] for mine in found])
    assert torch.allclose(one, two, rtol=0, atol=1e-12 * float(one.abs().max()))


def test_first_and_second_derivatives_equal_differences(found: list[dict[str, Any]]) -> None:
    assert all(mine["numerical"] for mine in found)


def test_rows_that_cannot_be_divided_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 rows are not those of a global micro-batch of 2 processes"):
        Collectives(Share(0, 2)).share(whole()[:3])
