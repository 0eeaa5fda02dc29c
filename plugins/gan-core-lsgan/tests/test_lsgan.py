"""The losses of Mao et al. 2017 against values and gradients computed by hand."""

import pytest
import torch
from gan_core_lsgan import LeastSquares
from torch import Tensor


def identity(images: Tensor) -> Tensor:
    """A discriminator that returns its inputs."""
    return images


@pytest.mark.parametrize(
    ("a", "b", "c", "real", "fake", "adversarial"),
    [
        # D returns 0.5 and 0.8 for two real images, 0.1 and 0.3 for two generated ones.
        (0.0, 1.0, 1.0, (0.25 + 0.04) / 4, (0.01 + 0.09) / 4, (0.81 + 0.49) / 4),
        (-1.0, 1.0, 0.0, (0.25 + 0.04) / 4, (1.21 + 1.69) / 4, (0.01 + 0.09) / 4),
    ],
)
def test_losses_are_equation_2(a: float, b: float, c: float, real: float, fake: float, adversarial: float) -> None:
    on_real, on_fake = torch.tensor([0.5, 0.8]), torch.tensor([0.1, 0.3])
    terms = LeastSquares(a, b, c).discriminator(identity, on_real, on_fake)
    assert float(terms["real"]) == pytest.approx(real)
    assert float(terms["fake"]) == pytest.approx(fake)
    assert float(terms["D(real)"]) == pytest.approx(0.65)
    assert float(LeastSquares(a, b, c).generator(identity, on_real, on_fake)["adversarial"]) == pytest.approx(
        adversarial
    )


def test_gradients() -> None:
    # d/dx of (x - t)² / 2, averaged over two images, is (x - t) / 2.
    on_real = torch.tensor([0.5, 3.0], requires_grad=True)
    on_fake = torch.tensor([0.1, -2.0], requires_grad=True)
    terms = LeastSquares(0.0, 1.0, 1.0).discriminator(identity, on_real, on_fake)
    (terms["real"] + terms["fake"]).backward()
    assert on_real.grad is not None
    assert on_fake.grad is not None
    assert on_real.grad.tolist() == pytest.approx([-0.25, 1.0])
    assert on_fake.grad.tolist() == pytest.approx([0.05, -1.0])
