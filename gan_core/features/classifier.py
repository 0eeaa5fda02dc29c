"""The default feature space: the last hidden layer of a small classifier, trained once on the data set and cached.

The classifier is trained on the training split without a held-out fold. Its test accuracy is stored with it. If that is
too low, the classifier is not used on a data set whose usual accuracy is known; on others its metrics are marked as
unreliable. The cache holds safetensors and a JSON file with their metadata, no pickle.
"""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch
from pydantic import Field
from rich.console import Console
from safetensors.torch import load, save
from torch import Tensor

from gan_core.data.cache import cache_folder
from gan_core.documents import load_json, read_regular
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
_RELIABLE = 0.1
"""On other data, the classifier's metrics are reliable if it makes fewer errors than this share of those that guessing
the most frequent class makes: an accuracy above 0.91 for ten equally frequent classes, and above 0.95 for two.

If K equally frequent classes are confused evenly at an error rate e, e / (K - 1) of the samples are read as a class
that is never drawn. `modes` would count it from a tenth of its share on: e / (K - 1) = 0.1 / K, so e = 0.1 (1 - 1 / K).
"""
_OTHERS = "--features random (while training --evaluate-features random)"
_MAX_WEIGHTS = 2**30
"""Bytes of the largest file of weights that is read from the cache."""


class ClassifierOptions(Options):
    """The classifier's seed, and the accuracy that it must reach."""

    min_accuracy: float | None = Field(None, gt=0, le=1)
    """Minimum accuracy on the test split; by default 0.985 on mnist, 0.90 on fashion-mnist, 0.93 on digits. On other
    data no accuracy is required, but metrics are marked as unreliable if it is low."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the classifier's initial weights and of the order of its images."""


class Classifier:
    """A trained classifier as a feature space: 128 features, and class probabilities."""

    def __init__(self, network: SmallCnn, fingerprint: str, provenance: str, unreliable: str = "") -> None:
        self.network, self.fingerprint, self.provenance = network, fingerprint, provenance
        self.unreliable = unreliable

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
    """Loads the classifier of this data, which has labels, from the cache, or trains it.

    Raises:
        UserError: The classifier's test accuracy is below the minimum, or what is trained could not be cached.
    """
    if data.dataset.channel is not None:
        return PerChannel(open_classifier(options, RealData(data.dataset.channel, device), device, console))
    spec = data.dataset.spec
    assert spec.classes
    weights, metadata = _from_cache(_path(data, options.seed)) or _train(data, options.seed, device, console)
    test_accuracy = metadata["test_accuracy"]
    reads = f"reads {test_accuracy:.2%} of {len(data.test):,} test images"
    min_accuracy = options.min_accuracy or _MIN_ACCURACY.get(spec.name)
    if min_accuracy is not None and test_accuracy < min_accuracy:
        raise UserError(
            f"features: the classifier of {spec.name!r} {reads}, below the minimum of {min_accuracy:.2%}. Use "
            f"{_OTHERS}, or evaluate with a lower --set min_accuracy"
        )
    network = _network(data)
    network.load_state_dict(load(weights))
    doubt = "" if min_accuracy is not None else _doubt(test_accuracy, data)
    return Classifier(network.to(device).eval(), metadata["sha256"], f"small CNN that {reads}", doubt)


features = Features(api=1, options=ClassifierOptions, open=open_classifier, needs_labels=True)
"""A small network, trained once on the data set itself and cached; it needs labels."""


def _doubt(test_accuracy: float, data: RealData) -> str:
    """Returns why the metrics of a classifier are unreliable, on data without a known accuracy; or ""."""
    assert data.test.labels is not None
    most_frequent = float(data.test.labels.bincount().max()) / len(data.test)
    errors = _RELIABLE * (1 - most_frequent)
    if 1 - test_accuracy < errors:
        return ""
    return f"the classifier reads {test_accuracy:.2%} of {len(data.test):,} test images, not more than {1 - errors:.2%}"


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
    path = _path(data, seed)
    _check_writable(path.parent)
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
    try:
        write_atomically(path, weights)
        write_atomically(path.with_suffix(".json"), json.dumps(metadata, indent=2) + "\n")
    except OSError as error:  # It has been trained and can be used.
        console.print(
            f"warning: the classifier is not cached and will be trained again: {error}", markup=False, soft_wrap=True
        )
    return weights, metadata


def _check_writable(folder: Path) -> None:
    """Writes a file to the folder before the classifier is trained. Permissions alone do not tell: root has them all.

    Raises:
        UserError: This failed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            file.write(b"?")
    except OSError as error:
        raise UserError(
            f"the classifier cannot be cached in {str(folder)!r}: {error}. Set XDG_CACHE_HOME to a folder that can be "
            f"written, or use {_OTHERS}"
        ) from None


def _from_cache(path: Path) -> tuple[bytes, dict[str, Any]] | None:
    """Returns the weights and their metadata, or None if one is missing or they do not match."""
    try:
        weights, metadata = read_regular(path, _MAX_WEIGHTS), load_json(path.with_suffix(".json"))
        whole = metadata["sha256"] == hashlib.sha256(weights).hexdigest() and 0 <= metadata["test_accuracy"] <= 1
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (weights, metadata) if whole else None
