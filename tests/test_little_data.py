"""With few images, the discriminator learns them by heart; with augmentation it does so less.

Whether the samples are better for it is not tested here.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from tests.evaluating import real_data, training_images
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
    images, held_out = train.data[thousand].unsqueeze(1), test.data[:2000].unsqueeze(1)
    overfitting = {}
    for kind, options in {"none": (), "diffaug": ("augment_operations=[translation]",)}.items():
        settings = (*SETTINGS, "width=256", f"augment={kind}", *options)
        outcome = train_on(
            images, held_out, tmp_path / kind, *settings, variant="vanilla", seed=seed, kimg=150, fakes=2000
        )
        overfitting[kind] = outcome.overfitting
    assert overfitting["none"] > 0.3
    assert overfitting["diffaug"] < 0.5 * overfitting["none"]
