"""The parts of a training step: time, floating-point operations, and bytes between processes.

All that the bench knows of the inside of training is here. Functions are replaced by ones that measure while a step
runs, so training has no code for it; the rate is measured in another process, without this.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from gan_core import precision
from gan_core.bench.stopwatch import now
from gan_core.distributed.exchange import current
from gan_core.training.batch_source import BatchSource
from gan_core.training.ema import Ema
from gan_core.training.observer import Observer
from gan_core.training.phase_module import PhaseModule
from gan_core.training.phase_trainer import PhaseTrainer
from gan_core.training.shared_fakes import SharedFakes


class Parts:
    """The seconds of each part: "data", "averages", and of each phase "forward", "backward" and "step"."""

    def __init__(self, device: torch.device) -> None:
        """Waits for the device at both ends of each part."""
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self._phase, self._inner = "", 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measures within the block."""
        data, update = BatchSource.step, PhaseTrainer.update

        def timed_data(source: BatchSource, images_seen: int) -> Iterator[Any]:
            batches = data(source, images_seen)
            while True:
                with self._part("data"):
                    found = next(batches, None)
                if found is None:
                    return
                yield found

        def timed_update(trainer: PhaseTrainer, *arguments: Any) -> Any:
            self._phase, self._inner = trainer.phase.name, 0.0
            before = now(self.device)
            result = update(trainer, *arguments)
            self.seconds[f"{self._phase} step"] += now(self.device) - before - self._inner
            self._phase = ""
            return result

        with ExitStack() as stack:
            stack.enter_context(patch.object(BatchSource, "step", timed_data))
            stack.enter_context(patch.object(PhaseTrainer, "update", timed_update))
            stack.enter_context(patch.object(PhaseModule, "forward", self._timed(PhaseModule.forward, "forward")))
            stack.enter_context(patch.object(SharedFakes, "filled", self._timed(SharedFakes.filled, "forward")))
            stack.enter_context(
                patch.object(torch.autograd, "backward", self._timed(torch.autograd.backward, "backward"))
            )
            stack.enter_context(patch.object(Ema, "update", self._timed(Ema.update, "averages")))
            yield

    def _timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            with self._part(f"{self._phase} {part}".strip()):
                return function(*arguments, **named)

        return timed

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        before = now(self.device)
        yield
        seconds = now(self.device) - before
        self.seconds[name] += seconds
        self._inner += seconds


class Traffic(TorchDispatchMode):
    """Counts what this process passes to collectives, and the least that the step needs.

    Attributes:
        bytes: Bytes passed to collectives; of a gather, this process's part.
        collectives: Their number.
        statistics: Bytes of the means and variances of batch normalisation: two numbers per channel and call, and as
            many in backward.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's has no types.
        self.bytes = self.collectives = self.statistics = 0

    def __enter__(self) -> "Traffic":
        """Begins to count."""
        self._count_exchanges(-1)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops counting."""
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        self._count_exchanges(1)

    def _count_exchanges(self, sign: int) -> None:
        if (exchange := current()) is not None:
            self.bytes += sign * exchange.bytes
            self.collectives += sign * exchange.count

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        """Counts a collective."""
        del types
        if function.namespace == "c10d" and "barrier" not in function.__name__:
            given = arguments[1] if "gather" in function.__name__ else arguments[0]
            self.bytes += sum(tensor.nbytes for tensor in ([given] if isinstance(given, torch.Tensor) else given))
            self.collectives += 1
        return function(*arguments, **(named or {}))

    def count_statistics(self, module: Any, inputs: Any, output: Any) -> None:
        """A forward hook: counts the call of a batch normalisation."""
        del inputs
        if isinstance(module, _BatchNorm) and module.training:
            directions = 2 if output.requires_grad else 1
            self.statistics += directions * 2 * module.num_features * 4


class _NoModules:
    """A tracker of modules that tracks none: all operations are counted as those of the whole."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None: ...


class PartsObserver(Observer):
    """Measures the parts from step `first` to step `last`, and counts operations and bytes in the `counted` after."""

    def __init__(self, first: int, last: int, counted: int, step_images: int, device: torch.device) -> None:
        """The run must go on until the counted steps are done."""
        self.first, self.last, self.counted, self.step_images, self.device = first, last, counted, step_images, device
        self.parts, self.traffic = Parts(device), Traffic()
        self.flops = FlopCounterMode(display=False)
        # torch's tracker of modules fails where a penalty takes the gradient by the images.
        self.flops.mod_tracker = _NoModules()  # type: ignore[assignment]
        self.total = 0.0
        self._stack = ExitStack()

    def advance(self, images_seen: int) -> None:
        """Begins and ends what is measured."""
        step = images_seen // self.step_images
        if step == self.first:
            self._stack.enter_context(self.parts.measured())
            self.total = -now(self.device)
        elif step == self.last:
            self.total += now(self.device)
            self._stack.close()
            # The counter does not know all algorithms for convolutions: count those of torch.
            self._stack.enter_context(patch.object(precision, "_fast_convolutions", False))
            self._stack.enter_context(self.flops)
            self._stack.enter_context(self.traffic)
            hook = torch.nn.modules.module.register_module_forward_hook(self.traffic.count_statistics)
            self._stack.callback(hook.remove)
        elif step == self.last + self.counted:
            self._stack.close()

    def shares(self) -> dict[str, float]:
        """Returns the share of each part; what none of them takes is "bookkeeping"."""
        shares = {name: seconds / self.total for name, seconds in self.parts.seconds.items()}
        return {**shares, "bookkeeping": 1.0 - sum(shares.values())}
