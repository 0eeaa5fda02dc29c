"""gan_core: a distributed training scaffold for GANs whose variants are plugins.

Programs and notebooks train with `gan_core.train` and open runs with `gan_core.load`. Plugins import what they need
from here (`from gan_core import Variant, Phase, two_player`). A name is imported when it is first used, so that listing
plugins or printing help does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gan_core.version import __version__

if TYPE_CHECKING:
    from gan_core.api.run import Run as Run
    from gan_core.api.run import load as load
    from gan_core.api.train import train as train
    from gan_core.blocks.attention import SelfAttention as SelfAttention
    from gan_core.blocks.augment.ada import Ada as Ada
    from gan_core.blocks.augment.diffaugment import DiffAugment as DiffAugment
    from gan_core.blocks.augment.game import augmented as augmented
    from gan_core.blocks.augment.options import AugmentOptions as AugmentOptions
    from gan_core.blocks.conditional_batchnorm import ConditionalBatchNorm as ConditionalBatchNorm
    from gan_core.blocks.dropout import Dropout as Dropout
    from gan_core.blocks.equalised import EqualisedConv2d as EqualisedConv2d
    from gan_core.blocks.equalised import EqualisedLinear as EqualisedLinear
    from gan_core.blocks.equalised import scaled_leaky_relu as scaled_leaky_relu
    from gan_core.blocks.fir import blur as blur
    from gan_core.blocks.fir import downsample as downsample
    from gan_core.blocks.fir import upsample as upsample
    from gan_core.blocks.fixup import fixup as fixup
    from gan_core.blocks.fixup import msr as msr
    from gan_core.blocks.hinge import hinge_terms as hinge_terms
    from gan_core.blocks.latents import conditional_latents as conditional_latents
    from gan_core.blocks.latents import uniform_latents as uniform_latents
    from gan_core.blocks.layer_list import LayerListDiscriminator as LayerListDiscriminator
    from gan_core.blocks.layer_list import LayerListGenerator as LayerListGenerator
    from gan_core.blocks.layer_list import build_layers as build_layers
    from gan_core.blocks.layer_list import initialise as initialise
    from gan_core.blocks.losses import LabelSmoothing as LabelSmoothing
    from gan_core.blocks.losses import Logistic as Logistic
    from gan_core.blocks.losses import ObjectiveOptions as ObjectiveOptions
    from gan_core.blocks.losses import RelativisticPairing as RelativisticPairing
    from gan_core.blocks.losses import logistic_terms as logistic_terms
    from gan_core.blocks.losses import precise_mean as precise_mean
    from gan_core.blocks.minibatch_std import MinibatchStd as MinibatchStd
    from gan_core.blocks.modulated import ModulatedConv2d as ModulatedConv2d
    from gan_core.blocks.modulated import StyledConv2d as StyledConv2d
    from gan_core.blocks.optimizers import adam as adam
    from gan_core.blocks.optimizers import rmsprop as rmsprop
    from gan_core.blocks.optimizers import sgd as sgd
    from gan_core.blocks.options import LayerListOptions as LayerListOptions
    from gan_core.blocks.options import OptimizerOptions as OptimizerOptions
    from gan_core.blocks.options import PenaltyOptions as PenaltyOptions
    from gan_core.blocks.options import TwoPlayerOptions as TwoPlayerOptions
    from gan_core.blocks.orthogonal import initialise_orthogonally as initialise_orthogonally
    from gan_core.blocks.orthogonal import orthogonal_penalty as orthogonal_penalty
    from gan_core.blocks.patchgan import PatchDiscriminator as PatchDiscriminator
    from gan_core.blocks.patchgan import patch_map as patch_map
    from gan_core.blocks.path_length import PathLength as PathLength
    from gan_core.blocks.penalties import Penalised as Penalised
    from gan_core.blocks.penalties import differentiable as differentiable
    from gan_core.blocks.penalties import gradient_penalties as gradient_penalties
    from gan_core.blocks.penalties import lipschitz_penalty as lipschitz_penalty
    from gan_core.blocks.penalties import squared_gradient_norm as squared_gradient_norm
    from gan_core.blocks.pool import ImagePool as ImagePool
    from gan_core.blocks.projection import ProjectionHead as ProjectionHead
    from gan_core.blocks.protocols import Discriminator as Discriminator
    from gan_core.blocks.protocols import Generator as Generator
    from gan_core.blocks.protocols import Loss as Loss
    from gan_core.blocks.residual import DownBlock as DownBlock
    from gan_core.blocks.residual import UpBlock as UpBlock
    from gan_core.blocks.resnet_generator import ResnetGenerator as ResnetGenerator
    from gan_core.blocks.resnet_generator import check_sides as check_sides
    from gan_core.blocks.schedules import cosine as cosine
    from gan_core.blocks.sides import doubled_sides as doubled_sides
    from gan_core.blocks.small_map_convolution import Conv2d as Conv2d
    from gan_core.blocks.small_map_convolution import ConvTranspose2d as ConvTranspose2d
    from gan_core.blocks.spectral import normalise_spectrally as normalise_spectrally
    from gan_core.blocks.truncated_normal import truncated_normal as truncated_normal
    from gan_core.blocks.two_player import alternating as alternating
    from gan_core.blocks.two_player import generated as generated
    from gan_core.blocks.two_player import generated_images as generated_images
    from gan_core.blocks.two_player import normal_latents as normal_latents
    from gan_core.blocks.two_player import two_player as two_player
    from gan_core.blocks.unet import UNet as UNet
    from gan_core.data.dataset import Dataset as Dataset
    from gan_core.data.dataset import RealRows as RealRows
    from gan_core.data.dataset import ResidentRows as ResidentRows
    from gan_core.data.dataset import Rows as Rows
    from gan_core.data.dataset import resident as resident
    from gan_core.data.decoder import Decoder as Decoder
    from gan_core.data.residency import choose_residency as choose_residency
    from gan_core.data.source import DataRequest as DataRequest
    from gan_core.data.source import DataSource as DataSource
    from gan_core.data.streaming import StreamedRows as StreamedRows
    from gan_core.data.streaming import read_rows as read_rows
    from gan_core.features.space import Embedding as Embedding
    from gan_core.features.space import Features as Features
    from gan_core.features.space import FeatureSpace as FeatureSpace
    from gan_core.features.space import SpaceUnavailableError as SpaceUnavailableError
    from gan_core.game.batch import Batch as Batch
    from gan_core.game.batch import Inputs as Inputs
    from gan_core.game.batch import Moment as Moment
    from gan_core.game.batch import Processes as Processes
    from gan_core.game.data_spec import DataSpec as DataSpec
    from gan_core.game.data_spec import ImageField as ImageField
    from gan_core.game.data_spec import LabelField as LabelField
    from gan_core.game.data_spec import Table as Table
    from gan_core.game.game import Game as Game
    from gan_core.game.output import Draw as Draw
    from gan_core.game.output import Output as Output
    from gan_core.game.output import Request as Request
    from gan_core.game.phase import MakeOptimizer as MakeOptimizer
    from gan_core.game.phase import Networks as Networks
    from gan_core.game.phase import Phase as Phase
    from gan_core.game.phase import Terms as Terms
    from gan_core.game.variant import Options as Options
    from gan_core.game.variant import Variant as Variant
    from gan_core.precision import precise as precise

_HOME = {
    "Run": "api.run",
    "load": "api.run",
    "train": "api.train",
    "Ada": "blocks.augment.ada",
    "AugmentOptions": "blocks.augment.options",
    "DiffAugment": "blocks.augment.diffaugment",
    "augmented": "blocks.augment.game",
    "SelfAttention": "blocks.attention",
    "ConditionalBatchNorm": "blocks.conditional_batchnorm",
    "Dropout": "blocks.dropout",
    "hinge_terms": "blocks.hinge",
    "conditional_latents": "blocks.latents",
    "uniform_latents": "blocks.latents",
    "LabelSmoothing": "blocks.losses",
    "Logistic": "blocks.losses",
    "ObjectiveOptions": "blocks.losses",
    "RelativisticPairing": "blocks.losses",
    "logistic_terms": "blocks.losses",
    "precise_mean": "blocks.losses",
    "OptimizerOptions": "blocks.options",
    "TwoPlayerOptions": "blocks.options",
    "PenaltyOptions": "blocks.options",
    "LayerListOptions": "blocks.options",
    "initialise_orthogonally": "blocks.orthogonal",
    "orthogonal_penalty": "blocks.orthogonal",
    "PatchDiscriminator": "blocks.patchgan",
    "patch_map": "blocks.patchgan",
    "ImagePool": "blocks.pool",
    "ProjectionHead": "blocks.projection",
    "DownBlock": "blocks.residual",
    "UpBlock": "blocks.residual",
    "ResnetGenerator": "blocks.resnet_generator",
    "check_sides": "blocks.resnet_generator",
    "Penalised": "blocks.penalties",
    "differentiable": "blocks.penalties",
    "gradient_penalties": "blocks.penalties",
    "lipschitz_penalty": "blocks.penalties",
    "squared_gradient_norm": "blocks.penalties",
    "LayerListDiscriminator": "blocks.layer_list",
    "LayerListGenerator": "blocks.layer_list",
    "build_layers": "blocks.layer_list",
    "initialise": "blocks.layer_list",
    "Dataset": "data.dataset",
    "RealRows": "data.dataset",
    "ResidentRows": "data.dataset",
    "Rows": "data.dataset",
    "resident": "data.dataset",
    "Decoder": "data.decoder",
    "choose_residency": "data.residency",
    "StreamedRows": "data.streaming",
    "read_rows": "data.streaming",
    "DataRequest": "data.source",
    "DataSource": "data.source",
    "Embedding": "features.space",
    "Features": "features.space",
    "FeatureSpace": "features.space",
    "SpaceUnavailableError": "features.space",
    "Batch": "game.batch",
    "Inputs": "game.batch",
    "DataSpec": "game.data_spec",
    "ImageField": "game.data_spec",
    "LabelField": "game.data_spec",
    "Table": "game.data_spec",
    "Moment": "game.batch",
    "Processes": "game.batch",
    "Draw": "game.output",
    "Output": "game.output",
    "Request": "game.output",
    "Game": "game.game",
    "adam": "blocks.optimizers",
    "rmsprop": "blocks.optimizers",
    "sgd": "blocks.optimizers",
    "MakeOptimizer": "game.phase",
    "Networks": "game.phase",
    "Phase": "game.phase",
    "Terms": "game.phase",
    "normalise_spectrally": "blocks.spectral",
    "truncated_normal": "blocks.truncated_normal",
    "generated": "blocks.two_player",
    "generated_images": "blocks.two_player",
    "normal_latents": "blocks.two_player",
    "two_player": "blocks.two_player",
    "alternating": "blocks.two_player",
    "UNet": "blocks.unet",
    "EqualisedConv2d": "blocks.equalised",
    "EqualisedLinear": "blocks.equalised",
    "scaled_leaky_relu": "blocks.equalised",
    "blur": "blocks.fir",
    "downsample": "blocks.fir",
    "upsample": "blocks.fir",
    "fixup": "blocks.fixup",
    "msr": "blocks.fixup",
    "doubled_sides": "blocks.sides",
    "MinibatchStd": "blocks.minibatch_std",
    "ModulatedConv2d": "blocks.modulated",
    "StyledConv2d": "blocks.modulated",
    "PathLength": "blocks.path_length",
    "cosine": "blocks.schedules",
    "Conv2d": "blocks.small_map_convolution",
    "ConvTranspose2d": "blocks.small_map_convolution",
    "Discriminator": "blocks.protocols",
    "Generator": "blocks.protocols",
    "Loss": "blocks.protocols",
    "Options": "game.variant",
    "Variant": "game.variant",
    "precise": "precision",
}

_FORMER = {
    "StackOptions": "LayerListOptions",
    "StackedDiscriminator": "LayerListDiscriminator",
    "StackedGenerator": "LayerListGenerator",
    "build_stack": "build_layers",
    "slope_penalties": "gradient_penalties",
    "squared_slope": "squared_gradient_norm",
}
"""Names that plugins of interface 1 may still use, and what they are called now."""

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    name = _FORMER.get(name, name)
    if name not in _HOME:
        raise AttributeError(f"module 'gan_core' has no attribute {name!r}")
    return getattr(import_module(f"gan_core.{_HOME[name]}"), name)
