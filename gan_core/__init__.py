"""gan_core: a distributed training scaffold for GANs whose variants are plugins.

What a plugin author needs is here by name (`from gan_core import Variant, Phase, two_player`) and is imported when
first asked for: listing plugins or printing help never pays for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan_core.game.batch import Batch as Batch
    from gan_core.game.batch import Inputs as Inputs
    from gan_core.game.data_spec import DataSpec as DataSpec
    from gan_core.game.game import Game as Game
    from gan_core.game.optimizers import adam as adam
    from gan_core.game.optimizers import rmsprop as rmsprop
    from gan_core.game.optimizers import sgd as sgd
    from gan_core.game.phase import Networks as Networks
    from gan_core.game.phase import Phase as Phase
    from gan_core.game.phase import Terms as Terms
    from gan_core.game.players import normal_latents as normal_latents
    from gan_core.game.players import two_player as two_player
    from gan_core.game.protocols import Discriminator as Discriminator
    from gan_core.game.protocols import Generator as Generator
    from gan_core.game.protocols import Loss as Loss
    from gan_core.game.variant import Options as Options
    from gan_core.game.variant import Variant as Variant

__version__ = "0.1.0"

_HOME = {
    "Batch": "batch",
    "Inputs": "batch",
    "DataSpec": "data_spec",
    "Game": "game",
    "adam": "optimizers",
    "rmsprop": "optimizers",
    "sgd": "optimizers",
    "Networks": "phase",
    "Phase": "phase",
    "Terms": "phase",
    "normal_latents": "players",
    "two_player": "players",
    "Discriminator": "protocols",
    "Generator": "protocols",
    "Loss": "protocols",
    "Options": "variant",
    "Variant": "variant",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'gan_core' has no attribute {name!r}")
    return getattr(import_module(f"gan_core.game.{_HOME[name]}"), name)
