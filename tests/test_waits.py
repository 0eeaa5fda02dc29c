"""No update waits for the device: nothing in it asks for the value of a tensor, and copies to a GPU are queued.

On a CPU, reading a value costs nothing, so what is checked is that it is not done. The copies inside of torch's own
kernels are not seen.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from gan_core.data.streaming import StreamedRows
from gan_core.randomness import Streams
from gan_core.row_randomness import Draws, UpdateRandomness
from gan_core.training.ema import Ema
from gan_core.training.meter import Meter
from gan_core.training.phase_trainer import PhaseTrainer
from gan_core.transfer import place
from tests.numbered import Numbered
from tests.scaled import use_scaler
from tests.worlds import GAMES

aten = torch.ops.aten
READS = {aten._local_scalar_dense.default, aten.equal.default, aten.nonzero.default, aten.masked_select.default}
METHODS = {Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.item, Tensor.__bool__, Tensor.__float__, Tensor.__int__}


class NoReads(TorchDispatchMode):
    """Raises where an operation needs a value on the host, also where torch calls it from C++."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in READS, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


class NoMethods(TorchFunctionMode):
    """Raises where Python asks for values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in METHODS, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@contextmanager
def no_waits() -> Iterator[None]:
    with NoReads(), NoMethods():
        yield


@pytest.mark.parametrize("read", [float, bool, Tensor.item, Tensor.tolist, Tensor.cpu, lambda t: torch.equal(t, t)])
def test_what_waits_is_found(read: Callable[[Tensor], object]) -> None:
    with no_waits(), pytest.raises(AssertionError, match="waits for the device"):
        read(torch.ones(()))


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *((name, "fp16") for name in GAMES),
        *((name, "fp32") for name in ("dcgan", "wgan", "wgan-gp", "acgan")),
        ("dcgan", "bf16"),
    ],
)
def test_updates_do_not_wait(
    name: str, precision: str, tmp_path: Path, train: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision == "fp16":
        use_scaler(monkeypatch)
    seen = set()

    def watched(method: Callable[..., object]) -> Callable[..., object]:
        def call(self: Any, *arguments: object) -> object:
            if isinstance(self, PhaseTrainer):
                # With a scaler, an optimizer waits until its first step.
                if self not in seen and precision == "fp16":
                    seen.add(self)
                    return method(self, *arguments)
                seen.add(self)
            with no_waits():
                return method(self, *arguments)

        return call

    for owner, method in ((PhaseTrainer, "update"), (Meter, "add"), (Ema, "update")):
        monkeypatch.setattr(owner, method, watched(getattr(owner, method)))
    variant, *assignments = GAMES[name]
    settings = {"variant": variant, "batch": 16, "steps": 2, "precision": precision, "sample_every": 1000}
    assert train(*assignments, **settings, out=tmp_path / "run") == "finished"
    assert len(seen) == 2


class OneGpu(TorchFunctionMode):
    """Copies to a GPU stay on the CPU, and raise unless they are queued: from pinned memory, without converting."""

    def __init__(self) -> None:
        super().__init__()
        self.copies = 0
        self.pinned: list[Tensor] = []  # Kept, so that no other tensor gets their identity.

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.pin_memory:
            self.pinned.append(args[0].clone())
            return self.pinned[-1]
        if func is Tensor.to and args[1] == torch.device("cuda"):
            assert any(args[0] is tensor for tensor in self.pinned), "from pageable memory"
            assert kwargs.get("non_blocking"), "blocking"
            dtype = args[2] if len(args) > 2 else kwargs.get("dtype")
            assert dtype in (None, args[0].dtype), "converted on the way"
            self.copies += 1
            return args[0]
        return func(*args, **kwargs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_numbers_are_copied_from_pinned_memory(dtype: torch.dtype) -> None:
    gpu = torch.device("cuda")
    random = UpdateRandomness(Draws(Streams(0), "loss", 0, slice(1, 3)), gpu, dtype)
    inputs = {"z": torch.arange(3.0), "labels": torch.arange(3)}
    with OneGpu() as copied:
        placed, drawn = place(inputs, gpu, dtype), random.normal(2)
    assert copied.copies == 3
    assert placed["z"].tolist() == [0.0, 1.0, 2.0]
    assert placed["labels"].dtype == torch.int64
    assert (placed["z"].dtype, drawn.dtype, drawn.shape) == (dtype, dtype, (2, 2))


def test_streamed_images_and_labels_are_copied_from_pinned_memory() -> None:
    rows = StreamedRows(Numbered(4), {"labels": torch.tensor([7, 6, 5, 4])}).to(torch.device("cuda"))
    with OneGpu() as copied:
        (batch,) = rows.batches([[2, 0]])
    assert copied.copies == 2
    assert (batch["images"][:, 0, 0, 0].tolist(), batch["labels"].tolist()) == ([2, 0], [5, 7])
