"""The default feature space: the last layer of a small classifier, trained once on the data set itself, and cached.

It learns from the training split less a held-out fold. How well it reads the test split is stored with it, and where it
reads badly it refuses to judge. Weights are safetensors, beside a JSON file that says what they are; nothing pickled.
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

_LEAST = {"digits": 0.95, "mnist": 0.985, "fashion-mnist": 0.90}
"""Test accuracy below which a classifier is no judge."""


class ClassifierOptions(Options):
    """What the classifier is made from, and when it may judge."""

    min_accuracy: float | None = Field(None, gt=0, le=1)
    """Refuse to judge below this accuracy on the test split; 0.985 on mnist, 0.90 on fashion-mnist, 0.95 on digits."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the classifier's first weights and of the order of its images."""


class Classifier:
    """A trained classifier as a feature space: 128 features, and the probability of each class."""

    def __init__(self, network: SmallCnn, fingerprint: str, provenance: str) -> None:
        self.network, self.fingerprint, self.provenance = network, fingerprint, provenance

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Embedding:
        """Embeds images (N, C, H, W) uint8."""
        features, logits = self.network(images)
        return Embedding(features=features, probabilities=logits.softmax(1))


class PerChannel:
    """A feature space for stacked images: that of one channel's data set, on each channel.

    Features follow one another, and the probability of a class is the product of those of its channels' classes.
    """

    def __init__(self, one: FeatureSpace) -> None:
        self.one, self.provenance = one, f"on each channel: {one.provenance}"
        self.fingerprint = hashlib.sha256(f"per channel {one.fingerprint}".encode()).hexdigest()

    def __call__(self, images: Tensor) -> Embedding:
        """Embeds images (N, 3, H, W) uint8: features (N, 3 d), probabilities (N, K³)."""
        count, channels = images.shape[:2]
        each = self.one(images.flatten(0, 1)[:, None])
        assert each.probabilities is not None
        red, green, blue = each.probabilities.view(count, channels, -1).unbind(1)
        probabilities = torch.einsum("na,nb,nc->nabc", red, green, blue).flatten(1)
        return Embedding(features=each.features.view(count, -1), probabilities=probabilities)


def open_classifier(options: ClassifierOptions, data: RealData, device: torch.device, console: Console) -> FeatureSpace:
    """Takes the classifier of this data from the cache, or trains it.

    Raises:
        UserError: The data has no labels or no known threshold, or the classifier reads it too badly.
    """
    if data.dataset.channel is not None:
        return PerChannel(open_classifier(options, RealData(data.dataset.channel, device), device, console))
    spec = data.dataset.spec
    if not spec.classes:
        raise UserError(
            f"features: 'classifier' needs labels, but {spec.name!r} has none. Use --features random or inception"
        )
    least = options.min_accuracy or _LEAST.get(spec.name)
    if least is None:
        raise UserError(
            f"min_accuracy: there is none for {spec.name!r}. Say how well a classifier must read its test images to "
            "judge others, such as --set min_accuracy=0.9"
        )
    weights, metadata = _from_cache(_path(data, options.seed)) or _train(data, options.seed, device, console)
    read = metadata["test_accuracy"]
    if read < least:
        raise UserError(
            f"features: the classifier of {spec.name!r} reads {read:.2%} of the test images right, and must read "
            f"{least:.2%}: it is no judge. Give --features random, or another --set min_accuracy"
        )
    network = _network(data)
    network.load_state_dict(load(weights))
    provenance = f"small CNN, {read:.2%} of {len(data.test):,} test images read right"
    return Classifier(network.to(device).eval(), metadata["sha256"], provenance)


features = Features(api=1, options=ClassifierOptions, open=open_classifier)


def _network(data: RealData) -> SmallCnn:
    spec = data.dataset.spec
    return SmallCnn(spec.channels, spec.image_size, spec.classes)


def _path(data: RealData, seed: int) -> Path:
    """Returns where the classifier's weights are: a name that hashes all they depend on."""
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
    train_classifier(network, data.train, seed, device, f"training a classifier of {name}, once", console)
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
    """Returns weights and metadata where both are there and belong together."""
    try:
        weights = path.read_bytes()
        metadata = dict(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    return (weights, metadata) if metadata.get("sha256") == hashlib.sha256(weights).hexdigest() else None
