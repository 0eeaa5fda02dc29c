"""Plays every first-party variant for a few steps on one, two and four processes: python -m tests.worlds FOLDER.

Dropout is off in all of them; it alone may depend on the number of processes.
"""

import os
import socket
import sys
from multiprocessing import get_context
from pathlib import Path

from accelerate.state import AcceleratorState, GradientState
from rich.console import Console

from gan_core.app.training import start
from tests.conftest import make_job

PLAIN = (
    "generator=[{dense: 64}, {reshape: [1, 8, 8]}, tanh]",
    "discriminator=[flatten, {dense: 8}, {leaky_relu: 0.2}, {dense: 1}]",
)
"""Networks without batch normalisation."""

UPWARDS = "generator=[{conv_transpose: {channels: 4, kernel: 4, stride: 2}}, relu, "
PLAIN_ACGAN = (UPWARDS + "{conv_transpose: {channels: 1, kernel: 4, stride: 2}}, tanh]",)

GAMES = {
    "vanilla": ("vanilla", "width=8", "label_smoothing=0.1", "generator_fakes=2", "clip_norm=0.1"),
    "dcgan": ("dcgan", "width=4", "lr_schedule=cosine"),
    "lsgan": ("lsgan", "width=4", "ema_kimg=0.1"),
    "wgan": ("wgan", "width=4", "critic_steps=2"),
    "wgan-gp": ("wgan", "width=4", "critic_steps=2", "penalty=gradient", "discriminator_norm=spectral"),
    "acgan": ("acgan", "width=2", "maps=4", "r1=1", "r2=1", "generator_fakes=2"),
}
"""Each with its default networks, batch normalisation among them: weight clipping, penalties, labels, averages."""

WITHOUT_BATCH_NORM = {
    "vanilla": GAMES["vanilla"],
    "dcgan": ("dcgan", *PLAIN),
    "lsgan": ("lsgan", *PLAIN),
    "wgan": ("wgan", *PLAIN, "critic_steps=2"),
    "wgan-gp": ("wgan", *PLAIN, "critic_steps=2", "penalty=gradient"),
    "acgan": (*GAMES["acgan"], *PLAIN_ACGAN),
}


KINDS: dict[str, tuple[dict[str, tuple[str, ...]], dict[str, object]]] = {
    "double": (GAMES, {"precision": "fp64", "steps": 20}),
    "single": (GAMES, {"precision": "fp32", "steps": 1}),
    "halves": (GAMES, {"precision": "fp64", "steps": 20, "accumulate": 2}),
    "plain": (WITHOUT_BATCH_NORM, {"precision": "fp64", "steps": 20}),
    "plain-halves": (WITHOUT_BATCH_NORM, {"precision": "fp64", "steps": 20, "accumulate": 2}),
}
"""How they are played: whole and in two micro-batches, in float64 and in float32."""


def games_of(world: int) -> list[tuple[str, str]]:
    """Returns what so many processes play, by kind and name."""
    kinds = {1: list(KINDS), 2: ["double", "single", "halves"], 4: ["double", "single"]}[world]
    return [(kind, name) for kind in kinds for name in KINDS[kind][0]]


def play(root: Path, kind: str, name: str) -> None:
    """Trains one of them on 64 images a step, in this process and those that were started with it."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    games, settings = KINDS[kind]
    variant, *assignments = games[name]
    assignments += [f"{key}={value}" for key, value in settings.items()]
    flags = {"variant": variant, "batch": 64, "sample_every": 1000, "out": root / kind / name}
    start(make_job(*assignments, **flags), (), Console(quiet=True))


def play_all(root: Path, rank: int, world: int, ports: list[int]) -> None:
    """Is one process of several, for all of them in turn; each run has a meeting point of its own."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world)}
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    for port, (kind, name) in zip(ports, games_of(world), strict=True):
        os.environ["MASTER_PORT"] = str(port)
        play(root, kind, name)


def main(root: Path) -> None:
    """Plays all of them with one, two and four processes, forked, so that torch is imported only once."""
    for world in (1, 2, 4):
        ports = free_ports(len(games_of(world)))
        fork = get_context("fork")
        ranks = [fork.Process(target=play_all, args=(root / str(world), rank, world, ports)) for rank in range(world)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
            if process.exitcode:
                sys.exit(f"a process of {world} failed")


def free_ports(count: int) -> list[int]:
    """Returns ports at which nobody listens now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


if __name__ == "__main__":
    main(Path(sys.argv[1]))
