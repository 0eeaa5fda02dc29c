"""Jobs as the command line makes them, and what a run has written. Nothing here changes the environment."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from gan_core.app import job
from gan_core.app.job import Job
from gan_core.settings.resolve import resolve


def make_job(*assignments: str, config: Path | None = None, **flags: object) -> Job:
    """Resolves settings as the command line does."""
    return job.make_job(resolve(flags, assignments, config))


def weights(run: Path, images_seen: int | None = None) -> dict[str, Tensor]:
    """Returns every tensor of a run's checkpoint, by file and name; the newest one unless told."""
    folders = sorted(path for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    folder = folders[-1] if images_seen is None else run / "checkpoints" / f"{images_seen:09d}"
    files = sorted(folder.glob("*.safetensors"))
    assert files
    # Cloned, for the file is mapped into memory and tests spoil it.
    return {f"{file.stem}/{name}": tensor.clone() for file in files for name, tensor in load_file(file).items()}


def saved(run: Path) -> dict[str, Tensor]:
    """Returns the newest checkpoint's weights, averages and state."""
    folder = max(path for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    state = {
        f"{path.stem}/{name}": value
        for path in folder.glob("state-*.pt")
        for name, value in torch.load(path, weights_only=True).items()
    }
    return weights(run) | state


def metrics(run: Path) -> list[dict[str, Any]]:
    """Returns the lines that a run has logged."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Returns the largest absolute difference between two runs' tensors of the same names; NaN if there is one."""
    assert one.keys() == other.keys()
    return float(torch.stack([(one[name].double() - other[name].double()).abs().max() for name in one]).max())
