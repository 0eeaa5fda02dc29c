"""Trains a variant for a few steps in float64 with torch's dropout off: for the conformance kit.

python -m gan_core.testing.runs NAME IMAGE_SIZE CHANNELS OPTIONS FOLDER=STEPS[@PROCESSES] ...

OPTIONS are JSON. The runs are made in order, those that name a number of processes first. A second run in a folder
resumes the first; a run of 0 steps only writes the initial weights to initial.pt.
"""

import atexit
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
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
from gan_core.game.game import Game
from gan_core.garbage import collect_rarely
from gan_core.plugins.load import load_variant
from gan_core.settings.settings import Settings
from gan_core.testing.made_data import made_dataset
from gan_core.testing.ports import free_ports, rank_environments


class JobWithoutDropout(Job):
    """A job without torch's dropout, which depends on the number of processes, as documented."""

    def build(self) -> Game:
        """Builds the game and turns torch's dropout off."""
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
    options: str
    folder: str
    steps: str
    processes: int | None

    @classmethod
    def read(cls, name: str, image_size: str, channels: str, options: str, word: str) -> "Run":
        """Reads FOLDER=STEPS, a run in this process, or FOLDER=STEPS@PROCESSES."""
        folder, _, length = word.rpartition("=")
        steps, _, processes = length.partition("@")
        return cls(name, image_size, channels, options, folder, steps, int(processes) if processes else None)

    def train(self) -> None:
        """Trains, with the rank that the environment variables give."""
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        settings = Settings.model_validate(
            {"variant": self.name, "batch": 16, "precision": "fp64", "out": self.folder}
            | {"steps": max(1, int(self.steps))}
        )
        loaded = load_variant(self.name)
        dataset = made_dataset(loaded.variant, image_size=int(self.image_size), channels=int(self.channels), classes=10)
        options = loaded.variant.options.model_validate(json.loads(self.options))
        job = JobWithoutDropout(settings=settings, loaded=loaded, options=options, dataset=dataset)
        if int(self.steps):
            start(job, (), Console(quiet=True))
        else:
            Path(self.folder).mkdir()
            initial = {key: network.state_dict() for key, network in job.build().networks.items()}
            torch.save(initial, Path(self.folder) / "initial.pt")

    def train_as(self, environment: Mapping[str, str]) -> None:
        """Trains as one of several processes."""
        os.environ |= environment
        self.train()

    def launch(self) -> None:
        """Starts all processes of the run and waits for them. If one fails, the others are killed."""
        (port,) = free_ports(1)
        environments = rank_environments(self.processes or 1, port)
        if sys.platform != "linux":  # Forking is safe with torch's libraries only there.
            run_programs(self.command(), environments)
            return
        fork = get_context("fork")  # A forked process need not import torch again.
        run_together([fork.Process(target=self.train_as, args=(one,)) for one in environments])

    def command(self) -> list[str]:
        """Returns the command that trains as one process."""
        options = (self.name, self.image_size, self.channels, self.options, f"{self.folder}={self.steps}")
        return [sys.executable, "-m", "gan_core.testing.runs", *options]


def run_programs(command: Sequence[str], environments: Sequence[Mapping[str, str]]) -> None:
    """Runs a command once for each environment, all together, as `run_together` does."""
    programs = [subprocess.Popen(command, env=os.environ | dict(one)) for one in environments]  # noqa: S603 (ours)
    while None in (codes := [program.poll() for program in programs]) and not any(codes):
        time.sleep(0.02)
    if any(codes):
        for program in programs:
            program.kill()
            program.wait()
        sys.exit(f"one of {len(programs)} processes failed")


def run_together(ranks: Sequence[BaseProcess]) -> None:
    """Starts processes and waits for them. If one fails, the others are killed and this process exits."""
    for process in ranks:
        process.start()
    while running := [process for process in ranks if process.exitcode is None]:
        connection.wait([process.sentinel for process in running])
        if any(process.exitcode for process in ranks):
            for process in running:
                process.kill()
            break
    # Also of processes that have all ended since the wait.
    if any(process.exitcode for process in ranks):
        sys.exit(f"one of {len(ranks)} processes failed")


def main(name: str, image_size: str, channels: str, options: str, *words: str) -> None:
    """Makes all runs."""
    runs = [Run.read(name, image_size, channels, options, word) for word in words]
    collect_rarely()
    gc.freeze()  # Each run collects garbage at its end: what is imported need not be looked at.
    atexit.register(gc.unfreeze)  # Libraries report what is left at the end.
    # Runs in processes of their own come first: they are forked, and a process that has computed has threads.
    for run in (run for run in runs if run.processes is not None):
        run.launch()
    for run in (run for run in runs if run.processes is None):
        run.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
