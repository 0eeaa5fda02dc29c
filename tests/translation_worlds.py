"""Trains CycleGAN and pix2pix with 1, 2 and 4 processes on small pictures: python -m tests.translation_worlds ROOT."""

import os
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from accelerate.state import AcceleratorState, GradientState
from PIL import Image
from rich.console import Console

from gan_core.app.training import start
from gan_core.testing.ports import free_ports, rank_environments
from gan_core.testing.runs import run_together
from tests.conftest import make_job

COUNTS = {"trainA": 11, "trainB": 7, "testA": 5, "testB": 3}

SMALL = ("width=2", "blocks=1", "discriminator_width=2", "patch_layers=1", "pool=6", "threads=1", "channels=3")
"""Small networks of CycleGAN, and pools that are full after 6 images."""

SMALL_PAIRS = ("width=2", "threads=1")
"""Small networks of pix2pix, with its dropout."""

STEPS = {"cyclegan": 8, "pix2pix": 20}

RUNS = [(name, kind) for name in STEPS for kind in ("whole", "halves")]


def write_pictures(folder: Path, count: int, seed: int, side: int = 8) -> Path:
    """Writes random RGB pictures."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)).save(folder / f"{number:03d}.png")
    return folder


def write_domains(root: Path) -> str:
    """Writes two domains of other counts, each with a test split; returns the data set."""
    for seed, (name, count) in enumerate(COUNTS.items()):
        write_pictures(root / name, count, seed)
    return f"unpaired:{root}"


def write_pairs(root: Path) -> str:
    """Writes pairs of 16 x 16 pixels; returns the data set."""
    for seed, name in enumerate("AB"):
        write_pictures(root / name / "train", 11, seed, 16)
    return f"pairs:{root}"


def train(root: Path, rank: int, world: int, ports: list[int]) -> None:
    """Makes all runs of a world as one of its processes; each run has its own port."""
    games = {"cyclegan": (f"unpaired:{root / 'domains'}", SMALL), "pix2pix": (f"pairs:{root / 'pairs'}", SMALL_PAIRS)}
    for port, (name, kind) in zip(ports, RUNS, strict=True):
        os.environ |= rank_environments(world, port)[rank]
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        dataset, assignments = games[name]
        flags = {"variant": name, "dataset": dataset, "batch": 8, "steps": STEPS[name], "precision": "fp64"}
        halves = ("accumulate=2",) if kind == "halves" else ()
        job = make_job(*assignments, *halves, **flags, sample_every=1000, out=root / str(world) / name / kind)
        start(job, (), Console(quiet=True))


def main(root: Path) -> None:
    """Makes the runs of all worlds, in forked processes."""
    write_domains(root / "domains")
    write_pairs(root / "pairs")
    for world in (1, 2, 4):
        ports, fork = free_ports(len(RUNS)), get_context("fork")
        run_together([fork.Process(target=train, args=(root, rank, world, ports)) for rank in range(world)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
