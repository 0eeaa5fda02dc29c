"""WGAN and WGAN-GP, against critics whose gradients are known."""

import pytest
import torch
from gan_core_wgan import WganOptions, build
from torch import Tensor, nn

from gan_core import DataSpec, lipschitz_penalty
from gan_core.testing import made_batch, terms_of

DIGITS = DataSpec.of_images(name="digits", image_size=8, channels=1, classes=10, count=1500)


class Linear(nn.Module):
    """D(x) = weight · Σ x: its gradient by every pixel is the weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight * images.flatten(1).sum(1)


class Quadratic(nn.Module):
    """D(x) = Σ x² / 2: its gradient at x is x."""

    def forward(self, images: Tensor) -> Tensor:
        return images.square().flatten(1).sum(1) / 2


def test_the_penalty_of_a_linear_critic() -> None:
    # ‖∇‖ = |w| · sqrt(pixels), for 4 pixels 2 |w|; the derivative of (2w - 1)² is 4 (2w - 1).
    critic = Linear(1.5)
    images = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    penalty = lipschitz_penalty(critic, images, -images, torch.rand(3, 1, 1, 1, dtype=torch.float64))
    assert float(penalty.detach()) == pytest.approx(4.0)
    penalty.backward()
    assert critic.weight.grad is not None
    assert float(critic.weight.grad) == pytest.approx(8.0)


def test_the_penalty_is_computed_at_interpolated_images() -> None:
    # At x̂ = εx + (1 - ε)x̃ with x = 4, x̃ = 0 on one pixel, ‖∇‖ = |x̂| = 4ε: (4ε - 1)² for ε = 0.25, 0.5 and 1.
    real, fake = torch.full((3, 1, 1, 1), 4.0), torch.zeros(3, 1, 1, 1)
    epsilon = torch.tensor([0.25, 0.5, 1.0]).view(3, 1, 1, 1)
    assert float(lipschitz_penalty(Quadratic(), real, fake, epsilon).detach()) == pytest.approx((0 + 1 + 9) / 3)


def test_the_penalty_is_float32_under_bf16() -> None:
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 1))
    real, fake = torch.randn(5, 1, 8, 8), torch.randn(5, 1, 8, 8)
    epsilon = torch.rand(5, 1, 1, 1)
    plain = lipschitz_penalty(critic, real, fake, epsilon)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = lipschitz_penalty(critic, real, fake.bfloat16(), epsilon)
    assert mixed.dtype == torch.float32
    assert float(mixed.detach()) == pytest.approx(float(plain.detach()), rel=1e-2)


class Halves:
    """A `Randomness` whose samples are all 0.5."""

    def uniform(self, *shape: int) -> Tensor:
        """Returns 0.5 in the shape (6, *shape)."""
        return torch.full((6, *shape), 0.5)

    def normal(self, *shape: int) -> Tensor:
        """Returns 0.5 in the shape (6, *shape)."""
        return self.uniform(*shape)


@pytest.mark.parametrize("penalty", ["clip", "gradient"])
def test_phases_and_optimizers_of_both_penalties(penalty: str) -> None:
    game = build(WganOptions(width=4, penalty=penalty), DIGITS)
    critic_phase, generator_phase = game.phases
    assert (critic_phase.repeats, generator_phase.repeats) == (5, 1)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in game.networks["critic"].modules())
    optimizer = critic_phase.optimizer(game.networks["critic"].parameters())
    group = optimizer.param_groups[0]
    if penalty == "clip":
        assert (type(optimizer).__name__, group["lr"]) == ("RMSprop", 5e-5)
    else:
        assert (type(optimizer).__name__, group["lr"], group["betas"]) == ("Adam", 1e-4, (0.0, 0.9))
    batch = made_batch({"images": torch.randn(6, 1, 8, 8)}, {"z": torch.randn(6, 100)}, random=Halves())
    terms = terms_of(game, "critic", batch)
    assert ("penalty" in terms) == (penalty == "gradient")
    assert float(terms["wasserstein"]) == pytest.approx(-float((terms["real"] + terms["fake"]).detach()))
    assert not terms["wasserstein"].requires_grad


def test_weights_are_clipped_after_each_step() -> None:
    game = build(WganOptions(width=4, clip=0.003), DIGITS)
    after = game.phases[0].after
    assert after is not None
    with torch.no_grad():
        after(game.networks, {}, made_batch({"images": torch.zeros(1, 1, 8, 8)}, {}))
    bounds = [float(parameter.detach().abs().max()) for parameter in game.networks["critic"].parameters()]
    assert max(bounds) == pytest.approx(0.003)
