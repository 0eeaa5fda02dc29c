"""Every wait for the device within the steps of a run, by file and line, as torch's synchronisation debug mode sees it.

That mode warns at each call of torch that waits; collectives are not covered.
"""

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch

from gan_core.app import training
from gan_core.training.loop import Status, Training
from tests.gpu.lab import QUIET, ROOT, Lab, Result, images

WARNING = "called a synchronizing CUDA operation"
_PROJECT = tuple(str(ROOT / folder) for folder in ("gan_core", "plugins", "tests"))
_HERE = (__file__, str(Path(__file__).with_name("lab.py")))
_STEPS = 20


def waits(lab: Lab) -> Result:
    """Reports the waits of runs in several settings; each as the line that waits, and how often in a step."""
    runs = {
        "dcgan, fp32": ("variant=dcgan", "r1=0.5", "discriminator_norm=none"),
        "wgan-gp, fp32": ("variant=wgan", "penalty=gradient", "critic_steps=1"),
        "wgan, fp32": ("variant=wgan", "critic_steps=1"),
        "acgan, bf16": ("variant=acgan", "precision=bf16"),
        **({"dcgan, fp16": ("variant=dcgan", "precision=fp16")} if lab.on_gpu else {}),
    }
    found: Result = {}
    steps = 2 if lab.short else _STEPS
    for name in list(runs)[:1] if lab.short else runs:
        variant, *assignments = runs[name]
        seen: Counter[str] = Counter()
        # The warnings begin with the loop: what is set up before may wait.
        with patch.object(training, "train", recording(seen, lab)):
            # One log point, at the end.
            words = (*images(lab), *QUIET, *assignments, "log_every=1000000", "evaluate_every=null")
            lab.train(name, *words, variant=variant.partition("=")[2], batch=32, steps=steps)
        found[name] = {where: round(count / steps, 2) for where, count in seen.most_common()} or "none"
    if not lab.on_gpu:
        found["remark"] = "a CPU is never waited for"
    return found


def recording(seen: Counter[str], lab: Lab) -> Callable[[Training], Status]:
    """Returns the training loop with every wait counted; see `counting_waits`."""
    loop = training.train

    def train(run: Training) -> Status:
        with counting_waits(seen, enabled=lab.on_gpu):
            return loop(run)

    return train


@contextmanager
def counting_waits(seen: Counter[str], *, enabled: bool) -> Iterator[None]:
    """Counts torch's warnings of waits by the project's line from which they come.

    Args:
        seen: Counts by "file:line function".
        enabled: Whether there is a CUDA device, whose debug mode is set.
    """

    def show(message: Warning | str, *_: object) -> None:
        if WARNING not in str(message):
            return
        stack = [frame for frame in traceback.extract_stack() if frame.filename not in _HERE]
        ours = [frame for frame in stack if frame.filename.startswith(_PROJECT)]
        frame = ours[-1] if ours else stack[-1]
        seen[f"{Path(frame.filename).relative_to(ROOT) if ours else frame.filename}:{frame.lineno} {frame.name}"] += 1

    with warnings.catch_warnings():
        warnings.filterwarnings("always", WARNING)
        warnings.showwarning = show  # type: ignore[assignment]
        if enabled:
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            if enabled:
                torch.cuda.set_sync_debug_mode("default")
