"""StyleGAN2: parameters as published, style mixing, truncation, noise; tests/test_stylegan2_loop.py has its phases."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gan_core_stylegan2 import Stylegan2Discriminator, Stylegan2Generator, Stylegan2Options, Stylegan2Sampling, build

from gan_core import DataSpec, Game, Request, blur, downsample, scaled_leaky_relu
from gan_core.testing import made_batch, terms_of

TINY = {"width": 4, "latent": 4, "mapping_layers": 2}


def data(image_size: int, channels: int = 3) -> DataSpec:
    return DataSpec.of_images(name="x", image_size=image_size, channels=channels, classes=0, count=9)


def generator_of(game: Game) -> Stylegan2Generator:
    generator = game.networks["generator"]
    assert isinstance(generator, Stylegan2Generator)
    return generator


@pytest.fixture
def game() -> Game:
    torch.manual_seed(0)
    return build(Stylegan2Options(**TINY), data(16))


@pytest.mark.parametrize(
    ("options", "size", "generator", "discriminator"),
    [
        ({"base": 16384}, 256, 24_767_458, 24_001_089),
        ({}, 1024, 30_370_060, 29_012_513),
        ({"base": 16384, "mapping_layers": 2}, 64, 22_243_608, 23_407_361),
    ],
    ids=["--cfg=paper256", "--cfg=stylegan2 at 1024", "--cfg=auto at 64"],
)
def test_parameters_are_those_of_the_authors(
    options: dict[str, int], size: int, generator: int, discriminator: int
) -> None:
    # NVlabs/stylegan2-ada-pytorch prints these totals when it trains; here counted with its training/networks.py.
    with torch.device("meta"):
        networks = build(Stylegan2Options(**options), data(size)).networks
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert counts == {"generator": generator, "discriminator": discriminator}


def test_the_mapping_network_sees_only_the_direction_of_z(game: Game) -> None:
    G, z = generator_of(game), torch.randn(5, 4)
    torch.testing.assert_close(G.mapped(z), G.mapped(7 * z), rtol=1e-4, atol=1e-5)
    w = F.normalize(z) * 2  # A mean square of 1.
    for layer in G.mapping:
        assert isinstance(layer.weight, torch.Tensor)
        w = scaled_leaky_relu(w @ (0.01 * layer.weight.T / 2))
    torch.testing.assert_close(G.mapped(z), w, rtol=1e-4, atol=1e-5)


def test_styles_are_mixed_from_a_layer_on(game: Game) -> None:
    G, z, other = generator_of(game), torch.randn(3, 4), torch.randn(3, 4)
    ws = G.styles(z, other, torch.tensor([1, 4, 6]))  # 16 pixels have 5 convolutions and the last colours.
    own, swapped = G.mapped(z), G.mapped(other)
    expected = [
        [own[row] if layer < first else swapped[row] for layer in range(6)] for row, first in enumerate((1, 4, 6))
    ]
    torch.testing.assert_close(ws, torch.stack([torch.stack(row) for row in expected]))
    # Colours have the w of the next convolution, so 4 x 4 pixels come from the first two.
    for layer in range(6):
        changed = ws.clone()
        changed[0, layer] += 1
        assert not torch.equal(G.drawn(changed, noise=False)[0], G.drawn(ws, noise=False)[0])


def test_mixing_is_as_probable_as_it_should_be(game: Game) -> None:
    drawn = game.draw(np.random.default_rng(0), Request(count=10_000))
    counts = torch.bincount(drawn["first"], minlength=7) / 10_000
    assert counts[0] == 0
    assert counts[1:].tolist() == pytest.approx([0.9 / 5] * 5 + [0.1], abs=0.015)
    assert not torch.equal(drawn["z"], drawn["other"])
    assert set(game.draw(np.random.default_rng(0), Request(count=2, options=Stylegan2Sampling()))) == {"z"}
    without = build(Stylegan2Options(**TINY, mixing=0.0), data(16))
    assert set(without.draw(np.random.default_rng(0), Request(count=2))) == {"z"}


def test_the_mean_of_w_is_followed_and_truncates(game: Game) -> None:
    G, batch = generator_of(game), made_batch({"images": torch.zeros(3, 3, 16, 16)}, {"z": torch.randn(3, 4)})
    after = game.phases[0].after
    assert after is not None
    with torch.no_grad():
        for _ in range(2):
            after(game.networks, {}, batch)
        w = G.mapped(batch.inputs["z"])
        torch.testing.assert_close(G.w_mean, (1 - 0.995**2) * w.mean(0))
        assert "w_mean" in G.state_dict()
        generate = game.outputs["images"].generate

        def drawn(psi: float) -> torch.Tensor:
            images = generate(game.networks, batch.inputs, Stylegan2Sampling(psi=psi, noise=False))
            assert isinstance(images, torch.Tensor)
            return images

        ws = (G.w_mean + 0.3 * (w - G.w_mean))[:, None].expand(-1, 6, -1)
        torch.testing.assert_close(drawn(0.3), G.drawn(ws, noise=False).clamp(-1, 1))
        mean = drawn(0.0)
        torch.testing.assert_close(mean, mean[:1].expand_as(mean))
        assert not torch.equal(drawn(1.0)[0], drawn(1.0)[1])


def test_noise_can_be_left_out(game: Game) -> None:
    G, z = generator_of(game), torch.randn(2, 4)
    for layer in G.layers:
        layer.noise.strength.data.fill_(0.5)  # type: ignore[union-attr]
    generate = game.outputs["images"].generate
    with torch.no_grad():
        quiet = [generate(game.networks, {"z": z}, Stylegan2Sampling(noise=False)) for _ in range(2)]
        loud = [generate(game.networks, {"z": z}, Stylegan2Sampling()) for _ in range(2)]
    assert torch.equal(*quiet)
    assert not torch.equal(*loud)


def test_the_discriminator() -> None:
    torch.manual_seed(0)
    D = Stylegan2Discriminator(Stylegan2Options(width=4, base=32, group=2), data(8), [4, 4]).double()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)

    def convolved(x: torch.Tensor, layer: torch.nn.Module, **how: int) -> torch.Tensor:
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, torch.Tensor)
        return F.conv2d(x, weight / weight[0].numel() ** 0.5, bias, **how)  # type: ignore[arg-type]

    def activated(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.2 * x) * 2**0.5

    block = D.blocks[0]
    y = activated(convolved(x, D.colours))
    branch = activated(convolved(blur(activated(convolved(y, block.first, padding=1)), 2), block.second, stride=2))  # type: ignore[arg-type]
    y = (branch + convolved(downsample(y), block.skip)) / 2**0.5  # type: ignore[arg-type]
    deviations = [(part.var(0, correction=0) + 1e-8).sqrt().mean() for part in y.split(2)]
    channel = torch.stack(deviations).repeat_interleave(2).view(4, 1, 1, 1).expand(4, 1, 4, 4)
    y = activated(convolved(torch.cat([y, channel], 1), D.convolution, padding=1)).flatten(1)
    y = activated(y @ D.dense.weight.T / 8 + D.dense.bias) @ D.logit.weight.T / 2 + D.logit.bias
    torch.testing.assert_close(D(x), y[:, 0])


def test_penalties_can_be_left_out() -> None:
    names = [phase.name for phase in build(Stylegan2Options(**TINY, path_weight=0.0, r1=0.0), data(8)).phases]
    assert names == ["generator", "discriminator"]
    game = build(Stylegan2Options(**TINY, r1=0.0), data(8))
    assert [phase.name for phase in game.phases] == ["generator", "path", "discriminator"]
    rates = {
        phase.name: phase.optimizer(game.networks[phase.trains[0]].parameters()).param_groups[0]["lr"]
        for phase in game.phases
        if not isinstance(phase.optimizer, str)
    }
    assert rates == pytest.approx({"generator": 0.002 * 4 / 5, "discriminator": 0.002})


def test_r1_is_weighted_for_the_steps_that_it_is_left_out_of(game: Game) -> None:
    D = game.networks["discriminator"]
    images = torch.randn(4, 3, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(D(images).sum(), images)
    term = terms_of(game, "r1", made_batch({"images": images.detach()}, {}))["r1"]
    expected = 16 * 10 / 2 * float(gradient.square().sum()) / 4
    assert float(term.detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("size", "other"), [(28, 32), (4, 8), (96, 128)])
def test_an_image_size_that_does_not_fit_is_refused(size: int, other: int) -> None:
    with pytest.raises(ValueError, match=rf"image size {size} does not fit StyleGAN2.*Try --image-size {other}$"):
        build(Stylegan2Options(**TINY), data(size))
