"""Trains R3GAN and StyleGAN2 for some steps with 1, 2 and 4 processes: python -m tests.style_worlds ROOT."""

import os
import sys
from multiprocessing import get_context
from pathlib import Path

from accelerate.state import AcceleratorState, GradientState
from rich.console import Console

from gan_core.app.training import start
from gan_core.testing.ports import free_ports, rank_environments
from gan_core.testing.runs import run_together
from tests.conftest import make_job

GAMES = {
    "r3gan": ("width=8", "blocks=1", "latent=4", "conditional=true", "decay_kimg=0.1", "final_half_life=0.1"),
    "stylegan2": ("width=4", "latent=4", "mapping_layers=1", "group=4", "r1=1"),
}
"""Small networks. With batches of 8, groups of 4 images are those of two processes where there are four."""

STEPS = 6
"""Two updates of the path length, one of R1."""


def train(root: Path, rank: int, world: int, ports: list[int]) -> None:
    """Makes the runs of a world as one of its processes; each run has its own port."""
    for port, (name, assignments) in zip(ports, GAMES.items(), strict=True):
        os.environ |= rank_environments(world, port)[rank]
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        flags = {"variant": name, "batch": 8, "steps": STEPS, "precision": "fp64", "sample_every": 1000}
        start(make_job(*assignments, **flags, out=root / str(world) / name), (), Console(quiet=True))


def main(root: Path) -> None:
    """Makes the runs of all worlds, in forked processes."""
    for world in (1, 2, 4):
        ports, fork = free_ports(len(GAMES)), get_context("fork")
        run_together([fork.Process(target=train, args=(root, rank, world, ports)) for rank in range(world)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
