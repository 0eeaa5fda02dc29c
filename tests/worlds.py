"""Trains every first-party variant, and the game of tests.memory_game, for a few steps with 1, 2 and 4 processes.

python -m tests.worlds FOLDER [coded]
"""

import atexit
import gc
import os
import sys
import threading
from multiprocessing import get_context
from pathlib import Path

from accelerate.state import AcceleratorState, GradientState
from rich.console import Console

from gan_core.app.training import start
from gan_core.garbage import collect_rarely
from gan_core.testing.ports import free_ports, rank_environments
from gan_core.testing.runs import run_together
from tests.conftest import make_job
from tests.memory_game import write_images
from tests.test_plugin_loading import install

PLAIN = (
    "generator=[{dense: 64}, {reshape: [1, 8, 8]}, tanh]",
    "discriminator=[flatten, {dense: 8}, {leaky_relu: 0.2}, {dense: 1}]",
)
"""Networks without batch normalisation."""

UPWARDS = "generator=[{conv_transpose: {channels: 4, kernel: 4, stride: 2}}, relu, "
PLAIN_ACGAN = (UPWARDS + "{conv_transpose: {channels: 1, kernel: 4, stride: 2}}, tanh]",)

ADAPTIVE = ("augment=ada", "augment_p=0.3", "augment_kimg=1", "augment_target=0.1")
"""Augmentation whose p changes in a few steps."""

GAMES = {
    "vanilla": ("vanilla", "width=8", "label_smoothing=0.1", "generator_fakes=2", "clip_norm=0.1"),
    "dcgan": ("dcgan", "width=4", "lr_schedule=cosine"),
    "lsgan": ("lsgan", "width=4", "ema_kimg=0.1"),
    "wgan": ("wgan", "width=4", "critic_steps=2"),
    "wgan-gp": ("wgan", "width=4", "critic_steps=2", "penalty=gradient", "discriminator_norm=spectral"),
    "acgan": ("acgan", "width=2", "maps=4", "r1=1", "r2=1", "generator_fakes=2", "dropout=0.3"),
    "began": ("began", "width=2", "latent=4", "repeats=1", "lambda_k=0.1", "lr=0.001", "patience=256"),
}
"""Default networks, mostly with batch normalisation; the options cover clipping, penalties, labels, averages, dropout,
state."""

CODED = {
    "biggan": ("biggan", "width=2", "latent=6", "embedding=4", "attention=8"),
    "cgan": ("cgan", "width=24", "latent=6"),
    "infogan": ("infogan", "width=4", "noise=4"),
    "augmented": ("lsgan", "width=4", "augment=diffaug"),
    "adaptive": ("acgan", "width=2", "maps=4", "r1=1", "r2=1", *ADAPTIVE),
}
"""Generators with a class or a code, and augmentation, trained for fewer steps: conditional batch normalisation,
spectral normalisation, attention, two discriminator steps, dropout in both networks, normalised dense layers."""

ALL = {**GAMES, "memory": ("memory", "bad=5", "on_nan=skip")}
"""And a game whose state and losses depend on the rows of all processes, on two tables."""

WITHOUT_BATCH_NORM = {
    "vanilla": GAMES["vanilla"],
    "dcgan": ("dcgan", *PLAIN),
    "lsgan": ("lsgan", *PLAIN),
    "wgan": ("wgan", *PLAIN, "critic_steps=2"),
    "wgan-gp": ("wgan", *PLAIN, "critic_steps=2", "penalty=gradient"),
    "acgan": (*GAMES["acgan"], *PLAIN_ACGAN),
    "began": GAMES["began"],
}


KINDS: dict[str, tuple[dict[str, tuple[str, ...]], dict[str, object]]] = {
    "double": (ALL, {"precision": "fp64", "steps": 20}),
    "single": (ALL, {"precision": "fp32", "steps": 1}),
    "coded": (CODED, {"precision": "fp64", "steps": 6}),
    "halves": (ALL, {"precision": "fp64", "steps": 20, "accumulate": 2}),
    "plain": (WITHOUT_BATCH_NORM, {"precision": "fp64", "steps": 8}),
    "plain-halves": (WITHOUT_BATCH_NORM, {"precision": "fp64", "steps": 8, "accumulate": 2}),
}
"""Kinds of runs: whole batches and two micro-batches, in float64 and in float32."""


def runs_of(world: int, coded: bool) -> list[tuple[str, str]]:
    """Returns the runs for `world` processes, as (kind, name)."""
    several = {2: ["double", "single", "halves"], 4: ["double"]}
    kinds = ["coded"] if coded else several.get(world, [kind for kind in KINDS if kind != "coded"])
    return [(kind, name) for kind in kinds for name in KINDS[kind][0]]


def train(root: Path, kind: str, name: str) -> None:
    """Trains one variant with batch size 64, in this process and the others of its world."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    games, settings = KINDS[kind]
    variant, *assignments = games[name]
    assignments += [f"{key}={value}" for key, value in settings.items()]
    flags = {"variant": variant, "batch": 64, "sample_every": 1000, "out": root / kind / name}
    if name == "memory":
        flags["dataset"] = f"unpaired:{root.parent / 'images'}"
    start(make_job(*assignments, **flags), (), Console(quiet=True))
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def train_all(root: Path, rank: int, world: int, ports: list[int], runs: list[tuple[str, str]]) -> None:
    """Trains all runs of a world in sequence, as one of its processes; each run has its own port."""
    for port, (kind, name) in zip(ports, runs, strict=True):
        os.environ |= rank_environments(world, port)[rank]
        train(root, kind, name)


def main(root: Path, coded: bool) -> None:
    """Trains all runs with 1, 2 and 4 processes, forked so that torch is imported only once."""
    collect_rarely()
    gc.freeze()  # accelerate collects garbage at the end of each run: what is imported need not be looked at.
    atexit.register(gc.unfreeze)  # Libraries report what is left at the end.
    write_images(root / "images")
    install(root, distribution="memory-gan", name="memory", value="tests.memory_game:variant")
    sys.path.insert(0, str(root))
    for world in (1, 2, 4):
        runs = runs_of(world, coded)
        ports = free_ports(len(runs))
        fork = get_context("fork")
        ranks = [
            fork.Process(target=train_all, args=(root / str(world), rank, world, ports, runs)) for rank in range(world)
        ]
        run_together(ranks)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["coded"])
