"""The feature space `inception`: the network by which published FIDs are computed, from a file that you have.

It is torch-fidelity's Inception (Szegedy et al. 2016) with the weights of Heusel et al. 2017, and has 2,048 features.
Nothing is downloaded: install gan-core[inception], and name its file of weights, which its authors publish as
weights-inception-2015-12-05-6726825d.pth, with --set weights=FILE.
"""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from gan_core.errors import UserError
from gan_core.features.real_data import RealData
from gan_core.features.space import Embedding, Features, FeatureSpace, SpaceUnavailableError
from gan_core.game.variant import Options


class InceptionOptions(Options):
    """Where its weights are."""

    weights: Path | None = None
    """torch-fidelity's file of weights."""


class Inception:
    """torch-fidelity's network as a feature space: 2,048 features; its classes are not those of the data."""

    def __init__(self, network: Any, fingerprint: str) -> None:
        self.network, self.fingerprint = network, fingerprint
        self.provenance = "Inception 2015-12-05, from a file of weights"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Embedding:
        """Embeds images (N, C, H, W) uint8; grey ones three times."""
        return Embedding(features=self.network(images.expand(-1, 3, -1, -1))[0])


def open_inception(options: InceptionOptions, data: RealData, device: torch.device, console: Console) -> FeatureSpace:
    """Reads the weights.

    Raises:
        UserError: The file holds something else.
        SpaceUnavailableError: torch-fidelity is not installed, or there is no file.
    """
    del data, console
    if options.weights is None:
        raise SpaceUnavailableError("inception needs its file of weights: --set weights=FILE")
    if not options.weights.is_file():
        raise SpaceUnavailableError(f"inception: {str(options.weights)!r} is not a file")
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise SpaceUnavailableError(f"inception is not installed ({error}): pip install gan-core[inception]") from None
    try:
        # torch-fidelity would execute what is pickled; what passes here holds nothing but tensors.
        torch.load(options.weights, map_location="cpu", weights_only=True)
        network = FeatureExtractorInceptionV3("inception", ["2048"], str(options.weights))
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(f"weights: {str(options.weights)!r} holds no weights of Inception: {error}") from error
    with options.weights.open("rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()
    return Inception(network.to(device), fingerprint)


features = Features(api=1, options=InceptionOptions, open=open_inception)
