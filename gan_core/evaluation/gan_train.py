"""GAN-train: the accuracy on real images of a classifier that was trained only on fakes.

Shmelkov et al. 2018, How good is my GAN?, section 3.1. Unlike GAN-test (`classes.agreement`), it detects a lack of
diversity: a classifier learns little from a generator that draws only ten perfect images.
"""

from rich.console import Console
from torch import Tensor

from gan_core.data.dataset import ResidentRows
from gan_core.features.network import SmallCnn
from gan_core.features.real_data import LabelledRows, RealData
from gan_core.features.training import LabelledImages, accuracy, train_classifier
from gan_core.precision import without_tf32
from gan_core.randomness import Streams


def gan_train(images: Tensor, labels: Tensor, data: RealData, console: Console) -> tuple[float, float]:
    """Returns the accuracies on the test split after training on fakes, and after training on as many real images.

    If the training split has fewer than N images, the second classifier is trained on all of them.

    Args:
        images: Fakes (N, C, H, W) uint8.
        labels: The requested classes of the fakes, (N,) int64.
        data: The real images.
        console: Shows progress.
    """
    fakes = LabelledRows(ResidentRows({"images": images, "labels": labels}).to(data.device))
    return (
        _accuracy_after_training(fakes, data, "training a classifier on samples", console),
        _accuracy_after_training(
            data.train.first(len(images)), data, "training a classifier on as many real images", console
        ),
    )


@without_tf32()
def _accuracy_after_training(images: LabelledImages, data: RealData, what: str, console: Console) -> float:
    spec = data.dataset.spec
    Streams(0).seed_modules("GAN-train", 0, 0)
    network = SmallCnn(spec.image(), spec.classes)
    train_classifier(network, images, 0, data.device, what, console)
    return accuracy(network, data.test)
