"""Images per second in each precision, as logged and by the clock; the peak of memory; and the scale of fp16."""

import time
from pathlib import Path
from unittest.mock import patch

import torch

from gan_core.runs.folder import RunFolder
from tests.gpu.lab import QUIET, Lab, Result
from tests.runs import metrics

_WIDTH, _SIDE = 128, 64


def rates(lab: Lab) -> Result:
    """Trains DCGAN at 64 x 64 in each precision. Rates and memory are only reported; all terms must stay finite."""
    kinds = {
        # First, because cuBLAS reads its environment once in a process.
        "fp32, deterministic": ("precision=fp32", "deterministic=true"),
        "fp32": ("precision=fp32",),
        "fp32, TF32": ("precision=fp32", "tf32=true"),
        "bf16": ("precision=bf16",),
        **({"fp16": ("precision=fp16",)} if lab.on_gpu else {}),
    }
    found: Result = {}
    for name in ("fp32, TF32", "bf16") if lab.short else kinds:
        found[name] = _measure(lab, name, kinds[name])
    if not lab.on_gpu:
        found["remark"] = "fp16 is refused on CPUs"
    return found


def _measure(lab: Lab, name: str, words: tuple[str, ...]) -> Result:
    width, side, batch, steps = (4, 8, 16, 8) if lab.short else (_WIDTH, _SIDE, 128, 64)
    clock: list[tuple[int, float]] = []
    append = RunFolder.append_metrics

    def appending(folder: RunFolder, line: dict[str, float]) -> None:
        lab.synchronise()
        clock.append((int(line["images_seen"]), time.monotonic()))
        append(folder, line)

    lab.reset_peak_memory()
    words = (*QUIET, *words, f"log_every={batch * steps / 8000}", f"width={width}", f"image_size={side}")
    with patch.object(RunFolder, "append_metrics", appending):
        run = lab.train(name, *words, variant="dcgan", batch=batch, steps=steps)
    lines = metrics(run)[2:]  # Algorithms are chosen in the first steps.
    first, last = clock[1], clock[-1]
    seconds = [batch * steps / 8 / line["images_per_second"] for line in lines]
    found: Result = {
        "images per second, logged": round(len(seconds) * batch * steps / 8 / sum(seconds), 1),
        "images per second, by the clock": round((last[0] - first[0]) / (last[1] - first[1]), 1),
        "peak memory": lab.peak_memory(),
    }
    if name == "fp16":
        found["final scale"] = _scale(run)
        assert found["final scale"] > 0, found
    return found


def _scale(run: Path) -> float:
    """Returns the scale of the last checkpoint's gradient scaler."""
    newest = max(path for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    return float(torch.load(newest / "scaler.pt", weights_only=True)["scale"])
