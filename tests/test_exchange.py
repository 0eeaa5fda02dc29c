"""The exchange of small tensors between processes of one machine: in order, ahead of each other, and if one ends."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.distributed import DistError

from gan_core import cores
from gan_core.distributed import exchange as exchanges
from gan_core.distributed.collectives import gather, sum_over_processes
from gan_core.distributed.exchange import LARGEST, Exchange
from gan_core.distributed.heartbeat import _issued

WORLD = 3


@pytest.fixture
def processes() -> Iterator[list[Exchange]]:
    """Three processes, as threads of this one."""
    peers: list[dict[int, socket.socket]] = [{} for _ in range(WORLD)]
    for one, other in combinations(range(WORLD), 2):
        peers[one][other], peers[other][one] = socket.socketpair()
    made = [Exchange(rank, peers[rank]) for rank in range(WORLD)]
    yield made
    for each in made:
        each.close()


def twice(process: Exchange) -> None:
    """Exchanges 10 or 100, two times."""
    for _ in range(2):
        process.gather(torch.full((2,), 10.0**process.rank))


def in_all(processes: list[Exchange], work: Callable[[Exchange], Tensor]) -> list[Tensor]:
    """Returns what all processes find at the same time."""
    with ThreadPoolExecutor(len(processes)) as threads:
        return list(threads.map(work, processes, timeout=60))


@pytest.mark.parametrize("own_cores", [frozenset({0, 1, 2}), None], ids=["awake", "asleep"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (), (0,), (LARGEST // 8,)], ids=str)
def test_every_process_gets_all_tensors_in_order(
    processes: list[Exchange],
    monkeypatch: pytest.MonkeyPatch,
    own_cores: frozenset[int] | None,
    dtype: torch.dtype,
    shape: tuple[int, ...],
) -> None:
    monkeypatch.setattr(cores, "_shared", own_cores)
    given = torch.randn(WORLD, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    for found in in_all(processes, lambda process: process.gather(given[process.rank])):
        assert torch.equal(found, given)
        assert found.dtype == dtype


def test_a_process_may_be_one_exchange_ahead_with_the_largest_messages(processes: list[Exchange]) -> None:
    def many(process: Exchange) -> Tensor:
        own = torch.full((LARGEST // 8,), float(process.rank), dtype=torch.float64)
        return torch.stack([process.gather(own + 10 * number)[:, -1] for number in range(200)])

    expected = torch.arange(WORLD) + 10.0 * torch.arange(200)[:, None]
    for found in in_all(processes, many):
        assert torch.equal(found, expected.double())
    assert [process.count for process in processes] == [200] * WORLD
    assert [process.bytes for process in processes] == [200 * LARGEST] * WORLD


@pytest.mark.parametrize("own_cores", [frozenset({0, 1, 2}), None], ids=["awake", "asleep"])
def test_who_waits_for_a_process_that_ends_is_told(
    processes: list[Exchange], monkeypatch: pytest.MonkeyPatch, own_cores: frozenset[int] | None
) -> None:
    monkeypatch.setattr(cores, "_shared", own_cores)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(processes[0].gather, torch.ones(2))
        processes[1].close()
        processes[2].close()
        with pytest.raises(DistError, match="another process"):
            waiting.result(60)
    with pytest.raises(DistError, match="another process"):
        processes[0].gather(torch.ones(2))


@pytest.mark.parametrize("numbers", [0, 1, LARGEST // 8, 3 * LARGEST // 8 + 5])
def test_two_processes_add_each_other_s_tensors(numbers: int) -> None:
    one, other = socket.socketpair()
    both = [Exchange(0, {1: one}), Exchange(1, {0: other})]
    given = torch.randn(2, numbers, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def repeatedly(process: Exchange) -> Tensor:
        total = given[process.rank].clone()
        for _ in range(3):  # Each time twice as much: the sum of two equal tensors.
            process.add_other(total)
        return total

    for found in in_all(both, repeatedly):
        assert torch.equal(found, 4 * (given[0] + given[1]))
    assert [(each.count, each.bytes) for each in both] == [(3, 24 * numbers)] * 2
    both[1].close()
    if numbers:
        with pytest.raises(DistError, match="another process"):
            both[0].add_other(torch.ones(numbers))
    both[0].close()


@pytest.mark.usefixtures("single_process")
def test_small_tensors_take_the_exchange_and_count_as_collectives(processes: list[Exchange]) -> None:
    before, first = _issued(), processes[0]
    exchanges.use(first)
    try:
        with ThreadPoolExecutor(2) as threads:
            for each in processes[1:]:
                threads.submit(twice, each)
            assert torch.equal(gather(torch.ones(2)), torch.tensor([[1.0, 1.0], [10.0, 10.0], [100.0, 100.0]]))
            assert torch.equal(sum_over_processes(torch.ones(2)), torch.tensor([111.0, 111.0]))
        assert _issued() - before == first.count == 2
        # One that is too large is torch's: of a group of one process here.
        assert float(sum_over_processes(torch.ones(LARGEST)).sum()) == LARGEST
        assert first.count == 2
    finally:
        exchanges.use(None)
    assert exchanges.current() is None
