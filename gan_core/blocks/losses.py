"""Losses that several variants use, and the options that select them."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from gan_core.blocks.protocols import Discriminator, Loss
from gan_core.game.phase import Terms
from gan_core.game.variant import Options

LabelSmoothing = Annotated[
    float,
    Field(
        ge=0,
        lt=0.5,
        description="One-sided label smoothing: the discriminator's target for real images is 1 minus this value "
        "(Salimans et al. 2016, section 3.4).",
    ),
]
"""The type of the option `label_smoothing`, for variants with a cross-entropy between real and fake."""


def precise_mean(values: Tensor) -> Tensor:
    """Returns the mean of all values in float32, or in float64 for float64 values, also under autocast.

    A mean in float16 is rounded to 11 bits, and its gradient, the scale of the loss, is infinite from 65,520 on.
    """
    return values.mean(dtype=torch.promote_types(values.dtype, torch.float32))


def logistic_terms(logits_real: Tensor, logits_fake: Tensor, smoothing: float = 0.0) -> Terms:
    """The negative of equation 1 of Goodfellow et al. 2014: -log D(x) - log(1 - D(G(z))), where D = sigmoid(l).

    -log D is computed as softplus(-l) and -log(1 - D) as softplus(l), which do not overflow. With smoothing s the real
    term is the cross-entropy with the target 1 - s: -(1 - s) log D - s log(1 - D).

    Args:
        logits_real: Logits of the real images, l(x), (B,).
        logits_fake: Logits of the generated images, l(G(z)), of any batch size.
        smoothing: s, in [0, 0.5).

    Returns:
        The scalar means over the batch "real" and "fake", and, detached, the mean probabilities "D(real)" and
        "D(fake)" in [0, 1].
    """
    real = F.softplus(-logits_real)
    return {
        "real": precise_mean(real + smoothing * logits_real if smoothing else real),
        "fake": precise_mean(F.softplus(logits_fake)),
        "D(real)": precise_mean(logits_real.detach().sigmoid()),
        "D(fake)": precise_mean(logits_fake.detach().sigmoid()),
    }


class Logistic:
    """The loss of Goodfellow et al. 2014 with either of the paper's generator objectives; D returns logits (B,)."""

    def __init__(self, objective: str = "non-saturating", smoothing: float = 0.0, weight: float = 1.0) -> None:
        """Stores the settings.

        Args:
            objective: The generator's objective, "non-saturating" or "minimax".
            smoothing: One-sided label smoothing in [0, 0.5); see `logistic_terms`.
            weight: Factor on both of the discriminator's terms.
        """
        self.objective, self.smoothing, self.weight = objective, smoothing, weight

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """`logistic_terms`, times the weight. D is called once for real and once for generated images."""
        terms = logistic_terms(D(real), D(fake), self.smoothing)
        if self.weight == 1:
            return terms
        return {**terms, "real": self.weight * terms["real"], "fake": self.weight * terms["fake"]}

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """The mean of log(1 - D(G(z))) (minimax, equation 1) or of -log D(G(z)) (non-saturating, section 3)."""
        del real
        logits = D(fake)
        if self.objective == "minimax":
            return {"adversarial": -precise_mean(F.softplus(logits))}
        return {"adversarial": precise_mean(F.softplus(-logits))}


class RelativisticPairing:
    """Relativistic pairing (RpGAN): compares the logits l of pairs of a real and a generated image; l is (B,).

    Jolicoeur-Martineau 2018, section 3. With f(t) = -softplus(-t) it is equation 2 of Huang et al. 2024 (R3GAN), who
    add R1 and R2. The i-th real image is paired with the i-th fake, so there must be as many fakes as real images.
    """

    def discriminator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """E[softplus(l(G(z)) - l(x))], which is -log of the probability sigmoid(l(x) - l(G(z)))."""
        on_real, on_fake = D(real), D(fake)
        return {
            "relativistic": precise_mean(F.softplus(on_fake - on_real)),
            "D(real)": precise_mean(on_real.detach()),
            "D(fake)": precise_mean(on_fake.detach()),
        }

    def generator(self, D: Discriminator, real: Tensor, fake: Tensor) -> Terms:
        """E[softplus(l(x) - l(G(z)))]."""
        return {"adversarial": precise_mean(F.softplus(D(real) - D(fake)))}


class ObjectiveOptions(Options):
    """The choice among the logistic losses, and their settings."""

    objective: Literal["non-saturating", "minimax", "relativistic"] = "non-saturating"
    """The generator's loss: non-saturating, -log D(G(z)); minimax, log(1 - D(G(z))), whose gradient vanishes where D
    is confident; or relativistic, which compares pairs of a real and a generated image in both networks' losses."""
    label_smoothing: LabelSmoothing = 0.0
    discriminator_weight: float = Field(1.0, gt=0)
    """Weight of both of the discriminator's terms; 0.5 gives the mean over a batch that is half real and half fake."""

    @field_validator("label_smoothing", "discriminator_weight")
    @classmethod
    def unless_paired(cls, value: float, info: ValidationInfo) -> float:
        """Validates an option that does not apply to relativistic pairing, and returns its value.

        Args:
            value: The option's value.
            info: The validator's context: the option's name, and the options before it.

        Raises:
            ValueError: The objective is relativistic and the value is not the default.
        """
        assert info.field_name is not None
        default = cls.model_fields[info.field_name].default
        if info.data.get("objective") == "relativistic" and value != default:
            raise ValueError(
                f"{default} with objective=relativistic, whose only term compares pairs of images and uses no labels"
            )
        return value

    def make_loss(self) -> Loss:
        """Returns the selected loss."""
        if self.objective == "relativistic":
            return RelativisticPairing()
        return Logistic(self.objective, self.label_smoothing, self.discriminator_weight)
