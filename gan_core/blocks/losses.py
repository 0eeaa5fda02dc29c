"""Losses that more than one variant may take, and the options that choose among them."""

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from gan_core.game.phase import Terms
from gan_core.game.protocols import Discriminator, Loss
from gan_core.game.variant import Options

LabelSmoothing = Annotated[
    float,
    Field(
        ge=0,
        lt=0.5,
        description="One-sided: the discriminator's target for real images is 1 less this (Salimans et al. 2016, "
        "section 3.4).",
    ),
]
"""An option of variants whose discriminator has a cross-entropy with labels, real and fake."""


def logistic_terms(logits_real: Tensor, logits_fake: Tensor, smoothing: float = 0.0) -> Terms:
    """Goodfellow et al. 2014, equation 1, with its sign turned: -log D(x) - log(1 - D(G(z))), where D = sigmoid(l).

    softplus(-l) is -log D and softplus(l) is -log(1 - D), without the overflow of either logarithm. With smoothing s
    the real term is the cross-entropy with a target of 1 - s: -(1 - s) log D - s log(1 - D).

    Args:
        logits_real: l(x), (B,).
        logits_fake: l(G(z)), (B,).
        smoothing: s.
    """
    return {
        "real": (F.softplus(-logits_real) + smoothing * logits_real).mean(),
        "fake": F.softplus(logits_fake).mean(),
        "D(real)": logits_real.detach().sigmoid().mean(),
        "D(fake)": logits_fake.detach().sigmoid().mean(),
    }


class Logistic:
    """The losses of Goodfellow et al. 2014, with both of the paper's objectives for the generator, on logits (B,)."""

    def __init__(self, objective: str = "non-saturating", smoothing: float = 0.0, weight: float = 1.0) -> None:
        self.objective, self.smoothing, self.weight = objective, smoothing, weight

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """The terms of equation 1, times the weight. Real and fake pass D apart."""
        terms = logistic_terms(D(real), D(fake), self.smoothing)
        return {**terms, "real": self.weight * terms["real"], "fake": self.weight * terms["fake"]}

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """Equation 1, minimised over G: log(1 - D(G(z))); or section 3's non-saturating -log D(G(z))."""
        del real
        logits = D(fake)
        if self.objective == "minimax":
            return {"adversarial": -F.softplus(logits).mean()}
        return {"adversarial": F.softplus(-logits).mean()}


class RelativisticPairing:
    """RpGAN: how much more real is this real image than that generated one? On logits l, (B,).

    Jolicoeur-Martineau 2018, section 3; with f(t) = -softplus(-t) it is equation 2 of Huang et al. 2024 (R3GAN), who
    add R1 and R2. As many fakes as real images are wanted, for the i-th is compared with the i-th.
    """

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """E[softplus(l(G(z)) - l(x))], which is -log of the probability sigmoid(l(x) - l(G(z)))."""
        on_real, on_fake = D(real), D(fake)
        return {
            "relativistic": F.softplus(on_fake - on_real).mean(),
            "D(real)": on_real.detach().mean(),
            "D(fake)": on_fake.detach().mean(),
        }

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """E[softplus(l(x) - l(G(z)))]."""
        return {"adversarial": F.softplus(D(real) - D(fake)).mean()}


class ObjectiveOptions(Options):
    """The logistic loss in its forms."""

    objective: Literal["non-saturating", "minimax", "relativistic"] = "non-saturating"
    """What the generator minimises: -log D(G(z)); log(1 - D(G(z))), which fades where D is sure of itself; or how
    much more real a real image looks than a generated one."""
    label_smoothing: LabelSmoothing = 0.0
    discriminator_weight: float = Field(1.0, gt=0)
    """Weight of both of the discriminator's terms: 0.5 gives the mean over one batch, half real and half fake."""

    @field_validator("label_smoothing", "discriminator_weight")
    @classmethod
    def unless_paired(cls, value: float, info: ValidationInfo) -> float:
        """Returns an option's value; refuses all but its default where pairs are compared, which have no use for it.

        Raises:
            ValueError: The objective is relativistic.
        """
        assert info.field_name is not None
        default = cls.model_fields[info.field_name].default
        if info.data.get("objective") == "relativistic" and value != default:
            raise ValueError(
                f"{default} with objective=relativistic, whose one term has no labels and compares pairs of images"
            )
        return value

    def make_loss(self) -> Loss:
        """Returns the loss that is chosen."""
        if self.objective == "relativistic":
            return RelativisticPairing()
        return Logistic(self.objective, self.label_smoothing, self.discriminator_weight)
