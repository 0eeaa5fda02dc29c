"""The feature space `inception`: the network of published FIDs, loaded from a local weights file.

It is torch-fidelity's Inception (Szegedy et al. 2016) with the weights of Heusel et al. 2017, and has 2,048 features.
Nothing is downloaded: install gan-core[inception], and pass the weights file, which torch-fidelity's authors publish as
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
    """The path of Inception's weights."""

    weights: Path | None = None
    """torch-fidelity's weights file."""


class Inception:
    """torch-fidelity's network as a feature space: 2,048 features, and no classes, as ImageNet's are not the data's."""

    def __init__(self, network: Any, fingerprint: str) -> None:
        self.network, self.fingerprint = network, fingerprint
        self.provenance = "Inception 2015-12-05, from a weights file"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Embedding:
        """Embeds images (N, C, H, W) uint8: features (N, 2048). A single grey channel is repeated to three."""
        return Embedding(features=self.network(images.expand(-1, 3, -1, -1))[0])


def open_inception(options: InceptionOptions, data: RealData, device: torch.device, console: Console) -> FeatureSpace:
    """Loads the network from its weights file.

    Raises:
        UserError: The file does not contain Inception's weights.
        SpaceUnavailableError: torch-fidelity is not installed, or no weights file is given or found.
    """
    del data, console
    if options.weights is None:
        raise SpaceUnavailableError("inception needs its weights file. Pass --set weights=FILE")
    if not options.weights.is_file():
        raise SpaceUnavailableError(f"inception: weights={str(options.weights)!r} is not a file")
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise SpaceUnavailableError(
            f"inception needs torch-fidelity ({error}). Run: pip install gan-core[inception]"
        ) from None
    try:
        # torch-fidelity unpickles the file without restriction. A file that passes here contains only tensors.
        torch.load(options.weights, map_location="cpu", weights_only=True)
        network = FeatureExtractorInceptionV3("inception", ["2048"], str(options.weights))
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(f"weights: {str(options.weights)!r} does not contain Inception's weights: {error}") from error
    with options.weights.open("rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()
    return Inception(network.to(device), fingerprint)


features = Features(api=1, options=InceptionOptions, open=open_inception)
"""Inception-v3 as in papers, from a file of weights: --set weights=FILE."""
