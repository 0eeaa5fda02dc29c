"""The default feature space: the last hidden layer of a small classifier, trained once on the data set and cached.

The classifier is trained on the training split without a held-out fold. Its test accuracy is stored with it, and it is
not used if the accuracy is too low. The cache holds safetensors and a JSON file with their metadata, no pickle.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from rich.console import Console
from safetensors.torch import load, save
from torch import Tensor

from gan_core.data.cache import cache_folder
from gan_core.errors import UserError
from gan_core.features.network import SmallCnn
from gan_core.features.real_data import RealData
from gan_core.features.space import Embedding, Features, FeatureSpace
from gan_core.features.training import RECIPE, accuracy, train_classifier
from gan_core.game.variant import Options
from gan_core.randomness import Streams
from gan_core.runs.atomic import write_atomically
from gan_core.version import __version__

# On digits, seeds, threads and CPUs give 281 to 288 of 297 correct: 0.95 would reject the classifier of some CPUs.
_MIN_ACCURACY = {"digits": 0.93, "mnist": 0.985, "fashion-mnist": 0.90}
"""Minimum test accuracy of a classifier that is used for evaluation, by data set."""


class ClassifierOptions(Options):
    """The classifier's seed, and the accuracy that it must reach."""

    min_accuracy: float | None = Field(None, gt=0, le=1)
    """Minimum accuracy on the test split; by default 0.985 on mnist, 0.90 on fashion-mnist, 0.93 on digits."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the classifier's initial weights and of the order of its images."""


class Classifier:
    """A trained classifier as a feature space: 128 features, and class probabilities."""

    def __init__(self, network: SmallCnn, fingerprint: str, provenance: str) -> None:
        self.network, self.fingerprint, self.provenance = network, fingerprint, provenance

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Embedding:
        """Embeds images (N, C, H, W) uint8: features (N, 128), probabilities (N, K)."""
        features, logits = self.network(images)
        return Embedding(features=features, probabilities=logits.softmax(1))


class PerChannel:
    """A feature space for stacked images: applies the feature space of the single-channel data set to each channel.

    The channels' features are concatenated. The probability of a class is the product of the probabilities of its
    channels' classes.
    """

    def __init__(self, space: FeatureSpace) -> None:
        self.space, self.provenance = space, f"on each channel: {space.provenance}"
        self.fingerprint = hashlib.sha256(f"per channel {space.fingerprint}".encode()).hexdigest()

    def __call__(self, images: Tensor) -> Embedding:
        """Embeds images (N, 3, H, W) uint8: features (N, 3 d), probabilities (N, K³)."""
        count, channels = images.shape[:2]
        each = self.space(images.flatten(0, 1)[:, None])
        assert each.probabilities is not None
        red, green, blue = each.probabilities.view(count, channels, -1).unbind(1)
        probabilities = torch.einsum("na,nb,nc->nabc", red, green, blue).flatten(1)
        return Embedding(features=each.features.view(count, -1), probabilities=probabilities)


def open_classifier(options: ClassifierOptions, data: RealData, device: torch.device, console: Console) -> FeatureSpace:
    """Loads the classifier of this data from the cache, or trains it.

    Raises:
        UserError: The data has no labels, `min_accuracy` has neither a value nor a default, or the classifier's test
            accuracy is below it.
    """
    if data.dataset.channel is not None:
        return PerChannel(open_classifier(options, RealData(data.dataset.channel, device), device, console))
    spec = data.dataset.spec
    if not spec.classes:
        raise UserError(
            f"features: 'classifier' needs labels, but {spec.name!r} has none. Use --features random or inception"
        )
    min_accuracy = options.min_accuracy or _MIN_ACCURACY.get(spec.name)
    if min_accuracy is None:
        raise UserError(
            f"min_accuracy: there is no default for {spec.name!r}. Set the test accuracy that the classifier must "
            "reach, e.g. --set min_accuracy=0.9"
        )
    weights, metadata = _from_cache(_path(data, options.seed)) or _train(data, options.seed, device, console)
    test_accuracy = metadata["test_accuracy"]
    if test_accuracy < min_accuracy:
        raise UserError(
            f"features: the classifier of {spec.name!r} has a test accuracy of {test_accuracy:.2%}, below the minimum "
            f"of {min_accuracy:.2%}. Use --features random, or set a lower --set min_accuracy"
        )
    network = _network(data)
    network.load_state_dict(load(weights))
    provenance = f"small CNN, accuracy {test_accuracy:.2%} on {len(data.test):,} test images"
    return Classifier(network.to(device).eval(), metadata["sha256"], provenance)


features = Features(api=1, options=ClassifierOptions, open=open_classifier)


def _network(data: RealData) -> SmallCnn:
    spec = data.dataset.spec
    return SmallCnn(spec.image(), spec.classes)


def _path(data: RealData, seed: int) -> Path:
    """Returns the cache path of the classifier's weights: a hash of everything that they depend on."""
    depends_on = {
        "data": data.read("train").fingerprint,
        "learns from": len(data.train),
        "network": repr(_network(data)),
        "recipe": RECIPE,
        "seed": seed,
        "versions": [__version__, torch.__version__],
    }
    key = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()
    return cache_folder() / "classifiers" / f"{key}.safetensors"


def _train(data: RealData, seed: int, device: torch.device, console: Console) -> tuple[bytes, dict[str, Any]]:
    Streams(seed).seed_modules("classifier", 0, 0)
    network, name = _network(data), data.dataset.spec.name
    train_classifier(network, data.train, seed, device, f"training a classifier of {name} (once)", console)
    weights = save({key: tensor.cpu().contiguous() for key, tensor in network.state_dict().items()})
    metadata = {
        "dataset": name,
        "test_accuracy": accuracy(network, data.test),
        "images": len(data.train),
        "recipe": RECIPE,
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    path = _path(data, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, weights)
    write_atomically(path.with_suffix(".json"), json.dumps(metadata, indent=2) + "\n")
    return weights, metadata


def _from_cache(path: Path) -> tuple[bytes, dict[str, Any]] | None:
    """Returns the weights and their metadata, or None if one is missing or they do not match."""
    try:
        weights = path.read_bytes()
        metadata = dict(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    return (weights, metadata) if metadata.get("sha256") == hashlib.sha256(weights).hexdigest() else None
