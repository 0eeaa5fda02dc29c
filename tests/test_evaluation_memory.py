"""What an evaluation keeps in memory: features on one process only, and float64 copies of small parts of them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gan_core.evaluation import frechet, kernel, neighbours
from gan_core.evaluation.manifold import overlap
from tests import forked
from tests.conftest import ROOT
from tests.evaluating import real_data


def test_only_the_main_process_keeps_features(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = ["tests.judges", str(tmp_path)]
    done = forked.run(words, folder=ROOT, environment=environment, processes=2, timeout=120)
    assert done.returncode == 0, done.stderr
    main, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    data = real_data("digits")
    for name in ("train", "held_out", "test"):
        count = len(getattr(data, name))
        assert main[name] == {"digests": count, "features": count}
        assert other[name] == {"digests": 0, "features": 0}
    assert (main["distances"], main["evaluated"]) == (True, True)
    assert (other["distances"], other["evaluated"]) == (False, False)
    assert torch.equal(main["about"], other["about"])


class LargestDouble(TorchDispatchMode):
    """Records the number of elements of the largest float64 tensor that is computed."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        doubles = [each for each in tree_leaves(out) if isinstance(each, Tensor) and each.dtype == torch.float64]
        self.elements = max([self.elements, *(each.untyped_storage().nbytes() // 8 for each in doubles)])
        return out


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: neighbours.nearest(x[:300], x),
        lambda x: neighbours.kth_distance(x[:300], 5),
        lambda x: overlap(x[:300], x[300:600]),
        lambda x: frechet.Moments(x[0, :512]).add(x[:, :512]),
        lambda x: kernel.kernel_distance(x[:1500], x[1500:], kernel.Standardiser(x)),
    ],
    ids=["nearest", "kth_distance", "overlap", "moments", "kernel_distance"],
)
def test_no_copy_of_all_features_is_made_in_float64(
    compute: Callable[[Tensor], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (neighbours, frechet):
        monkeypatch.setattr(module, "CHUNK", 100)
    monkeypatch.setattr("gan_core.evaluation.manifold.CHUNK", 100)
    x = torch.rand(3000, 1024, generator=torch.Generator().manual_seed(0))
    with LargestDouble() as largest:
        compute(x)
    assert 0 < largest.elements < 300 * 1024
