"""Trains CycleGAN on two small domains with 1, 2 and 4 processes: python -m tests.unpaired_worlds DATA FOLDER."""

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

SMALL = ("width=2", "blocks=1", "discriminator_width=2", "patch_layers=1", "pool=6", "threads=1", "channels=3")
"""Small networks, and pools that are full after 6 images."""

STEPS = 8

RUNS = {"whole": (), "halves": ("accumulate=2",)}


def train(data: Path, root: Path, rank: int, world: int, ports: list[int]) -> None:
    """Makes all runs of a world as one of its processes; each run has its own port."""
    for port, (name, assignments) in zip(ports, RUNS.items(), strict=True):
        os.environ |= rank_environments(world, port)[rank]
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        flags = {"variant": "cyclegan", "dataset": f"unpaired:{data}", "batch": 8, "steps": STEPS, "precision": "fp64"}
        job = make_job(*SMALL, *assignments, **flags, sample_every=1000, out=root / str(world) / name)
        start(job, (), Console(quiet=True))


def main(data: Path, root: Path) -> None:
    """Makes the runs of all worlds, in forked processes."""
    for world in (1, 2, 4):
        ports, fork = free_ports(len(RUNS)), get_context("fork")
        run_together([fork.Process(target=train, args=(data, root, rank, world, ports)) for rank in range(world)])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
