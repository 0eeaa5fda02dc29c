"""A game in which rows of other processes and earlier updates count: on two tables, with a pool, as a variant.

Fakes of the whole micro-batch pass through a pool (Shrivastava et al. 2017), the discriminator sees the deviation of
its features over the micro-batch, a lazy penalty differentiates through it, and running means change the loss and the
optimizer. In one update the gradient of one row is NaN.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_core import Batch, DataSpec, Game, Moment, Networks, Options, Output, Phase, Terms, Variant, adam


class MemoryOptions(Options):
    """Options of the game."""

    bad: int = -1
    """The step in which the gradient of the first row is NaN; none if negative."""


class Pool:
    """The last fakes: half of the new ones are exchanged for older ones."""

    def __init__(self, size: int) -> None:
        self.size, self.images = size, list[Tensor]()

    def exchange(self, fakes: Tensor, uniform: Tensor) -> Tensor:
        """Returns new or older fakes (N, ...) for new ones, by the numbers (N, 2) in [0, 1)."""
        chosen = []
        for fake, (coin, place) in zip(fakes, uniform.tolist(), strict=True):
            if len(self.images) < self.size:
                self.images.append(fake)
            elif coin < 0.5:
                fake, self.images[int(place * self.size)] = self.images[int(place * self.size)], fake
            chosen.append(fake)
        return torch.stack(chosen)

    def state_dict(self) -> dict[str, Any]:
        return {"images": list(self.images)}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self.images = list(state["images"])


class Means(nn.Module):
    """Running means of earlier updates."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("slope", torch.zeros((), dtype=torch.float64))
        self.register_buffer("k", torch.zeros((), dtype=torch.float64))
        self.slope: Tensor
        self.k: Tensor


class Discriminator(nn.Module):
    """Scores images by their features, and by the deviation of the features over all rows."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 6), nn.Softplus())
        self.score = nn.Linear(7, 1)

    def forward(self, images: Tensor, batch: Batch) -> Tensor:
        features = self.features(images)
        everyone = batch.processes.gather(features)
        deviation = everyone.var(0, unbiased=False).add(1e-4).sqrt().mean()
        return self.score(torch.cat([features, deviation.expand(len(features), 1)], 1)).squeeze(1)


def build(options: MemoryOptions, data: DataSpec) -> Game:
    image = data.image("b")
    pool, means = Pool(50), Means()
    generator = nn.Sequential(nn.Conv2d(image.channels, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, image.channels, 1))

    def discriminator_loss(networks: Networks, batch: Batch) -> Terms:
        shared = batch.processes
        new = shared.gather(networks["generator"](batch.real["a"]).detach())
        fakes = shared.share(pool.exchange(new, shared.gather(batch.random.uniform(2))))
        real = softplus(-networks["discriminator"](batch.real["b"], batch))
        if batch.moment.images_seen == options.bad * batch.moment.batch:
            real = real / (shared.share(torch.arange(len(new))) > 0)  # 1/0 = inf has the gradient NaN.
        fake = softplus(networks["discriminator"](fakes, batch))
        return {"real": real.mean(), "fake": (1 + means.k) * fake.mean()}

    def penalty(networks: Networks, batch: Batch) -> Terms:
        images = batch.real["b"].detach().requires_grad_()
        scores = networks["discriminator"](images, batch).sum()
        (gradient,) = torch.autograd.grad(scores, images, create_graph=True)
        return {"r1": 2 * gradient.square().sum((1, 2, 3)).mean()}

    def generator_loss(networks: Networks, batch: Batch) -> Terms:
        fake = networks["generator"](batch.real["a"])
        slope = batch.processes.mean(fake.diff(dim=3).square().mean())
        means.slope.lerp_(slope.detach().double(), 0.1)
        adversarial = softplus(-networks["discriminator"](fake, batch)).mean()
        return {"adversarial": adversarial, "slope": 10 * (slope - means.slope).square()}

    def after(networks: Networks, terms: Terms, batch: Batch) -> Terms:
        brightness = batch.processes.gather(batch.real["a"]).mean()
        means.k.add_(0.1 * (terms["real"] - terms["fake"]) + 0.01 * brightness).clamp_(-0.5, 0.5)
        return {"k": means.k}

    def tune(moment: Moment) -> Mapping[str, Any]:
        return {"lr": 1e-2 * (1 - moment.progress / 2) / (1 + abs(float(means.k))), "betas": (0.5, 0.9 + means.k / 20)}

    def generate(networks: Networks, inputs: Mapping[str, Tensor], sampling: Options) -> Tensor:
        return networks["generator"](inputs["a"]).clamp(-1, 1)

    return Game(
        networks={"generator": generator, "discriminator": Discriminator(image.channels * image.height * image.width)},
        phases=[
            Phase(
                name="discriminator",
                trains=("discriminator",),
                loss=discriminator_loss,
                optimizer=adam(1e-2, lazy_every=2),
                after=after,
            ),
            Phase(name="penalty", trains=("discriminator",), loss=penalty, optimizer="discriminator", every=2),
            Phase(
                name="generator",
                trains=("generator",),
                loss=generator_loss,
                optimizer=adam(1e-2),
                on="discriminator",
                tune=tune,
            ),
        ],
        draw=lambda random, request: dict(request.given),
        outputs={"b": Output(generate=generate, like="b", given=("a",), columns=("a", "b"))},
        half_life=lambda moment: 100 + moment.images_seen / 2,
        state={"pool": pool, "means": means},
    )


variant = Variant(api=2, options=MemoryOptions, build=build, needs=("a", "b"))


def write_images(folder: Path) -> None:
    """Writes two tables of different counts, of grey images of 8 x 8 pixels, in the layout of `unpaired:`."""
    random = np.random.default_rng(0)
    for name, count in {"trainA": 75, "trainB": 43, "testA": 5, "testB": 4}.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / name / f"{number}.png")
