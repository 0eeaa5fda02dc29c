"""WGAN: a critic that estimates the Wasserstein distance, kept Lipschitz by weight clipping or by a gradient penalty.

The networks are DCGAN's, without batch normalisation in the critic.
"""

from functools import partial
from typing import ClassVar, Literal

import torch
from gan_core_dcgan import DcganNetworkOptions, dcgan_networks
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from gan_core import Batch, DataSpec, Game, Networks, Phase, Terms, Variant, adam, normal_latents, rmsprop


class WganOptions(DcganNetworkOptions):
    """What can be set with `--set key=value`."""

    discriminator_norm: Literal["none", "batch", "spectral"] = "none"
    """The critic's normalisation. With a gradient penalty it cannot be batch, with clipping not spectral."""
    penalty: Literal["clip", "gradient"] = "clip"
    """clip is WGAN, with RMSProp; gradient is WGAN-GP, with Adam (0, 0.9)."""
    clip: float = Field(0.01, gt=0)
    """With clip: the critic's weights are held in [-clip, clip] (Arjovsky et al. 2017, algorithm 1)."""
    weight: float = Field(10.0, ge=0)
    """With gradient: λ, the weight of the penalty (Gulrajani et al. 2017, algorithm 1)."""
    critic_steps: int = Field(5, ge=1)
    """Turns of the critic, each on fresh data, for each turn of the generator."""
    lr: float | None = Field(None, gt=0)
    """The learning rate; without it the papers' own: 5e-5 with clip, 1e-4 with gradient."""
    critic_lr: float | None = Field(None, gt=0)
    """The critic's learning rate, where it has one of its own (TTUR, Heusel et al. 2017, section 2)."""

    unsuitable: ClassVar = {
        "label_smoothing": "it softens the labels of a cross-entropy, and a critic's losses have no labels",
        "objective": "the Wasserstein distance is this variant's objective: --variant dcgan has others",
        **dict.fromkeys(("r1", "r2"), "penalty=gradient is this variant's penalty on slopes, and `weight` its weight"),
    }

    @field_validator("penalty")
    @classmethod
    def _suits_the_critic(cls, penalty: str, info: ValidationInfo) -> str:
        if penalty == "gradient":
            cls.refuse_batch_norm(info, allowed="clip")
        elif info.data.get("discriminator_norm") == "spectral":
            raise ValueError("gradient with discriminator_norm=spectral, which takes away the scale that clipping sets")
        return penalty


def gradient_penalty(critic: torch.nn.Module, real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """E[(‖∇D(x̂)‖₂ - 1)²] at x̂ = εx + (1 - ε)x̃ (Gulrajani et al. 2017, equation 3).

    Args:
        critic: Judges each image by itself: no batch normalisation.
        real: x, (B, C, H, W).
        fake: x̃, (B, C, H, W).
        epsilon: Uniform in [0, 1), one for each image: (B, 1, 1, 1).

    Returns:
        A scalar in float32 or better, whatever the precision of the run.
    """
    with torch.autocast(real.device.type, enabled=False):
        between = torch.lerp(fake.to(real), real, epsilon).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return penalty


def build(options: WganOptions, data: DataSpec) -> Game:
    """Makes the game for square images of 8, 12, 16, ... pixels a side."""
    generator, critic = dcgan_networks(options, data)

    def criticise(networks: Networks, batch: Batch) -> Terms:
        """E[D(x̃)] - E[D(x)] (+ λ penalty): minus the estimate of the distance."""
        fake = networks["generator"](**batch.inputs)
        on_real, on_fake = networks["critic"](batch.images).mean(), networks["critic"](fake).mean()
        terms = {"real": -on_real, "fake": on_fake, "wasserstein": (on_real - on_fake).detach()}
        if options.penalty == "gradient":
            epsilon = batch.random.uniform(1, 1, 1)
            terms["penalty"] = options.weight * gradient_penalty(networks["critic"], batch.images, fake, epsilon)
        return terms

    def deceive(networks: Networks, batch: Batch) -> Terms:
        """-E[D(G(z))]."""
        return {"adversarial": -networks["critic"](networks["generator"](**batch.inputs)).mean()}

    def clip(networks: Networks, terms: Terms) -> None:
        del terms
        for parameter in networks["critic"].parameters():
            parameter.clamp_(-options.clip, options.clip)

    clipped = options.penalty == "clip"
    lr = options.lr or (5e-5 if clipped else 1e-4)
    make_optimizer = rmsprop if clipped else partial(adam, betas=(0.0, 0.9))
    return Game(
        networks={"generator": generator, "critic": critic},
        phases=[
            Phase(
                name="critic",
                trains=("critic",),
                loss=criticise,
                optimizer=make_optimizer(options.critic_lr or lr),
                repeats=options.critic_steps,
                after=clip if clipped else None,
            ),
            Phase(name="generator", trains=("generator",), loss=deceive, optimizer=make_optimizer(lr)),
        ],
        draw=normal_latents(options.latent),
        generate=lambda networks, inputs: networks["generator"](**inputs),
    )


variant = Variant(
    api=1,
    options=WganOptions,
    build=build,
    paper="Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875; Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028",
)
