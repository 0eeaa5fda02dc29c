"""The metrics of an evaluation against torchmetrics, SciPy, closed forms and plain loops."""

import math
import warnings

import pytest
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor, nn

from gan_core.evaluation.classes import agreement, expected_kl, histogram, kl_to_real, modes
from gan_core.evaluation.frechet import Moments, frechet_distance
from gan_core.evaluation.kernel import Standardiser, kernel_distance, squared_mmd
from gan_core.evaluation.manifold import overlap
from gan_core.evaluation.memorisation import data_copying
from gan_core.evaluation.neighbours import nearest
from tests.evaluating import real_data, reference_of


def features(count: int, size: int = 16, seed: int = 0, shift: float = 0.0) -> Tensor:
    """Features like those of a ReLU network: correlated, with many zeros, and one that is always zero."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(size, size, generator=torch.Generator().manual_seed(99))
    made = (torch.randn(count, size, generator=random) @ mix + 1 + shift).relu()
    made[:, 0] = 0.0
    return made


class Identity(nn.Module):
    """A feature extractor for torchmetrics that returns the images, which are the features."""

    num_features = 16

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def as_images(x: Tensor) -> Tensor:
    return x[:, :, None, None]


def moments(x: Tensor, about: Tensor | None = None) -> Moments:
    return Moments(x.mean(0) if about is None else about).add(x)


def test_the_frechet_distance_equals_torchmetrics() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    fake, real = features(3000, seed=1, shift=0.3), features(3000, seed=2)
    theirs = FrechetInceptionDistance(feature=Identity(), normalize=False)
    theirs.set_dtype(torch.float64)
    theirs.update(as_images(real), real=True)
    theirs.update(as_images(fake), real=False)
    about = real.mean(0)
    ours = frechet_distance(moments(fake, about).gaussian(), moments(real, about).gaussian())
    assert ours == pytest.approx(float(theirs.compute()), abs=1e-4)
    assert ours > 0.5


def test_the_frechet_distance_of_two_gaussians_is_the_closed_form() -> None:
    # For commuting covariances: |μ₁ - μ₂|² + Σ (σ₁ - σ₂)², in any rotation. One variance is 0.
    rotation = torch.linalg.qr(features(12, 12, seed=3).double() + torch.eye(12)).Q
    one, other = torch.linspace(0, 3, 12, dtype=torch.float64), torch.linspace(2, 1, 12, dtype=torch.float64)
    means = torch.ones(12, dtype=torch.float64), torch.full((12,), 1.5, dtype=torch.float64)
    covariances = [rotation * deviation.square() @ rotation.T for deviation in (one, other)]
    expected = 12 * 0.5**2 + float((one - other).square().sum())
    found = frechet_distance((means[0], covariances[0]), (means[1], covariances[1]))
    assert found == pytest.approx(expected, abs=1e-9)


def test_moments_far_from_zero_and_in_parts_are_precise() -> None:
    x = features(2000, seed=4).double() + 1e6
    parts = [Moments(x.mean(0)).add(part) for part in x.split(700)]
    parts[0].gram += parts[1].gram + parts[2].gram
    mean, covariance = parts[0].gaussian()
    assert torch.allclose(mean, x.mean(0), rtol=1e-12)
    assert torch.allclose(covariance, torch.cov(x.T), rtol=1e-9, atol=1e-9)


def test_the_kernel_distance_equals_torchmetrics() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchmetrics.image.kid import KernelInceptionDistance

        theirs = KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=1000, normalize=False)
    standardise = Standardiser(features(3000, seed=5))
    fake, real = standardise(features(1000, seed=6, shift=1.0)), standardise(features(1000, seed=7))
    # In float64, because the error of float32 alone exceeds the tolerance.
    theirs.set_dtype(torch.float64)
    theirs.update(as_images(real), real=True)
    theirs.update(as_images(fake), real=False)
    assert squared_mmd(fake, real) == pytest.approx(float(theirs.compute()[0]), abs=1e-4)
    assert abs(squared_mmd(fake, real)) > 1e-2


def test_the_error_of_the_kernel_distance_is_its_spread_over_repetitions() -> None:
    found = [kernel_distance(features(200, 6, seed=2 * i), features(200, 6, seed=2 * i + 1)) for i in range(60)]
    values, errors = (torch.tensor(column) for column in zip(*found, strict=True))
    assert abs(float(values.mean())) < 3 * float(values.std()) / 60**0.5  # Unbiased: about 0 for equal distributions.
    assert float(errors.square().mean().sqrt()) == pytest.approx(float(values.std()), rel=0.35)


def test_standardised_features_have_mean_0_and_variance_1_except_dead_units() -> None:
    x = features(400, seed=8)
    y = Standardiser(x)(x)
    assert torch.allclose(y.mean(0), torch.zeros(16, dtype=torch.float64), atol=1e-9)
    assert y.std(0).tolist() == pytest.approx([0.0] + [1.0] * 15)


def test_units_that_are_active_in_few_images_are_dropped() -> None:
    x = features(1200, seed=8)
    x[:, 1:4] = 0
    x[:2, 1] = 1  # Active in two images: 24 standard deviations from the others.
    x[:11, 2] = 1  # In fewer than 1 %.
    x[:30, 3] = 1
    standardise = Standardiser(x)
    y = standardise(x)
    assert torch.equal(y[:, :3], torch.zeros(1200, 3, dtype=torch.float64))
    assert y[:, 3:].std(0).tolist() == pytest.approx([1.0] * 13)


@pytest.mark.parametrize(
    ("dataset", "space"),
    [
        ("digits", "random"),
        ("digits", "classifier"),
        ("mnist", "random"),
        pytest.param("fashion-mnist", "random", marks=pytest.mark.slow),
    ],
)
def test_real_images_against_themselves_have_a_kernel_distance_near_0(
    dataset: str, space: str, request: pytest.FixtureRequest
) -> None:
    root = None if dataset == "digits" else request.getfixturevalue("mnist_root")
    if dataset == "fashion-mnist" and not (root / "FashionMNIST").exists():
        pytest.skip("needs Fashion-MNIST: it is not beside MNIST in GAN_CORE_DATA")
    reference = reference_of(real_data(dataset, root), space)
    sets = (reference.train.features, reference.held_out.features, reference.test.features)
    train, held_out, test = (each for each in sets if each is not None)
    standardise = Standardiser(train)
    count = min(len(held_out), len(test), 2000)
    distance, error = kernel_distance(standardise(held_out[:count]), standardise(test[:count]))
    assert abs(distance) < 0.04 + 4 * error
    assert error < 0.1


def radius(points: Tensor, index: int, k: int) -> float:
    return sorted(math.dist(points[index], other) for at, other in enumerate(points) if at != index)[k - 1]


def test_precision_recall_density_and_coverage_equal_loops() -> None:
    fake, real = features(70, 6, seed=9, shift=2.0).double(), features(90, 6, seed=10).double()
    fake[:20] = fake[0]  # Copies have radius 0.
    k = 5
    real_radii, fake_radii = ([radius(set_, i, k) for i in range(len(set_))] for set_ in (real, fake))
    inside = [[math.dist(f, r) <= real_radii[i] for i, r in enumerate(real)] for f in fake]
    precision = sum(any(row) for row in inside) / 70
    density = sum(map(sum, inside)) / (k * 70)
    coverage = sum(any(row[i] for row in inside) for i in range(90)) / 90
    recall = sum(any(math.dist(f, r) <= fake_radii[j] for j, f in enumerate(fake)) for r in real) / 90
    found = overlap(fake, real, k)
    assert [found.precision, found.recall, found.density, found.coverage] == pytest.approx(
        [precision, recall, density, coverage]
    )
    assert 0 < recall < 1
    assert 0 < precision < 1
    assert coverage != recall


def test_chunks_of_the_distance_matrix_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, real = features(70, 6, seed=9), features(90, 6, seed=10)
    at_once = overlap(fake, real), nearest(fake, real)
    for module in ("neighbours", "manifold"):
        monkeypatch.setattr(f"gan_core.evaluation.{module}.CHUNK", 16)
    parts = overlap(fake, real), nearest(fake, real)
    assert at_once[0] == parts[0]
    assert torch.equal(at_once[1][1], parts[1][1])
    assert torch.allclose(at_once[1][0], parts[1][0])


def test_the_nearest_neighbour_is_the_nearest() -> None:
    fake, real = features(20, 6, seed=11), features(30, 6, seed=12)
    fake[3] = real[17]
    found, which = nearest(fake, real)
    for row, (distance, index) in enumerate(zip(found.tolist(), which.tolist(), strict=True)):
        by_hand = [math.dist(fake[row], other) for other in real]
        assert distance == pytest.approx(min(by_hand), abs=1e-6)
        assert by_hand[index] == min(by_hand)
    assert which[3] == 17


def test_data_copying_equals_scipy_s_mann_whitney_test() -> None:
    fake = features(300, 2, seed=14)[:, 1]
    held_out = torch.linspace(0.5, 2.0, 200).round(decimals=1)  # With ties.
    found = data_copying(fake.round(decimals=1), held_out)
    theirs = mannwhitneyu(fake.round(decimals=1), held_out).statistic
    spread = (200 * 300 * 501 / 12) ** 0.5
    assert found.z == pytest.approx((theirs - 200 * 300 / 2) / spread)
    assert found.share == pytest.approx(float((fake.round(decimals=1) < 0.5).double().mean()))
    copies = data_copying(torch.zeros(300), held_out)
    assert copies.share == 1.0
    assert copies.z < -15
    assert abs(data_copying(held_out, held_out).z) < 1e-9


def test_class_metrics_by_hand() -> None:
    real, fake = torch.tensor([50, 30, 20]), histogram(torch.tensor([0] * 5 + [1] * 5), 3)
    assert fake.tolist() == [5, 5, 0]
    assert kl_to_real(fake, real) == pytest.approx(0.5 * math.log(0.5 / 0.5) + 0.5 * math.log(0.5 / 0.3))
    assert kl_to_real(real * 7, real) == 0.0
    assert modes(fake, real, 0.1) == 2
    strays = torch.tensor([600, 385, 15])  # 1.5 % of the samples, but 20 % of the real images: less than a tenth.
    assert modes(strays, real, 0.1) == 2
    assert modes(strays, real, 0.0) == 3
    share, by_class = agreement(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 2]), 3)
    assert share == 0.75
    assert by_class == [0.5, 1.0, 1.0]


def test_the_expected_kl_is_the_mean_over_perfect_samplers() -> None:
    random, uniform = torch.Generator().manual_seed(0), torch.ones(1000)
    draws = [torch.randint(1000, (26_000,), generator=random) for _ in range(40)]
    found = sum(kl_to_real(histogram(labels, 1000), uniform) for labels in draws) / 40
    assert expected_kl(1000, 26_000) == pytest.approx(0.0192, abs=5e-5)  # The usual number for Stacked-MNIST.
    assert found == pytest.approx(0.0192, rel=0.03)
