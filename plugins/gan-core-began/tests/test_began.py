"""BEGAN: losses, k, M and the halved learning rate by hand; the same on two processes and after a resume."""

import pytest
import torch
from gan_core_began import Balance, BeganOptions, build, error, halvings
from torch import Tensor, nn

from gan_core import DataSpec, Options, Request
from gan_core.testing import made_batch, terms_of

DIGITS = DataSpec.of_images(name="digits", image_size=8, channels=1, classes=10, count=1500)
TINY = {"width": 2, "latent": 3, "repeats": 1}


class Half(nn.Module):
    """D(v) = v / 2, so that |v - D(v)| = |v| / 2."""

    def forward(self, images: Tensor) -> Tensor:
        return images / 2


class Filled(nn.Module):
    """G(z) = z in every pixel of an 8 x 8 image."""

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :, None, None].expand(-1, 1, 8, 8)


def test_the_losses() -> None:
    game = build(BeganOptions(**TINY), DIGITS)
    networks = {"generator": Filled(), "discriminator": Half()}
    # E|v| is 0.4 for the real images and 0.2 for the fakes, and the error is half of it.
    batch = made_batch(
        {"images": torch.tensor([0.6, -0.2]).view(2, 1, 1, 1).expand(2, 1, 8, 8)},
        {"z": torch.tensor([[0.1], [-0.3]])},
    )
    game.state["balance"].load_state_dict({**game.state["balance"].state_dict(), "k": torch.tensor(0.25)})
    terms = {name: float(term) for name, term in terms_of(game, "discriminator", batch, networks).items()}
    assert terms == pytest.approx({"real": 0.2, "fake": -0.25 * 0.1, "L(fake)": 0.1})
    assert float(terms_of(game, "generator", batch, networks)["fake"]) == pytest.approx(0.1)


def test_k_and_m() -> None:
    game = build(BeganOptions(**TINY, gamma=0.5, lambda_k=0.1), DIGITS)
    batch = made_batch({"images": torch.zeros(4, 1, 8, 8)}, {})
    discriminator, generator = game.phases
    assert discriminator.after is not None
    assert generator.after is not None
    course = []
    # (L(x), L(G(z))) of four steps; k begins at 0, where it cannot fall.
    for real, fake in ((1.0, 0.8), (1.0, 0.2), (0.6, 0.1), (0.2, 0.3)):
        discriminator.after({}, {"real": torch.tensor(real)}, batch)
        terms = generator.after({}, {"fake": torch.tensor(fake)}, batch)
        assert terms is not None
        course.append((float(terms["k"]), float(terms["M"])))
    # gamma L(x) - L(G(z)) is -0.3, 0.3, 0.2, -0.2.
    assert course == [pytest.approx(pair) for pair in ((0.0, 1.3), (0.03, 1.3), (0.05, 0.8), (0.03, 0.4))]


def test_k_is_at_most_1() -> None:
    balance = Balance(BeganOptions(lambda_k=10.0))
    balance.real.fill_(1.0)
    assert float(balance.update(torch.tensor(0.0), 16)["k"]) == 1.0


def test_the_learning_rate_is_halved_when_the_average_of_m_stalls() -> None:
    # The half-life is 10 images, one step, so each average is the mean of the one before and the new M.
    game = build(BeganOptions(**TINY, lr=0.4, patience=100), DIGITS)
    balance = game.state["balance"]
    assert isinstance(balance, Balance)
    tune = game.phases[0].tune
    assert tune is not None
    assert game.phases[1].tune is tune
    rates = []
    for m in [8.0, 4.0, *10 * [6.0], 3.0, *8 * [6.0], 4.0, 7.0]:
        balance.watch(torch.tensor(m), 10)
        rates.append(float(tune(made_batch({"images": torch.zeros(1, 1, 8, 8)}, {}).moment)["lr"]))
    # Averages: 8, then 6 is the lowest, and ten steps of 6 are 100 images without a lower one. Then (6 + 3) / 2, and
    # ten steps above: where M is 4, its average is 5.
    assert float(balance.best) == 4.5
    assert rates == [pytest.approx(rate) for rate in [*11 * [0.4], *11 * [0.2], 0.1]]


@pytest.mark.parametrize(("size", "count"), [(8, 1), (12, 1), (16, 1), (20, 2), (28, 2), (32, 2), (64, 3)])
def test_sizes_are_halved_to_at_most_8(size: int, count: int) -> None:
    assert halvings(size) == count


@pytest.mark.parametrize(("size", "other"), [(7, 8), (9, 8), (30, 32), (61, 64), (4, 8)])
def test_an_image_size_that_does_not_fit_is_an_error(size: int, other: int) -> None:
    with pytest.raises(ValueError, match=rf"image size {size} does not fit BEGAN.*Try --image-size {other}$"):
        halvings(size)
    assert halvings(other)


def test_the_layers_of_the_paper() -> None:
    # Figure 1 for 32 x 32 with n = 8: filters grow linearly in the encoder, and are n everywhere in the decoders.
    data = DataSpec.of_images(name="x", image_size=32, channels=3, classes=0, count=9)
    networks = build(BeganOptions(width=8, latent=5), data).networks
    shapes = [
        tuple(module.weight.shape)
        for module in networks["discriminator"].modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    encoder = [(8, 3), (8, 8), (8, 8), (16, 8), (16, 16), (16, 16), (24, 16), (24, 24), (24, 24)]
    dense = [(5, 24 * 8 * 8), (8 * 8 * 8, 5)]
    decoder = [*6 * [(8, 8)], (3, 8)]
    assert shapes == [*((*pair, 3, 3) for pair in encoder), *dense, *((*pair, 3, 3) for pair in decoder)]
    generator = [tuple(p.shape) for p in networks["generator"].parameters()]
    assert generator == [tuple(p.shape) for p in networks["discriminator"][1].parameters()]  # type: ignore[index]


def test_latents_are_uniform_and_images_limited() -> None:
    import numpy as np

    game = build(BeganOptions(**TINY), DIGITS)
    z = game.draw(np.random.default_rng(0), Request(count=4000))["z"]
    assert z.shape == (4000, 3)
    assert float(z.min()) == pytest.approx(-1, abs=1e-3)
    assert float(z.max()) == pytest.approx(1, abs=1e-3)
    assert float(z.var()) == pytest.approx(1 / 3, rel=0.05)
    images = game.outputs["images"].generate({"generator": Filled()}, {"z": torch.tensor([[3.0], [-0.5]])}, Options())
    assert images[:, 0, 0, 0].tolist() == [1.0, -0.5]


def test_the_error_is_a_mean_in_float32_under_autocast() -> None:
    auto_encoder = nn.Conv2d(1, 1, 3, 1, 1)
    images = torch.randn(4, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert error(auto_encoder, images).dtype == torch.float32


def test_initial_images_depend_on_their_latents_more_than_on_anything_else() -> None:
    # With torch's own initialisation the ratio is about 0.01, and the images stay the same for all latents.
    torch.manual_seed(0)
    data = DataSpec.of_images(name="x", image_size=28, channels=1, classes=0, count=9)
    generator = build(BeganOptions(width=16, latent=32), data).networks["generator"]
    with torch.no_grad():
        images = generator(2 * torch.rand(200, 32) - 1)
    assert float(images.var(0).mean()) > 10 * float(images.mean(0).square().mean())
