"""gan_core: a distributed training scaffold for GANs whose variants are plugins.

What a plugin author needs is here by name (`from gan_core import Variant, Phase, two_player`) and is imported when
first asked for: listing plugins or printing help never pays for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gan_core.version import __version__

if TYPE_CHECKING:
    from gan_core.blocks.losses import LabelSmoothing as LabelSmoothing
    from gan_core.blocks.losses import Logistic as Logistic
    from gan_core.blocks.losses import ObjectiveOptions as ObjectiveOptions
    from gan_core.blocks.losses import RelativisticPairing as RelativisticPairing
    from gan_core.blocks.losses import logistic_terms as logistic_terms
    from gan_core.blocks.options import OptimizerOptions as OptimizerOptions
    from gan_core.blocks.options import PenaltyOptions as PenaltyOptions
    from gan_core.blocks.options import StackOptions as StackOptions
    from gan_core.blocks.penalties import Penalised as Penalised
    from gan_core.blocks.penalties import slope_penalties as slope_penalties
    from gan_core.blocks.penalties import squared_slope as squared_slope
    from gan_core.blocks.stack import StackedDiscriminator as StackedDiscriminator
    from gan_core.blocks.stack import StackedGenerator as StackedGenerator
    from gan_core.blocks.stack import build_stack as build_stack
    from gan_core.blocks.stack import initialise as initialise
    from gan_core.features.space import Embedding as Embedding
    from gan_core.features.space import Features as Features
    from gan_core.features.space import FeatureSpace as FeatureSpace
    from gan_core.features.space import SpaceUnavailableError as SpaceUnavailableError
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

_HOME = {
    "LabelSmoothing": "blocks.losses",
    "Logistic": "blocks.losses",
    "ObjectiveOptions": "blocks.losses",
    "RelativisticPairing": "blocks.losses",
    "logistic_terms": "blocks.losses",
    "OptimizerOptions": "blocks.options",
    "PenaltyOptions": "blocks.options",
    "StackOptions": "blocks.options",
    "Penalised": "blocks.penalties",
    "slope_penalties": "blocks.penalties",
    "squared_slope": "blocks.penalties",
    "StackedDiscriminator": "blocks.stack",
    "StackedGenerator": "blocks.stack",
    "build_stack": "blocks.stack",
    "initialise": "blocks.stack",
    "Embedding": "features.space",
    "Features": "features.space",
    "FeatureSpace": "features.space",
    "SpaceUnavailableError": "features.space",
    "Batch": "game.batch",
    "Inputs": "game.batch",
    "DataSpec": "game.data_spec",
    "Game": "game.game",
    "adam": "game.optimizers",
    "rmsprop": "game.optimizers",
    "sgd": "game.optimizers",
    "Networks": "game.phase",
    "Phase": "game.phase",
    "Terms": "game.phase",
    "normal_latents": "game.players",
    "two_player": "game.players",
    "Discriminator": "game.protocols",
    "Generator": "game.protocols",
    "Loss": "game.protocols",
    "Options": "game.variant",
    "Variant": "game.variant",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'gan_core' has no attribute {name!r}")
    return getattr(import_module(f"gan_core.{_HOME[name]}"), name)
