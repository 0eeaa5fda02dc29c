"""Trains a variant for a few steps in float64 with dropout off, alone or under torchrun: for the conformance kit.

python -m gan_core.testing.play NAME IMAGE_SIZE CHANNELS FOLDER=STEPS ...
"""

import sys

from accelerate.state import AcceleratorState, GradientState
from rich.console import Console
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from gan_core.app.job import Job
from gan_core.app.training import start
from gan_core.data.catalog import open_dataset
from gan_core.game.game import Game
from gan_core.plugins.load import load_variant
from gan_core.settings.settings import Settings


class JobWithoutDropout(Job):
    """Dropout depends on the number of processes, as documented; what is compared here must not."""

    def build(self) -> Game:
        """Makes the game and turns dropout off."""
        game = super().build()
        for network in game.networks.values():
            _turn_off(network)
        return game


def _turn_off(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0


def main(name: str, image_size: str, channels: str, *runs: str) -> None:
    """Trains to each folder's steps in turn; the second time in a folder is a resume."""
    loaded = load_variant(name)
    for run in runs:
        folder, _, steps = run.rpartition("=")
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        settings = Settings.model_validate(
            {"variant": name, "steps": steps, "batch": 16, "precision": "fp64", "out": folder, "image_size": image_size}
            | {"channels": int(channels)}
        )
        dataset = open_dataset("digits", image_size=settings.image_size, channels=settings.channels)
        job = JobWithoutDropout(settings=settings, loaded=loaded, options=loaded.variant.options(), dataset=dataset)
        start(job, (), Console(quiet=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
