"""Trainings on few images: how far the discriminator's outputs on them leave those on images that it has not seen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate.state import AcceleratorState
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

import gan_core
from gan_core.app.training import start
from tests.conftest import make_job


@dataclass(frozen=True)
class Outcome:
    """The discriminator's mean outputs on training images, held-out images and fakes, and the fakes: (N, C, H, W)."""

    train: float
    held_out: float
    fake: float
    fakes: Tensor

    @property
    def gap(self) -> float:
        """How far the outputs on training images are above those on others."""
        return self.train - self.held_out

    @property
    def overfitting(self) -> float:
        """r_v of Karras et al. 2020, equation 1: 0 without overfitting, 1 where held-out images look like fakes."""
        return self.gap / (self.train - self.fake)


def train_on(images: Tensor, held_out: Tensor, folder: Path, *assignments: str, fakes: int, **flags: object) -> Outcome:
    """Trains on `images` (N, C, H, W) uint8 in one thread, and asks the discriminator about them and `held_out`."""
    folder.mkdir(parents=True)
    np.savez(folder / "images.npz", arr_0=images.permute(0, 2, 3, 1).numpy())
    AcceleratorState._reset_state(reset_partial_state=True)
    flags |= {"dataset": f"npz:{folder / 'images.npz'}", "threads": 1, "out": folder / "run", "sample_every": 10_000}
    job = make_job(*assignments, **flags)
    assert start(job, (), Console(quiet=True)) == "finished"
    discriminator = job.build().networks["discriminator"].eval()
    (newest,) = sorted((folder / "run" / "checkpoints").iterdir())[-1:]
    discriminator.load_state_dict(load_file(newest / "discriminator.safetensors"))
    drawn = gan_core.load(folder / "run").sample(fakes)

    def output(asked: Tensor) -> float:
        with torch.no_grad():
            return float(torch.cat([discriminator(part / 127.5 - 1) for part in asked.split(500)]).mean())

    return Outcome(output(images), output(held_out), output(drawn), drawn)
