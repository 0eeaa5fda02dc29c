"""What augmentation is for: with few images, the discriminator learns them by heart without it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torchvision.datasets import MNIST

from gan_core.evaluation.manifold import overlap
from gan_core.features.load import load_features
from tests.evaluating import QUIET, real_data, training_images
from tests.little_data import train_on

SETTINGS = ("lr=1e-3", "beta1=0", "beta2=0.99", "batch=64")


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
    assert plain.train - plain.held_out > 0.3
    assert augmented.train - augmented.held_out < 0.6 * (plain.train - plain.held_out)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_1000_digits_of_mnist(mnist_root: Path, tmp_path: Path, seed: int) -> None:
    train, test = MNIST(mnist_root, train=True), MNIST(mnist_root, train=False)
    thousand = torch.cat([torch.nonzero(train.targets == digit)[:100, 0] for digit in range(10)])
    images, held_out = train.data[thousand].unsqueeze(1), test.data.unsqueeze(1)
    space = load_features("classifier", {}).open(real_data("mnist", mnist_root), Accelerator(cpu=True), QUIET)

    def features(of: Tensor) -> Tensor:
        return torch.cat([space(part).features for part in of.split(500)])

    real = features(held_out[:5000])
    overfitting, coverage = {}, {}
    for kind, options in {"none": (), "diffaug": ("augment_operations=[translation]",)}.items():
        flags = {"variant": "vanilla", "seed": seed, "kimg": 150, "fakes": 5000}
        outcome = train_on(
            images, held_out, tmp_path / kind, *SETTINGS, "width=256", f"augment={kind}", *options, **flags
        )
        overfitting[kind] = outcome.overfitting
        coverage[kind] = overlap(features(outcome.fakes), real).coverage
        print(seed, kind, outcome.train, outcome.held_out, outcome.fake, overfitting[kind], coverage[kind])
    assert overfitting["none"] > 0.3
    assert overfitting["diffaug"] < 0.5 * overfitting["none"]
    assert coverage["diffaug"] > coverage["none"]
