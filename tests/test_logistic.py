"""The losses of Goodfellow et al. 2014 against values and gradients computed by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from gan_core import Logistic


def identity(images: Tensor) -> Tensor:
    """A discriminator whose logits are its inputs."""
    return images


def logit(probability: float) -> Tensor:
    """Returns the logit of a probability as a leaf tensor, (1,)."""
    return torch.tensor([math.log(probability / (1 - probability))], dtype=torch.float64, requires_grad=True)


def test_the_discriminator_s_terms_are_equation_1() -> None:
    real, fake = logit(0.8), logit(0.4)
    terms = Logistic("minimax").discriminator(identity, real, fake)
    assert float(terms["real"].detach()) == pytest.approx(-math.log(0.8))
    assert float(terms["fake"].detach()) == pytest.approx(-math.log(1 - 0.4))
    assert float(terms["D(real)"]) == pytest.approx(0.8)
    assert float(terms["D(fake)"]) == pytest.approx(0.4)
    assert not terms["D(real)"].requires_grad
    # d/dl of -log σ(l) is σ(l) - 1, and of -log(1 - σ(l)) is σ(l).
    (terms["real"] + terms["fake"]).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert float(real.grad) == pytest.approx(0.8 - 1)
    assert float(fake.grad) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("objective", "value", "gradient"),
    [("minimax", math.log(1 - 0.1), -0.1), ("non-saturating", -math.log(0.1), 0.1 - 1)],
)
def test_the_generator_s_term_and_the_saturation_of_minimax(objective: str, value: float, gradient: float) -> None:
    fake = logit(0.1)
    term = Logistic(objective).generator(identity, fake, fake)["adversarial"]
    assert float(term.detach()) == pytest.approx(value)
    term.backward()
    assert fake.grad is not None
    assert float(fake.grad) == pytest.approx(gradient)


def test_logits_beyond_the_range_of_exp_stay_finite() -> None:
    far = torch.tensor([1e4, -1e4])
    terms = Logistic("minimax").discriminator(identity, far, far)
    assert all(torch.isfinite(term) for term in terms.values())


def test_one_sided_label_smoothing_is_the_cross_entropy_with_a_soft_target() -> None:
    real, fake = logit(0.8), logit(0.4)
    terms = Logistic(smoothing=0.1).discriminator(identity, real, fake)
    assert float(terms["real"].detach()) == pytest.approx(-0.9 * math.log(0.8) - 0.1 * math.log(0.2))
    assert float(terms["fake"].detach()) == pytest.approx(-math.log(1 - 0.4))  # One-sided: fakes keep the target 0.
    terms["real"].backward()
    assert real.grad is not None
    assert float(real.grad) == pytest.approx(0.8 - 0.9)


def test_weight_one_half_is_the_cross_entropy_of_a_batch_of_real_and_fake() -> None:
    real, fake = torch.tensor([0.3, -2.0]), torch.tensor([1.5, -0.2])
    terms = Logistic(weight=0.5).discriminator(identity, real, fake)
    targets = torch.tensor([1.0, 1.0, 0.0, 0.0])
    joint = binary_cross_entropy_with_logits(torch.cat([real, fake]), targets)
    assert float(terms["real"] + terms["fake"]) == pytest.approx(float(joint))


def test_losses_at_the_equilibrium_and_of_a_confident_discriminator() -> None:
    half = torch.zeros(4)  # D(x) = 1/2 everywhere: the equilibrium of the paper's game.
    terms = Logistic().discriminator(identity, half, half)
    assert float(terms["real"] + terms["fake"]) == pytest.approx(math.log(4))
    confident = torch.full((4,), math.log(9.0))  # D(x) = 0.9.
    assert float(Logistic().generator(identity, confident, confident)["adversarial"]) == pytest.approx(-math.log(0.9))
