"""WGAN: a critic that estimates the Wasserstein distance, kept Lipschitz by weight clipping or a gradient penalty.

The networks are DCGAN's, without batch normalisation in the critic.
"""

from functools import partial
from typing import ClassVar, Literal

from gan_core_dcgan import DcganNetworkOptions, dcgan_networks
from pydantic import Field, ValidationInfo, field_validator

from gan_core import (
    AugmentOptions,
    Batch,
    DataSpec,
    Game,
    Networks,
    Phase,
    Terms,
    Variant,
    adam,
    generated,
    lipschitz_penalty,
    normal_latents,
    precise_mean,
    rmsprop,
)


class WganOptions(AugmentOptions, DcganNetworkOptions):
    """Options of WGAN and WGAN-GP."""

    discriminator_norm: Literal["none", "batch", "spectral"] = "none"
    """The critic's normalisation. penalty=gradient excludes batch, penalty=clip excludes spectral."""
    penalty: Literal["clip", "gradient"] = "clip"
    """clip: WGAN with weight clipping and RMSProp; gradient: WGAN-GP with Adam, betas 0 and 0.9."""
    clip: float = Field(0.01, gt=0)
    """For penalty=clip: the critic's weights are clipped to [-clip, clip] (Arjovsky et al. 2017, algorithm 1)."""
    weight: float = Field(10.0, ge=0)
    """For penalty=gradient: the weight λ of the penalty (Gulrajani et al. 2017, algorithm 1)."""
    critic_steps: int = Field(5, ge=1)
    """Updates of the critic, each on a new batch, per update of the generator."""
    lr: float | None = Field(None, gt=0)
    """Learning rate; by default the papers': 5e-5 for penalty=clip, 1e-4 for penalty=gradient."""
    critic_lr: float | None = Field(None, gt=0)
    """Learning rate of the critic, if it differs from lr (TTUR, Heusel et al. 2017, section 2)."""

    signed: ClassVar = False
    augment_target: float | None = None
    """Must be null: a critic's outputs have no sign, so augment=ada keeps the probability augment_p."""

    unsuitable: ClassVar = {
        "label_smoothing": "it softens the labels of a cross-entropy, and a critic's losses have no labels",
        "objective": "the Wasserstein distance is this variant's objective: --variant dcgan has others",
        **dict.fromkeys(("r1", "r2"), "penalty=gradient is this variant's gradient penalty, and `weight` its weight"),
    }

    @field_validator("penalty")
    @classmethod
    def _matches_normalisation(cls, penalty: str, info: ValidationInfo) -> str:
        if penalty == "gradient":
            cls.refuse_batch_norm(info, allowed="clip")
        elif info.data.get("discriminator_norm") == "spectral":
            raise ValueError("gradient with discriminator_norm=spectral, which removes the scale that clipping sets")
        return penalty


def build(options: WganOptions, data: DataSpec) -> Game:
    """Returns the game; see `dcgan_networks` for the images that it supports."""
    generator, critic = dcgan_networks(options, data)

    def critic_loss(networks: Networks, batch: Batch) -> Terms:
        """E[D(x̃)] - E[D(x)], the negative of the distance's estimate, plus λ times the penalty of WGAN-GP."""
        fake = networks["generator"](**batch.inputs)
        on_real, on_fake = precise_mean(networks["critic"](batch.images)), precise_mean(networks["critic"](fake))
        terms = {"real": -on_real, "fake": on_fake, "wasserstein": (on_real - on_fake).detach()}
        if options.penalty == "gradient":
            epsilon = batch.random.uniform(1, 1, 1)
            terms["penalty"] = options.weight * lipschitz_penalty(networks["critic"], batch.images, fake, epsilon)
        return terms

    def generator_loss(networks: Networks, batch: Batch) -> Terms:
        """-E[D(G(z))]."""
        return {"adversarial": -precise_mean(networks["critic"](networks["generator"](**batch.inputs)))}

    def clip_weights(networks: Networks, terms: Terms, batch: Batch) -> None:
        del terms, batch
        for parameter in networks["critic"].parameters():
            parameter.clamp_(-options.clip, options.clip)

    clipped = options.penalty == "clip"
    lr = options.lr or (5e-5 if clipped else 1e-4)
    make_optimizer = rmsprop if clipped else partial(adam, betas=(0.0, 0.9))
    game = Game(
        networks={"generator": generator, "critic": critic},
        phases=[
            Phase(
                name="critic",
                trains=("critic",),
                loss=critic_loss,
                optimizer=make_optimizer(options.critic_lr or lr),
                repeats=options.critic_steps,
                after=clip_weights if clipped else None,
            ),
            Phase(name="generator", trains=("generator",), loss=generator_loss, optimizer=make_optimizer(lr)),
        ],
        draw=normal_latents(options.latent),
        outputs={"images": generated()},
    )
    return options.augmented(game, data, network="critic")


variant = Variant(
    api=2,
    options=WganOptions,
    build=build,
    paper="Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875; Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028",
    small={"width": 8},
)
