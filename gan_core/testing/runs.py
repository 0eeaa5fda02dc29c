"""Trains a variant for a few steps in float64 with dropout off: for the conformance kit.

python -m gan_core.testing.runs NAME IMAGE_SIZE CHANNELS FOLDER=STEPS[@PROCESSES] ...

The runs are made in order, those on several processes first. A second run in a folder resumes the first; a run of 0
steps only writes the initial weights to initial.pt.
"""

import gc
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import torch._dynamo
import torch.distributed.tensor  # Training imports both, so a process that forks imports them before.
from accelerate.state import AcceleratorState, GradientState
from rich.console import Console
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from gan_core.app.job import Job
from gan_core.app.training import start
from gan_core.data.catalog import open_dataset
from gan_core.game.game import Game
from gan_core.garbage import collect_rarely
from gan_core.plugins.load import load_variant
from gan_core.settings.settings import Settings


class JobWithoutDropout(Job):
    """A job without dropout, which depends on the number of processes, as documented."""

    def build(self) -> Game:
        """Builds the game and turns dropout off."""
        game = super().build()
        for network in game.networks.values():
            _turn_off(network)
        return game


def _turn_off(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0


@dataclass(frozen=True)
class Run:
    """One run from the command line."""

    name: str
    image_size: str
    channels: str
    folder: str
    steps: str
    processes: int

    @classmethod
    def read(cls, name: str, image_size: str, channels: str, word: str) -> "Run":
        """Reads FOLDER=STEPS or FOLDER=STEPS@PROCESSES."""
        folder, _, length = word.rpartition("=")
        steps, _, processes = length.partition("@")
        return cls(name, image_size, channels, folder, steps, int(processes or 1))

    def train(self) -> None:
        """Trains, with the rank that the environment variables give."""
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        settings = Settings.model_validate(
            {"variant": self.name, "batch": 16, "precision": "fp64", "out": self.folder, "image_size": self.image_size}
            | {"channels": int(self.channels), "steps": max(1, int(self.steps))}
        )
        loaded = load_variant(self.name)
        dataset = open_dataset("digits", image_size=settings.image_size, channels=settings.channels)
        job = JobWithoutDropout(settings=settings, loaded=loaded, options=loaded.variant.options(), dataset=dataset)
        if int(self.steps):
            start(job, (), Console(quiet=True))
        else:
            Path(self.folder).mkdir()
            initial = {key: network.state_dict() for key, network in job.build().networks.items()}
            torch.save(initial, Path(self.folder) / "initial.pt")

    def train_as(self, rank: int, port: int) -> None:
        """Trains as one of several processes."""
        count = str(self.processes)
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self.train()

    def launch(self) -> None:
        """Starts all processes of the run and waits for them. If one fails, the others are killed."""
        # A forked process need not import torch again. Forking is safe with torch's libraries only on Linux.
        context = get_context("fork") if sys.platform == "linux" else get_context("spawn")
        port = _free_port()
        ranks = [context.Process(target=self.train_as, args=(rank, port)) for rank in range(self.processes)]
        run_together(ranks)


def run_together(ranks: Sequence[BaseProcess]) -> None:
    """Starts processes and waits for them. If one fails, the others are killed and this process exits."""
    for process in ranks:
        process.start()
    while running := [process for process in ranks if process.exitcode is None]:
        connection.wait([process.sentinel for process in running])
        if any(process.exitcode for process in ranks):
            for process in running:
                process.kill()
            sys.exit(f"one of {len(ranks)} processes failed")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(name: str, image_size: str, channels: str, *words: str) -> None:
    """Makes all runs."""
    runs = [Run.read(name, image_size, channels, word) for word in words]
    collect_rarely()
    gc.freeze()  # Each run collects garbage at its end: what is imported need not be looked at.
    # Runs on several processes come first: they are forked, and a process that has computed has threads.
    for run in (run for run in runs if run.processes > 1):
        run.launch()
    for run in (run for run in runs if run.processes == 1):
        run.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
