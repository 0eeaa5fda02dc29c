"""Stacked-MNIST: its images, which are never materialised, and its mode count."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from gan_core.data.catalog import open_dataset
from gan_core.data.dataset import ResidentRows
from gan_core.data.stacked import StackedRows, triples
from gan_core.errors import UserError
from gan_core.features.classifier import PerChannel
from gan_core.features.space import Embedding
from gan_core.sampling.files import rows_of
from tests.evaluating import ImageSource, evaluate_source, real_data, reference_of


def digits(count: int = 300) -> ResidentRows:
    """Returns images of 2 x 2 pixels whose pixel value is their index modulo 256."""
    pixels = (torch.arange(count) % 256).to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    return ResidentRows({"images": pixels, "labels": torch.arange(count) % 10})


def test_every_class_is_equally_frequent_and_consists_of_its_digits() -> None:
    images = digits()
    chosen = triples(images.labels["labels"], 26_000, "test")
    assert set(Counter(StackedRows(images, chosen).labels["labels"].tolist()).values()) == {26}
    (rows,) = StackedRows(images, chosen).batches([[437, 5, 21_999]])
    pixels, labels = rows["images"], rows["labels"]
    assert pixels.shape == (3, 3, 2, 2)
    assert labels.tolist() == [437, 5, 999]
    for image, label in zip(pixels, labels.tolist(), strict=True):
        for channel, digit in zip(image, f"{label:03d}", strict=True):
            number = [at for at in range(300) if at % 256 == int(channel[0, 0])]
            assert int(digit) in [at % 10 for at in number]
    assert len(chosen.unique()) == 300  # All digits are used.


def test_the_digits_are_fixed_and_differ_between_splits() -> None:
    labels = torch.arange(300) % 10
    assert torch.equal(triples(labels, 5000, "train"), triples(labels, 5000, "train"))
    assert not torch.equal(triples(labels, 5000, "train"), triples(labels, 5000, "test"))


def test_a_channel_space_multiplies_probabilities() -> None:
    class PixelClassifier:
        fingerprint, provenance = "0", "classifies by the pixel value"

        def __call__(self, images: torch.Tensor) -> Embedding:
            digit = images[:, 0, 0, 0].long()
            probabilities = torch.full((len(images), 10), 0.01).scatter(1, digit[:, None], 0.91)
            return Embedding(features=digit[:, None].float(), probabilities=probabilities)

    images = torch.tensor([[4, 0, 7], [9, 9, 9]], dtype=torch.uint8)[:, :, None, None].expand(-1, -1, 2, 2)
    found = PerChannel(PixelClassifier())(images)
    assert found.features.tolist() == [[4, 0, 7], [9, 9, 9]]
    assert found.probabilities is not None
    assert found.probabilities.shape == (2, 1000)
    assert found.probabilities.argmax(1).tolist() == [407, 999]
    assert found.probabilities.max(1).values.tolist() == pytest.approx([0.91**3] * 2)
    assert found.probabilities.sum(1).tolist() == pytest.approx([1.0, 1.0])


def test_stacked_mnist_is_mnist_in_three_channels(mnist_root: Path) -> None:
    dataset = open_dataset("stacked-mnist", data_dir=mnist_root)
    assert (dataset.spec.channels, dataset.spec.classes, dataset.spec.count) == (3, 1000, 240_000)
    train = dataset.read("images", "train")
    assert isinstance(train, StackedRows)
    digit_images, digit_labels = train.digits.columns["images"], train.digits.columns["labels"]
    assert digit_images.shape == (60_000, 1, 28, 28)
    (rows,) = train.batches([[123_456]])
    assert rows["labels"].tolist() == [456]
    flat = digit_images.flatten(1)
    for channel, digit in zip(rows["images"][0], (4, 5, 6), strict=True):
        (place,) = torch.nonzero((flat == channel.flatten()).all(1)).flatten().tolist()
        assert int(digit_labels[place]) == digit


def test_the_grid_of_1000_classes_is_square() -> None:
    assert (rows_of(64, 1000), rows_of(80, 10), rows_of(64, 0)) == (8, 10, 8)


def test_one_channel_is_refused() -> None:
    with pytest.raises(UserError, match=r"channels: 1 is not allowed for 'stacked-mnist'\. Its images have 3"):
        open_dataset("stacked-mnist", channels=1)


@pytest.mark.slow
def test_modes_and_divergence_of_perfect_and_of_collapsed_samplers(mnist_root: Path) -> None:
    reference = reference_of(real_data("stacked-mnist", mnist_root))
    train = reference.data.read("train")

    def perfect(random: torch.Generator, labels: torch.Tensor | None) -> torch.Tensor:
        return next(iter(train.batches([torch.randint(240_000, (64,), generator=random).tolist()])))[0]

    found = evaluate_source(ImageSource(perfect), 26_000, reference).fakes.measured
    assert found["modes"].value == 1000
    # Sampling noise alone gives 0.0192. The classifier's error rate of 1 % on each of three digits adds little.
    assert found["kl"].value == pytest.approx(0.0192, abs=0.004)

    def half(random: torch.Generator, labels: torch.Tensor | None) -> torch.Tensor:
        return next(iter(train.batches([(torch.randint(120_000, (64,), generator=random) * 2).tolist()])))[0]

    found = evaluate_source(ImageSource(half), 26_000, reference).fakes.measured
    assert found["modes"].value < 700  # The blue digit is even; classifier errors find some of the other modes.
    assert found["kl"].value == pytest.approx(0.69, abs=0.08)
