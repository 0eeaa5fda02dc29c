"""With few images, the discriminator learns them by heart; with augmentation less so, and samples are better."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from gan_core.evaluation.manifold import overlap
from tests.evaluating import real_data, reference_of, training_images
from tests.little_data import train_on

RECIPE = Path(__file__).parent.parent / "configs" / "dcgan-mnist.yaml"
ADA = (
    *("augment=ada", "augment_operations=[xint, scale, aniso]"),
    *("augment_target=0.3", "augment_p=0.1", "augment_kimg=100"),
)


def test_a_discriminator_of_few_digits_overfits_less_with_augmentation(tmp_path: Path) -> None:
    digits = training_images(real_data("digits"))[0]
    chosen = torch.from_numpy(np.random.default_rng(0).permutation(len(digits)))
    few, others = digits[chosen[:50]], digits[chosen[50:550]]
    settings = ("lr=1e-3", "beta1=0", "beta2=0.99", "batch=32", "width=64", "log_every=1000")
    plain, augmented = (
        train_on(few, others, tmp_path / kind, *settings, f"augment={kind}", variant="vanilla", steps=400, fakes=200)
        for kind in ("none", "diffaug")
    )
    # What the discriminator outputs for the images that it was trained on, and for others.
    assert plain.gap > 0.3
    assert augmented.gap < 0.6 * plain.gap


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_1000_digits_of_mnist_are_covered_better_with_augmentation(mnist_root: Path, tmp_path: Path, seed: int) -> None:
    train, test = MNIST(mnist_root, train=True), MNIST(mnist_root, train=False)
    thousand = torch.cat([torch.nonzero(train.targets == digit)[:100, 0] for digit in range(10)])
    images, held_out = train.data[thousand].unsqueeze(1), test.data.unsqueeze(1)
    reference = reference_of(real_data("mnist", mnist_root))
    outcomes, coverage = {}, {}
    for kind, settings in {"none": (), "ada": ADA}.items():
        outcomes[kind] = train_on(
            images, held_out, tmp_path / kind, *settings, config=RECIPE, seed=seed, kimg=480, fakes=len(held_out)
        )
        features = torch.cat([reference.space(part).features for part in outcomes[kind].fakes.split(500)])
        coverage[kind] = overlap(features, reference.test.features).coverage
    # Without augmentation, the discriminator takes test images for fakes.
    assert outcomes["none"].overfitting > 1
    assert outcomes["ada"].gap < outcomes["none"].gap / 2
    assert coverage["ada"] > coverage["none"] + 0.05
