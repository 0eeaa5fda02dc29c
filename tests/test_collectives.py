"""How a process waits for the others, and that compiled graphs can wait too."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed import Work, all_reduce

from gan_core import cores
from gan_core.distributed.batchnorm import GlobalBatchNorm
from gan_core.distributed.collectives import run_collective

pytestmark = pytest.mark.usefixtures("single_process")


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
