"""BEGAN: an auto-encoder as the discriminator, kept in balance with the generator (Berthelot et al. 2017).

L(v) = |v - D(v)| is the auto-encoder's error. D lowers it for real images and raises it for fakes, with a weight k that
holds E[L(G(z))] at gamma · E[L(x)]; G lowers it for its own images.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from gan_core import (
    Batch,
    DataSpec,
    Game,
    Moment,
    Networks,
    Options,
    Phase,
    Terms,
    Variant,
    adam,
    generated,
    generated_images,
    precise_mean,
    uniform_latents,
)


class BeganOptions(Options):
    """Options of BEGAN; the defaults are the paper's (sections 3.4, 3.5 and 4.1)."""

    gamma: float = Field(0.5, ge=0, le=1)
    """Diversity ratio E[L(G(z))] / E[L(x)]: with a lower one, images are sharper and less diverse (equation 4)."""
    lambda_k: float = Field(0.001, ge=0)
    """Learning rate of k, the weight of the fakes in the discriminator's loss."""
    lr: float = Field(1e-4, gt=0)
    """Learning rate of Adam, with betas 0.9 and 0.999. It is halved each time the convergence measure M stalls."""
    patience: int = Field(500_000, ge=1)
    """Real images without a new lowest M after which M has stalled. M is averaged with a tenth of this as half-life."""
    latent: int = Field(64, ge=1)
    """Size of the latent z ~ U[-1, 1], and of the auto-encoder's hidden state."""
    width: int = Field(64, ge=1)
    """Feature maps n of the decoders. The encoder has n, and n more after each halving of the image's side."""
    repeats: int = Field(2, ge=1)
    """3 x 3 convolutions at each size of the image."""


def halvings(image_size: int) -> int:
    """Returns how many times the side is halved, at least once, to at most 8: 64 -> 8, 32 -> 8, 28 -> 7, 8 -> 4.

    Raises:
        ValueError: That ends at no whole number of pixels, or below 4.
    """
    count = 1
    while image_size > 8 * 2**count:
        count += 1
    if image_size % 2**count or image_size < 8:
        nearest = max(8, round(image_size / 2**count) * 2**count)
        raise ValueError(
            f"image size {image_size} does not fit BEGAN, which halves it {count} times: it must be a multiple of "
            f"{2**count}, and at least 8. Try --image-size {nearest}"
        )
    return count


def initialise(module: nn.Module) -> None:
    """Draws weights from Glorot's uniform distribution, with biases of 0; the paper does not name its own.

    torch's default for convolutions shrinks the variance of its input to about a third. After the layers of a decoder
    all latents then give nearly the same image, and the generator stays collapsed.
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def convolution(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    """Returns a 3 x 3 convolution and an ELU."""
    return [nn.Conv2d(before, after, 3, stride, 1), nn.ELU()]


def decoder(options: BeganOptions, data: DataSpec) -> nn.Sequential:
    """Returns the generator, or the discriminator's second half: (B, latent) -> (B, C, H, W), without limits."""
    count, n = halvings(data.image_size), options.width
    side = data.image_size >> count
    layers: list[nn.Module] = [nn.Linear(options.latent, n * side * side), nn.Unflatten(1, (n, side, side))]
    for stage in range(count + 1):
        layers += [nn.Upsample(scale_factor=2, mode="nearest")] if stage else []
        layers += [layer for _ in range(options.repeats) for layer in convolution(n, n)]
    return nn.Sequential(*layers, nn.Conv2d(n, data.channels, 3, 1, 1))


def encoder(options: BeganOptions, data: DataSpec) -> nn.Sequential:
    """Returns the discriminator's first half: (B, C, H, W) -> (B, latent)."""
    count, n = halvings(data.image_size), options.width
    layers = convolution(data.channels, n)
    for stage in range(count + 1):
        layers += convolution(stage * n, (stage + 1) * n, stride=2) if stage else []
        layers += [layer for _ in range(options.repeats) for layer in convolution((stage + 1) * n, (stage + 1) * n)]
    side = data.image_size >> count
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear((count + 1) * n * side * side, options.latent))


class Generator(nn.Module):
    """z (B, latent) -> images (B, C, H, W): the decoder of figure 1, whose pixels have no limits."""

    def __init__(self, options: BeganOptions, data: DataSpec) -> None:
        super().__init__()
        self.decoder = decoder(options, data).apply(initialise)

    def forward(self, z: Tensor) -> Tensor:
        """Returns one image for each latent."""
        images: Tensor = self.decoder(z)
        return images


class Balance(nn.Module):
    """What BEGAN knows of its course: k, and the factor on the learning rate.

    All of it stays on the device, so that no update waits for it.
    """

    k: Tensor
    real: Tensor
    smoothed: Tensor
    best: Tensor
    since: Tensor
    factor: Tensor

    def __init__(self, options: BeganOptions) -> None:
        super().__init__()
        self.options = options
        for name, value in {"k": 0.0, "real": 0.0, "smoothed": torch.inf, "best": torch.inf, "factor": 1.0}.items():
            self.register_buffer(name, torch.tensor(value))
        self.register_buffer("since", torch.tensor(0))

    def update(self, fake: Tensor, images: int) -> Terms:
        """Moves k towards the balance (equation 5), and halves the factor if M has stalled.

        Args:
            fake: E[L(G(z))]; E[L(x)] is `real`.
            images: Real images of the step.

        Returns:
            The new k, and M = L(x) + |gamma L(x) - L(G(z))| (section 3.4.1).
        """
        imbalance = self.options.gamma * self.real - fake
        self.k.add_(self.options.lambda_k * imbalance).clamp_(0, 1)
        convergence = self.real + imbalance.abs()
        self.watch(convergence, images)
        return {"k": self.k.clone(), "M": convergence}

    def watch(self, convergence: Tensor, images: int) -> None:
        """Averages M, and halves the factor after `patience` images without a new lowest average."""
        old = 0.5 ** (10 * images / self.options.patience)
        average = torch.where(self.smoothed.isinf(), convergence, old * self.smoothed + (1 - old) * convergence)
        self.smoothed.copy_(average)
        self.since.copy_(torch.where(self.smoothed < self.best, 0, self.since + images))
        self.best.copy_(torch.minimum(self.best, self.smoothed))
        stalled = self.since >= self.options.patience
        self.factor.copy_(torch.where(stalled, self.factor / 2, self.factor))
        self.since.copy_(torch.where(stalled, 0, self.since))


def error(auto_encoder: nn.Module, images: Tensor) -> Tensor:
    """E[L(v)] = E|v - D(v)| (equation 1 with η = 1), the mean over pixels and images, at least float32."""
    return precise_mean((images - auto_encoder(images)).abs())


def build(options: BeganOptions, data: DataSpec) -> Game:
    """Returns the game; see `halvings` for the image sizes that it supports."""
    generator = Generator(options, data)
    auto_encoder = nn.Sequential(encoder(options, data), decoder(options, data)).apply(initialise)
    balance = Balance(options)

    def made(batch: Batch) -> Tensor:
        return batch.fake["images"].to(batch.images)

    def discriminator_loss(networks: Networks, batch: Batch) -> Terms:
        """L(x) - k L(G(z_D)) (equation 5)."""
        real, fake = (error(networks["discriminator"], images) for images in (batch.images, made(batch)))
        return {"real": real, "fake": -balance.k * fake, "L(fake)": fake.detach()}

    def generator_loss(networks: Networks, batch: Batch) -> Terms:
        """L(G(z_G)), on latents of its own (equation 5)."""
        return {"fake": error(networks["discriminator"], made(batch))}

    def keep_real(networks: Networks, terms: Terms, batch: Batch) -> None:
        del networks, batch
        balance.real.copy_(terms["real"])

    def move_balance(networks: Networks, terms: Terms, batch: Batch) -> Terms:
        del networks
        return balance.update(terms["fake"], batch.moment.batch)

    def tune(moment: Moment) -> dict[str, Tensor]:
        """Returns the learning rate as a tensor on the device, which torch's fused Adam reads there."""
        del moment
        return {"lr": options.lr * balance.factor}

    return Game(
        networks={"generator": generator, "discriminator": auto_encoder},
        phases=[
            Phase(
                name="discriminator",
                trains=("discriminator",),
                loss=discriminator_loss,
                optimizer=adam(options.lr),
                make_fake=generated_images,
                tune=tune,
                after=keep_real,
            ),
            Phase(
                name="generator",
                trains=("generator",),
                loss=generator_loss,
                optimizer=adam(options.lr),
                make_fake=generated_images,
                tune=tune,
                after=move_balance,
            ),
        ],
        draw=uniform_latents(options.latent),
        outputs={"images": generated(clamp=True)},
        state={"balance": balance},
    )


variant = Variant(
    api=2,
    options=BeganOptions,
    build=build,
    paper="Berthelot et al. 2017, BEGAN: Boundary Equilibrium Generative Adversarial Networks, "
    "https://arxiv.org/abs/1703.10717",
    defaults={"batch": 16},
    small={"width": 4, "latent": 8, "repeats": 1},
)
