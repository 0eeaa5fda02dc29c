"""How a process waits for the others, and that compiled graphs can wait too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed import Work, all_reduce, destroy_process_group, init_process_group

from gan_core import cores
from gan_core.distributed.batchnorm import GlobalBatchNorm
from gan_core.distributed.collectives import run_collective


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> Iterator[None]:
    """A group of one process."""
    init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    destroy_process_group()


@pytest.mark.parametrize(("own_cores", "awake"), [(frozenset({0, 1}), True), (None, False)])
def test_only_a_process_with_cores_of_its_own_waits_awake(
    monkeypatch: pytest.MonkeyPatch, own_cores: frozenset[int] | None, awake: bool
) -> None:
    monkeypatch.setattr(cores, "_shared", own_cores)
    begun: list[bool] = []

    def recorded(tensor: Tensor, **how: Any) -> Work | None:
        begun.append(how["async_op"])
        return all_reduce(tensor, **how)

    total = torch.tensor([1.0, 2.0])
    run_collective(recorded, total)
    assert begun == [awake]
    assert total.tolist() == [1.0, 2.0]


def test_batch_normalisation_of_several_processes_compiles_to_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_shared", frozenset({0, 1}))
    x = torch.randn(4, 3, 5, 5)
    compiled = torch.compile(GlobalBatchNorm(3), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), nn.BatchNorm2d(3)(x))
