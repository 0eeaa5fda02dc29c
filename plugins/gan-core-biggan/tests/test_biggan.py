"""BigGAN: numbers of parameters of the published implementation, losses, sampling options, standing statistics."""

import numpy as np
import pytest
import torch
from gan_core_biggan import BigganOptions, BigganSampling, blocks_for, build
from pydantic import ValidationError
from torch import Tensor, nn

from gan_core import DataSpec, Game, Request
from gan_core.testing import made_batch, terms_of

SMALL = {"width": 2, "latent": 6, "embedding": 4}
CIFAR = {"width": 64, "latent": 128, "attention": 0}


def data(size: int = 8, channels: int = 1, classes: int = 10) -> DataSpec:
    return DataSpec.of_images(name="made up", image_size=size, channels=channels, classes=classes, count=99)


def parameters(game: Game) -> list[int]:
    return [sum(p.numel() for p in network.parameters()) for network in game.networks.values()]


@pytest.mark.parametrize(
    ("options", "spec", "counts"),
    [
        # ajbrock/BigGAN-PyTorch, scripts/launch_cifar_ema.sh: G_ch = D_ch = 64, dim_z 128, no shared embedding, no
        # hierarchical latents, no attention; then the same with G_shared, shared_dim 128 and hier.
        ({**CIFAR, "embedding": 0, "split_latents": False}, data(32, 3), [4_304_387, 4_207_361]),
        pytest.param({**CIFAR, "embedding": 128}, data(32, 3), [4_373_251, 4_207_361], marks=pytest.mark.slow),
        # G_ch = D_ch = 8 at 64 pixels, dim_z 120, shared_dim 128, hier, attention at 32.
        ({"width": 8, "latent": 120, "attention": 32}, data(64, 3), [702_116, 307_690]),
        # scripts/launch_BigGAN_bs256x8.sh: G_ch = D_ch = 96 at 128 pixels, attention at 64, 1,000 classes.
        pytest.param({"width": 96}, data(128, 3, classes=1000), [70_433_988, 87_982_370], marks=pytest.mark.slow),
    ],
    ids=["cifar", "shared", "64", "128"],
)
def test_parameters_are_as_many_as_in_the_published_implementation(
    options: dict[str, int], spec: DataSpec, counts: list[int]
) -> None:
    with torch.device("meta" if options["width"] > 8 else "cpu"):
        assert parameters(build(BigganOptions(**options), spec)) == counts


@pytest.mark.parametrize(("size", "blocks"), [(8, 1), (16, 2), (20, 2), (28, 2), (32, 3), (64, 4), (128, 5)])
def test_sizes(size: int, blocks: int) -> None:
    assert blocks_for(size) == blocks
    parts = blocks + 1
    game = build(BigganOptions(width=2, latent=parts, embedding=1, attention=8), data(size, 3))
    inputs = game.draw(np.random.default_rng(0), Request(count=2))
    images = game.networks["generator"](**inputs)
    assert images.shape == (2, 3, size, size)
    assert game.networks["discriminator"](images, inputs["labels"]).shape == (2,)


@pytest.mark.parametrize(("size", "other"), [(30, 28), (7, 8), (256, 128), (34, 32)])
def test_an_image_size_that_does_not_fit_is_an_error(size: int, other: int) -> None:
    with pytest.raises(ValueError, match=rf"image size {size} does not fit BigGAN.*Try --image-size {other}$"):
        blocks_for(size)


def test_options_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"latent: 100 cannot be split into 3 equal parts\. Try latent=99, or split"):
        build(BigganOptions(latent=100), data(28))
    with pytest.raises(ValidationError, match="above 0 with split_latents=true"):
        BigganOptions(embedding=0)


class Known(nn.Module):
    """D(x, y) = the first pixel plus the label."""

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return images[:, 0, 0, 0] + labels


class Filled(nn.Module):
    """G(z, y) = the first latent in every pixel; its rows of weights have the product 3."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 2.0], [1.0, 1.0]]))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        del labels
        return z[:, :1, None, None].expand(-1, 1, 8, 8)


def test_the_losses() -> None:
    game = build(BigganOptions(**SMALL, orthogonal=0.5), data())
    networks = {"generator": Filled(), "discriminator": Known()}
    real = {"images": torch.tensor([0.5, -0.5]).view(2, 1, 1, 1).expand(2, 1, 8, 8), "labels": torch.tensor([0, 1])}
    batch = made_batch(real, {"z": torch.tensor([[-0.5], [-0.5]]), "labels": torch.tensor([0, 2])})
    # D is 0.5 and 0.5 for real images, -0.5 and 1.5 for fakes.
    terms = {name: float(term) for name, term in terms_of(game, "discriminator", batch, networks).items()}
    assert terms == pytest.approx({"real": 0.5, "fake": 1.5, "D(real)": 0.5, "D(fake)": 0.5})
    terms = {name: float(term.detach()) for name, term in terms_of(game, "generator", batch, networks).items()}
    assert terms == pytest.approx({"adversarial": -0.5, "orthogonal": 0.5 * 2 * 9})
    assert [phase.repeats for phase in game.phases] == [2, 1]


def test_every_part_of_the_latent_and_the_class_count() -> None:
    game = build(BigganOptions(**SMALL), data())
    generator = game.networks["generator"]
    z, labels = torch.randn(3, 6), torch.tensor([0, 1, 2])
    generator(z, labels)  # Statistics of batch normalisation, which are fixed from here on.
    generator.eval()
    image = generator(z, labels)
    for changed in (z + torch.eye(6)[0], z + torch.eye(6)[5]):
        assert not torch.allclose(generator(changed, labels), image)
    assert not torch.allclose(generator(z, labels + 1), image)


def test_truncation() -> None:
    game = build(BigganOptions(**SMALL), data())
    for threshold in (None, 0.5):
        request = Request(count=500, options=BigganSampling(truncation=threshold))
        z = game.draw(np.random.default_rng(0), request)["z"]
        assert (float(z.abs().max()) <= 0.5) == (threshold is not None)


def test_standing_statistics_are_those_of_the_drawn_batches() -> None:
    game = build(BigganOptions(**SMALL), data())
    generator = game.networks["generator"].eval()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    assert game.prepare is not None
    game.prepare(game.networks, np.random.default_rng(0), BigganSampling())
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
    sampling = BigganSampling(standing_statistics=3, truncation=0.7)
    with torch.no_grad():
        game.prepare(game.networks, np.random.default_rng(0), sampling)
        random, maps = np.random.default_rng(0), []
        for _ in range(3):
            drawn = game.draw(random, Request(count=64, options=sampling))
            maps.append(generator.dense(drawn["z"][:, :3]).unflatten(1, (8, 4, 4)))
    norm = generator.blocks[0].norm1.normalise
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in maps]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([x.var((0, 2, 3)) for x in maps]).mean(0))
    changed = {name for name, tensor in generator.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.rpartition(".")[2] for name in changed} == {"running_mean", "running_var", "num_batches_tracked"}
