"""The feature space `random`: an untrained network, for smoke runs and for data without labels.

Its metrics rank generators of one data set roughly. Their absolute values have no meaning.
"""

import hashlib

import torch
from pydantic import Field
from rich.console import Console
from torch import Tensor

from gan_core.features.network import SmallCnn
from gan_core.features.real_data import RealData
from gan_core.features.space import Embedding, Features, FeatureSpace
from gan_core.game.variant import Options
from gan_core.randomness import Streams


class UntrainedOptions(Options):
    """The untrained network's seed."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the weights."""


class Untrained:
    """A network with its initial weights as a feature space: 128 features, no classes."""

    provenance = "untrained network, for ranking only"

    def __init__(self, network: SmallCnn) -> None:
        self.network = network
        weights = [tensor.cpu().numpy().tobytes() for tensor in network.state_dict().values()]
        self.fingerprint = hashlib.sha256(b"".join(weights)).hexdigest()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Embedding:
        """Embeds images (N, C, H, W) uint8: features (N, 128)."""
        return Embedding(features=self.network(images)[0])


def open_untrained(options: UntrainedOptions, data: RealData, device: torch.device, console: Console) -> FeatureSpace:
    """Builds the network for the shape of this data."""
    del console  # Building the network is fast.
    Streams(options.seed).seed_modules("untrained feature space", 0, 0)
    spec = data.dataset.spec
    return Untrained(SmallCnn(spec.image(), 1).to(device).eval())


features = Features(api=1, options=UntrainedOptions, open=open_untrained)
"""A network with random weights, only for ranking; it needs no labels."""
