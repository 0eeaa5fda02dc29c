"""CycleGAN: translates images between two domains, a and b, of which there are no pairs.

Two generators and two discriminators; each generator must undo what the other does (cycle consistency). Images of both
domains have one size, whose sides are multiples of 4.
"""

from functools import partial

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from gan_core import (
    Batch,
    DataSpec,
    Game,
    ImagePool,
    Inputs,
    Networks,
    OptimizerOptions,
    Options,
    Output,
    PatchDiscriminator,
    Phase,
    Request,
    ResnetGenerator,
    Terms,
    Variant,
    check_sides,
    patch_map,
    precise_mean,
)

OTHER = {"a": "b", "b": "a"}


class CycleganOptions(OptimizerOptions):
    """Options of CycleGAN. The defaults are the paper's, and Adam with a learning rate of 2e-4 and betas 0.5, 0.999."""

    cycle: float = Field(10.0, ge=0)
    """Weight λ of the cycle consistency loss (equation 3)."""
    identity: float = Field(0.5, ge=0)
    """Weight of the identity loss (section 5.2), as a fraction of `cycle`. 0 where a and b have other channels."""
    pool: int = Field(50, ge=0)
    """Images in the pool of each discriminator (Shrivastava et al. 2017); 0 shows them new images only."""
    width: int = Field(64, ge=1)
    """Feature maps of the generators' first layer; the residual blocks have 4 times as many."""
    blocks: int | None = Field(None, ge=1)
    """Residual blocks of the generators; by default 6 for images of up to 128 pixels, 9 for larger ones."""
    discriminator_width: int = Field(64, ge=1)
    """Feature maps of the discriminators' first layer."""
    patch_layers: int = Field(3, ge=1, le=6)
    """Layers of the discriminators with stride 2; patches have 16, 34 or 70 pixels a side with 1, 2 or 3."""


def squared(logits: Tensor, target: float) -> Tensor:
    """Returns the mean of (logits - target)², the least-squares loss (Mao et al. 2017)."""
    return precise_mean((logits - target).square())


def distance(images: Tensor, others: Tensor) -> Tensor:
    """Returns the mean absolute difference of two batches of images (the L1 norm of the paper, per value)."""
    return precise_mean((images - others).abs())


def translations(networks: Networks, batch: Batch) -> dict[str, Tensor]:
    """G(a) and F(b), by the domain that they are to belong to."""
    return {target: networks[f"generator_{source}{target}"](batch.real[source]) for source, target in OTHER.items()}


def generators_loss(networks: Networks, batch: Batch, options: CycleganOptions) -> Terms:
    """Equation 3 with least squares: (D_b(G(a)) - 1)² + λ |F(G(a)) - a| + λ · identity |G(b) - b|, and with a for b.

    Zhu et al. 2017, equations 1 and 2, sections 4 and 5.2; G is generator_ab, F generator_ba. Terms are named after the
    domain of the images that they judge.
    """
    terms: dict[str, Tensor] = {}
    for source, target in OTHER.items():
        there, back = networks[f"generator_{source}{target}"], networks[f"generator_{target}{source}"]
        real, real_target, fake = batch.real[source], batch.real[target], batch.fake[target]
        terms[f"adversarial_{target}"] = squared(networks[f"discriminator_{target}"](fake), 1.0)
        terms[f"cycle_{source}"] = options.cycle * distance(back(fake), real)
        if options.identity:
            terms[f"identity_{target}"] = options.cycle * options.identity * distance(there(real_target), real_target)
    return terms


def discriminators_loss(networks: Networks, batch: Batch, pools: dict[str, ImagePool]) -> Terms:
    """((D_b(b) - 1)² + D_b(b̂)²) / 2 with b̂ from the pool of G(a), and the same for a.

    "We divide the objective by 2 while optimizing D, which slows down the rate at which D learns" (section 4).
    """
    terms: dict[str, Tensor] = {}
    for target in OTHER.values():
        fake = pools[target].exchange(batch.fake[target], batch)
        discriminator = networks[f"discriminator_{target}"]
        terms[f"real_{target}"] = 0.5 * squared(discriminator(batch.real[target]), 1.0)
        terms[f"fake_{target}"] = 0.5 * squared(discriminator(fake), 0.0)
    return terms


def translation(source: str, target: str) -> Output:
    """Returns the output `target`: the translations of real images of `source`, which are translated back as well."""

    def generate(networks: Networks, inputs: Inputs, options: Options) -> dict[str, Tensor]:
        del options
        fake = networks[f"generator_{source}{target}"](inputs[source])
        return {target: fake, "reconstructed": networks[f"generator_{target}{source}"](fake)}

    return Output(generate=generate, like=target, given=(source,), columns=(source, target, "reconstructed"))


def draw(random: np.random.Generator, request: Request) -> Inputs:
    """Returns the given images: the generators have no other input."""
    del random
    return request.given


def build(options: CycleganOptions, data: DataSpec) -> Game:
    """Returns the game.

    Raises:
        ValueError: Images of a and b have not one size, or other channels with an identity loss, or do not fit the
            networks.
    """
    images = {domain: data.image(domain) for domain in OTHER}
    height, width = images["a"].height, images["a"].width
    if (height, width) != (images["b"].height, images["b"].width):
        raise ValueError(
            f"images of both domains must have one size, but there are {data.described()}: pass --image-size PIXELS"
        )
    if options.identity and images["a"].channels != images["b"].channels:
        raise ValueError(
            f"the identity loss needs images of one colour, but there are {data.described()}: pass --channels 3, or "
            "--set identity=0"
        )
    check_sides(height, width)
    try:
        patch_map(height, width, options.patch_layers)
    except ValueError as error:
        raise ValueError(f"patch_layers: {error}") from error
    blocks = options.blocks or (6 if max(height, width) <= 128 else 9)
    networks: dict[str, nn.Module] = {}
    for source, target in OTHER.items():
        networks[f"generator_{source}{target}"] = ResnetGenerator(
            images[source].channels, images[target].channels, width=options.width, blocks=blocks
        )
    for domain, image in images.items():
        networks[f"discriminator_{domain}"] = PatchDiscriminator(
            image.channels, width=options.discriminator_width, layers=options.patch_layers
        )
    pools = {domain: ImagePool(options.pool) for domain in OTHER}
    generator_optimizer, discriminator_optimizer = options.make_optimizers()
    return Game(
        networks=networks,
        phases=[
            Phase(
                name="generators",
                trains=("generator_ab", "generator_ba"),
                loss=partial(generators_loss, options=options),
                optimizer=generator_optimizer,
                make_fake=translations,
            ),
            Phase(
                name="discriminators",
                trains=("discriminator_a", "discriminator_b"),
                loss=partial(discriminators_loss, pools=pools),
                optimizer=discriminator_optimizer,
                on="generators",
            ),
        ],
        draw=draw,
        outputs={"b": translation("a", "b"), "a": translation("b", "a")},
        ema=("generator_ab", "generator_ba"),
        state={f"pool_{domain}": pool for domain, pool in pools.items()},
    )


variant = Variant(
    api=2,
    options=CycleganOptions,
    build=build,
    paper="Zhu et al. 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, "
    "https://arxiv.org/abs/1703.10593",
    needs=("a", "b"),
    defaults={"batch": 1, "epochs": 200, "lr_schedule": "linear", "ema_kimg": 0},
    small={"width": 4, "blocks": 1, "discriminator_width": 4, "patch_layers": 1},
)
