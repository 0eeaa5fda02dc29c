"""StyleGAN2: a latent is mapped to styles, which modulate each layer's weights (Karras et al. 2020).

The generator adds images of all sizes, the discriminator is residual. R1 and a penalty on the generator's path lengths
are computed in some steps only, and share the main phases' optimizers, which are corrected for it (appendix B).
"""

from functools import partial
from math import sqrt

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from gan_core import (
    Batch,
    DataSpec,
    Discriminator,
    EqualisedConv2d,
    EqualisedLinear,
    Game,
    Inputs,
    Logistic,
    MinibatchStd,
    ModulatedConv2d,
    Networks,
    Options,
    Output,
    PathLength,
    Phase,
    Processes,
    Request,
    StyledConv2d,
    Terms,
    Variant,
    adam,
    blur,
    doubled_sides,
    downsample,
    generated_images,
    precise,
    scaled_leaky_relu,
    squared_gradient_norm,
    upsample,
)

PATH_EVERY, R1_EVERY = 4, 16
"""The steps in which the penalties are computed, with that many times their weight (appendix B)."""
W_DECAY = 0.995
"""What is left of the moving average of w after an update, as in the authors' code."""


class Stylegan2Options(Options):
    """Options of StyleGAN2; the defaults are those of configuration F."""

    width: int = Field(512, ge=1)
    """The most channels that a layer has."""
    base: int = Field(32768, ge=1)
    """Channels of maps of s x s pixels are base / s, but at most width: 512 up to 64 pixels, then 256, 128, ..."""
    latent: int = Field(512, ge=1)
    """Size of the latent z, and of w, from which the styles come."""
    mapping_layers: int = Field(8, ge=1)
    """Layers of the mapping network; the authors' later code has 2 for small data sets."""
    mixing: float = Field(0.9, ge=0, le=1)
    """Probability of style mixing: the layers from a random one on get the styles of another latent."""
    group: int = Field(4, ge=1)
    """Images of a group of the discriminator's minibatch standard deviation."""
    lr: float = Field(0.002, gt=0)
    """Learning rate of Adam, with betas 0 and 0.99."""
    r1: float = Field(10.0, ge=0)
    """Weight γ of R1; 0 leaves it out. The authors' rule of thumb is 0.0002 · pixels / batch, 0.0032 for 32 x 32."""
    path_weight: float = Field(2.0, ge=0)
    """Weight of the path length penalty; 0 leaves it out, as the authors do for CIFAR-10."""


class Stylegan2Sampling(Options):
    """Options with which samples are drawn."""

    psi: float = Field(1.0, ge=0, le=1)
    """Truncation: w is moved towards its mean, and psi of the distance is left (Karras et al. 2019, appendix B)."""
    noise: bool = True
    """Whether the layers add noise, which is fixed by the seed. Without it the generator can be exported."""


class Stylegan2Generator(nn.Module):
    """z (B, latent) -> w (B, latent) -> images (B, C, H, W), without limits."""

    def __init__(self, options: Stylegan2Options, data: DataSpec, channels: list[int]) -> None:
        super().__init__()
        size, self.count = options.latent, 2 * len(channels)
        depth = options.mapping_layers
        self.mapping = nn.ModuleList(EqualisedLinear(size, size, lr_multiplier=0.01) for _ in range(depth))
        self.w_mean = nn.Buffer(torch.zeros(size))
        self.constant = nn.Parameter(torch.randn(channels[0], 4, 4))
        self.layers, self.colours = nn.ModuleList(), nn.ModuleList()
        for stage, width in enumerate(channels):
            self.layers.extend([StyledConv2d(channels[stage - 1], width, size, up=True)] if stage else [])
            self.layers.append(StyledConv2d(width, width, size))
            self.colours.append(ModulatedConv2d(width, data.channels, 1, size, demodulate=False))

    def mapped(self, z: Tensor) -> Tensor:
        """Returns w (B, latent)."""
        w = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.mapping:
            w = scaled_leaky_relu(layer(w))
        return w

    def styles(self, z: Tensor, other: Tensor | None = None, first: Tensor | None = None) -> Tensor:
        """Returns the w of each of the 2 n layers, (B, 2 n, latent): those of `other` from layer `first` (B,) on."""
        ws = self.mapped(z)[:, None].expand(-1, self.count, -1)
        if other is None or first is None:
            return ws
        swapped = torch.arange(self.count, device=z.device) >= first[:, None]
        return torch.where(swapped[:, :, None], self.mapped(other)[:, None], ws)

    def drawn(self, ws: Tensor, noise: bool = True) -> Tensor:
        """Returns images (B, C, H, W): the sum of those of n sizes."""
        w = ws.unbind(1)
        x = self.layers[0](self.constant.expand(len(ws), -1, -1, -1), w[0], noise)
        images: Tensor = self.colours[0](x, w[1])
        for stage in range(1, len(self.colours)):
            for layer in (2 * stage - 1, 2 * stage):
                x = self.layers[layer](x, w[layer], noise)
            images = upsample(images) + self.colours[stage](x, w[2 * stage + 1])
        return images

    def forward(
        self, z: Tensor, other: Tensor | None = None, first: Tensor | None = None, psi: float = 1, noise: bool = True
    ) -> Tensor:
        """Returns one image for each latent; see `styles`, and `Stylegan2Sampling` for psi and noise."""
        ws = self.styles(z, other, first)
        return self.drawn(ws if psi == 1 else self.w_mean.lerp(ws, psi), noise)


class Halve(nn.Module):
    """A residual block of the discriminator: (B, channels, H, W) -> (B, out_channels, H / 2, W / 2)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = EqualisedConv2d(channels, channels, 3, padding=1)
        self.second = EqualisedConv2d(channels, out_channels, 3, stride=2)
        self.skip = EqualisedConv2d(channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the maps; both branches have half of the variance."""
        y: Tensor = scaled_leaky_relu(self.second(blur(scaled_leaky_relu(self.first(x)), 2))) + self.skip(downsample(x))
        return y * sqrt(0.5)


class Stylegan2Discriminator(nn.Module):
    """Images (B, C, H, W) -> logits (B,), each of which also depends on the other images of its group."""

    def __init__(self, options: Stylegan2Options, data: DataSpec, channels: list[int]) -> None:
        super().__init__()
        last = channels[0]
        self.colours = EqualisedConv2d(data.channels, channels[-1], 1)
        self.blocks = nn.Sequential(*(Halve(b, a) for a, b in zip(channels[-2::-1], channels[:0:-1], strict=True)))
        self.deviation = MinibatchStd(options.group)
        self.convolution = EqualisedConv2d(last + 1, last, 3, padding=1)
        self.dense, self.logit = EqualisedLinear(16 * last, last), EqualisedLinear(last, 1)

    def forward(self, images: Tensor, processes: Processes | None = None) -> Tensor:
        """Returns one logit for each image; see `MinibatchStd` for processes."""
        x = self.deviation(self.blocks(scaled_leaky_relu(self.colours(images))), processes)
        logits: Tensor = self.logit(scaled_leaky_relu(self.dense(scaled_leaky_relu(self.convolution(x)).flatten(1))))
        return logits.squeeze(1)


def build(options: Stylegan2Options, data: DataSpec) -> Game:
    """Returns the game, for images whose side is a power of two and at least 8 pixels.

    Raises:
        ValueError: The image size is not supported.
    """
    sides = doubled_sides(data.image_size, "StyleGAN2")
    channels = [max(1, min(options.base // side, options.width)) for side in sides]
    path, loss = PathLength(PATH_EVERY * options.path_weight), Logistic()

    def generator_of(networks: Networks) -> Stylegan2Generator:
        generator = networks["generator"]
        assert isinstance(generator, Stylegan2Generator)
        return generator

    def judge(networks: Networks, batch: Batch) -> Discriminator:
        return partial(networks["discriminator"], processes=batch.processes)

    def generator_loss(networks: Networks, batch: Batch) -> Terms:
        return loss.generator(judge(networks, batch), batch.images, batch.fake["images"])

    def discriminator_loss(networks: Networks, batch: Batch) -> Terms:
        return loss.discriminator(judge(networks, batch), batch.images, batch.fake["images"])

    def path_loss(networks: Networks, batch: Batch) -> Terms:
        generator = generator_of(networks)
        with precise(batch.images.device):
            ws = generator.styles(**batch.inputs)
            terms: Terms = path(generator.drawn(ws), ws, batch)
        return terms

    def r1_loss(networks: Networks, batch: Batch) -> Terms:
        return {"r1": R1_EVERY * options.r1 / 2 * squared_gradient_norm(judge(networks, batch), batch.images)}

    def follow_w(networks: Networks, terms: Terms, batch: Batch) -> None:
        del terms
        w = generator_of(networks).mapped(batch.inputs["z"])
        generator_of(networks).w_mean.lerp_(batch.processes.mean(w.mean(0)), 1 - W_DECAY)

    def draw(random: np.random.Generator, request: Request) -> Inputs:
        """In training also other latents, and the layers from which on they are used: 2 n for none."""
        z, other = torch.from_numpy(random.standard_normal((2, request.count, options.latent), dtype=np.float32))
        if request.options is not None or not options.mixing:
            return {"z": z}
        first = random.integers(1, 2 * len(sides), request.count)
        first[random.random(request.count) >= options.mixing] = 2 * len(sides)
        return {"z": z, "other": other, "first": torch.from_numpy(first)}

    def generate(networks: Networks, inputs: Inputs, sampling: Stylegan2Sampling) -> Tensor:
        images: Tensor = networks["generator"](inputs["z"], psi=sampling.psi, noise=sampling.noise)
        return images.clamp(-1, 1)

    make_G = adam(options.lr, (0.0, 0.99), lazy_every=PATH_EVERY if options.path_weight else None)
    make_D = adam(options.lr, (0.0, 0.99), lazy_every=R1_EVERY if options.r1 else None)
    G, D, lazy = ("generator",), ("discriminator",), {"path": options.path_weight, "r1": options.r1}
    main = partial(Phase, make_fake=generated_images)
    phases = [
        main(name="generator", trains=G, loss=generator_loss, optimizer=make_G, after=follow_w),
        Phase(name="path", trains=G, loss=path_loss, optimizer="generator", every=PATH_EVERY, after=path.follow),
        main(name="discriminator", trains=D, loss=discriminator_loss, optimizer=make_D),
        Phase(name="r1", trains=D, loss=r1_loss, optimizer="discriminator", every=R1_EVERY),
    ]
    return Game(
        networks={
            "generator": Stylegan2Generator(options, data, channels),
            "discriminator": Stylegan2Discriminator(options, data, channels),
        },
        phases=[phase for phase in phases if lazy.get(phase.name, 1)],
        draw=draw,
        outputs={"images": Output(generate=generate)},
        state={"path": path},
    )


variant = Variant(
    api=2,
    options=Stylegan2Options,
    build=build,
    paper="Karras et al. 2020, Analyzing and Improving the Image Quality of StyleGAN, https://arxiv.org/abs/1912.04958",
    sampling=Stylegan2Sampling,
    small={"width": 8, "base": 256, "latent": 8, "mapping_layers": 2},
)
