"""GAN-train: how well a classifier that learnt from fakes alone reads real images.

Shmelkov et al. 2018, How good is my GAN?, section 3.1. It sees what GAN-test (`classes.agreement`) cannot: a generator
that draws ten images perfectly teaches little.
"""

from rich.console import Console
from torch import Tensor

from gan_core.data.dataset import ResidentImages
from gan_core.features.network import SmallCnn
from gan_core.features.real_data import RealData
from gan_core.features.training import LabelledImages, accuracy, train_classifier
from gan_core.randomness import Streams


def gan_train(images: Tensor, labels: Tensor, data: RealData, console: Console) -> tuple[float, float]:
    """Returns the accuracies on the test split after learning from fakes, and from as many real images.

    Args:
        images: Fakes (N, C, H, W) uint8.
        labels: The classes that they were asked for, (N,) int64.
        data: The real images.
        console: Where progress is shown.
    """
    fakes = ResidentImages(images, labels).to(data.device)
    return (
        _taught_by(fakes, data, "training a classifier on samples", console),
        _taught_by(data.train.first(len(images)), data, "training one on as many real images", console),
    )


def _taught_by(images: LabelledImages, data: RealData, what: str, console: Console) -> float:
    spec = data.dataset.spec
    Streams(0).seed_modules("GAN-train", 0, 0)
    network = SmallCnn(spec.channels, spec.image_size, spec.classes)
    train_classifier(network, images, 0, data.device, what, console)
    return accuracy(network, data.test)
