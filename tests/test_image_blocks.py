"""The blocks of image-to-image variants: PatchGAN, the ResNet generator, and the image pool."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gan_core import Batch, ImagePool, PatchDiscriminator, ResnetGenerator
from gan_core.blocks.patchgan import patch_map, receptive_field
from gan_core.blocks.resnet_generator import ResidualBlock, check_sides
from gan_core.cli.tables.plan import parameters
from gan_core.testing import made_batch


def test_patchgan_has_the_parameters_of_its_layer_list() -> None:
    # C64-C128-C256-C512 and a convolution to one channel, 4 x 4: weights and biases.
    counts = [16 * 3 * 64 + 64, 16 * 64 * 128 + 128, 16 * 128 * 256 + 256, 16 * 256 * 512 + 512, 16 * 512 + 1]
    assert parameters(PatchDiscriminator(3)) == sum(counts) == 2_764_737
    # Batch normalisation, of an image beside its condition: a scale and a shift instead of a bias.
    assert parameters(PatchDiscriminator(6, norm="batch")) == 2_764_737 + 16 * 3 * 64 + 128 + 256 + 512 == 2_768_705


@pytest.mark.parametrize(("layers", "side"), [(1, 16), (2, 34), (3, 70), (5, 286)])
def test_a_logit_depends_on_exactly_one_patch(layers: int, side: int) -> None:
    # With layers=3: 4 = 1 + 3, 7 = 4 + 3, 16 = 2 · 7 + 2, 34 = 2 · 16 + 2, 70 = 2 · 34 + 2.
    assert receptive_field(layers) == side
    network = PatchDiscriminator(1, width=1, layers=layers, norm="none").double()
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 1.0)
    image = torch.ones(1, 1, 2 * side, 2 * side, dtype=torch.float64, requires_grad=True)
    logits = network(image)
    middle = logits.shape[2] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    rows, columns = gradient[0, 0].nonzero(as_tuple=True)
    assert (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1) == (side, side)


@pytest.mark.parametrize(
    ("height", "width", "layers", "expected"),
    [(256, 256, 3, (30, 30)), (128, 128, 3, (14, 14)), (24, 31, 3, (1, 1)), (6, 9, 1, (1, 2)), (40, 64, 2, (8, 14))],
)
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_the_size_of_the_map(height: int, width: int, layers: int, expected: tuple[int, int], norm: str) -> None:
    # The 30 x 30 of 256 pixels is the original implementation's.
    assert patch_map(height, width, layers) == expected
    network = PatchDiscriminator(2, width=2, layers=layers, norm=norm)  # type: ignore[arg-type]
    assert network(torch.randn(2, 2, height, width)).shape == (2, 1, *expected)


def test_images_below_the_least_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images of 32 x 23 are too small.*at least 24 pixels"):
        patch_map(23, 32, 3)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        PatchDiscriminator(1, width=2, norm="none")(torch.zeros(1, 1, 23, 32))


def test_patchgan_starts_from_normal_weights() -> None:
    network = PatchDiscriminator(3)
    weights = torch.cat([p.detach().flatten() for name, p in network.named_parameters() if name.endswith("weight")])
    assert float(weights.std()) == pytest.approx(0.02, rel=1e-2)
    assert float(weights.mean()) == pytest.approx(0.0, abs=1e-4)
    assert all(not p.detach().any() for name, p in network.named_parameters() if name.endswith("bias"))


def test_the_resnet_generator_has_the_parameters_of_its_layer_list() -> None:
    # c7s1-64, d128, d256, R256, u128, u64, c7s1-3: kernel · in · out weights and out biases each.
    ends = (49 * 3 * 64 + 64) + (49 * 64 * 3 + 3)
    down, up = (9 * 64 * 128 + 128) + (9 * 128 * 256 + 256), (9 * 256 * 128 + 128) + (9 * 128 * 64 + 64)
    block = 2 * (9 * 256 * 256 + 256)
    with torch.device("meta"):
        nine, six = ResnetGenerator(3, 3), ResnetGenerator(3, 3, blocks=6)
    assert parameters(nine) == ends + down + 9 * block + up == 11_378_179
    assert parameters(six) == ends + down + 6 * block + up == 7_837_699


@pytest.mark.parametrize("size", [(8, 8), (16, 12), (64, 32)])
def test_the_resnet_generator_returns_images_of_the_same_size(size: tuple[int, int]) -> None:
    check_sides(*size)
    images = ResnetGenerator(1, 3, width=2, blocks=2)(torch.randn(2, 1, *size))
    assert images.shape == (2, 3, *size)
    assert float(images.detach().abs().max()) <= 1


def test_sides_that_would_change_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images of 32 x 30 do not fit.*--image-size 32"):
        check_sides(30, 32)
    assert ResnetGenerator(1, 1, width=1, blocks=1)(torch.randn(1, 1, 30, 32)).shape == (1, 1, 32, 32)
    with pytest.raises(ValueError, match=r"images of 4 x 4 do not fit.*--image-size 8"):
        check_sides(4, 4)


def test_a_residual_block_by_hand() -> None:
    # The first kernel takes the left neighbour, the second is the identity. Reflection gives the left column its right
    # neighbour: rows (1, 3) become (3, 1), which the first normalisation maps to (1, -1), ReLU to (1, 0), and the
    # second to (1, -1) again: the block returns (1, 3) + (1, -1).
    block = ResidualBlock(1)
    first, second = (module for module in block.modules() if isinstance(module, nn.Conv2d))
    for convolution, column in ((first, 0), (second, 1)):
        nn.init.zeros_(convolution.weight)
        nn.init.constant_(convolution.bias, 5.0)  # type: ignore[arg-type]  # Normalisation removes it.
        convolution.weight.data[0, 0, 1, column] = 1.0
    out = block(torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]]))
    torch.testing.assert_close(out.detach(), torch.tensor([[[[2.0, 2.0], [2.0, 2.0]]]]), atol=1e-4, rtol=0)


class Numbers:
    """A `Randomness` that returns the rows it is given."""

    def __init__(self, *rows: tuple[float, float]) -> None:
        self.rows = torch.tensor(rows)

    def uniform(self, *shape: int) -> Tensor:
        assert self.rows.shape[1:] == shape
        return self.rows

    def normal(self, *shape: int) -> Tensor:
        raise AssertionError(shape)


def numbered(*numbers: int) -> Tensor:
    """Images of one pixel with these numbers."""
    return torch.tensor([float(number) for number in numbers]).view(-1, 1, 1, 1)


def batch_of(count: int, random: Numbers | None = None) -> Batch:
    return made_batch({"images": torch.zeros(count, 1, 1, 1)}, {}, random=random)


def values(images: Tensor) -> list[int]:
    return [int(image) for image in images.flatten()]


def test_a_pool_returns_older_images_once_it_is_full() -> None:
    pool, never = ImagePool(3), (0.0, 0.0)
    # Not full: the random numbers would exchange, but images are stored in places 0, 1 and 2, and returned.
    assert values(pool.exchange(numbered(1, 2), batch_of(2, Numbers(never, never)))) == [1, 2]
    # 3 fills the pool; then 4 is exchanged with place 0 (0.2 · 3), and 5 with the same place, where 4 is by now.
    random = Numbers((0.9, 0.9), (0.2, 0.4), (0.1, 0.49))
    assert values(pool.exchange(numbered(3, 4, 5), batch_of(3, random))) == [3, 1, 4]
    assert values(pool.images) == [5, 2, 3]
    # 0.5 and more returns the image itself and stores nothing; 0.99 · 3 is the last place.
    assert values(pool.exchange(numbered(6, 7), batch_of(2, Numbers((0.0, 0.5), (0.99, 0.3))))) == [6, 3]
    assert values(pool.images) == [5, 2, 7]


def test_a_pool_of_50_passes_50_images_and_then_exchanges_half() -> None:
    pool, seen = ImagePool(), torch.arange(4050.0).view(-1, 1, 1, 1)
    returned = pool.exchange(seen, batch_of(4050))
    assert torch.equal(returned[:50], seen[:50])
    exchanged = returned[50:] != seen[50:]
    # 4000 tosses of a fair coin: 5 standard deviations are 5 · sqrt(4000) / 2 = 158.
    assert abs(int(exchanged.sum()) - 2000) < 158
    # Nothing is lost: an image that was returned in exchange is no longer there.
    kept = {*values(pool.images), *values(returned)}
    assert kept == set(range(4050))
    # An image waits for its place to be drawn among 50 in one of 2 turns: the mean age is 100, of about 2000 images
    # with a standard deviation of 100 each, so 5 standard errors are 11. Those that still wait are the older ones.
    age = (seen - returned)[50:][exchanged]
    assert float(age.mean()) == pytest.approx(100, abs=15)


def test_the_state_of_a_pool_continues_it() -> None:
    pool, images = ImagePool(4), torch.rand(20, 2, 3, 3, dtype=torch.float64)
    for count in (1, 2, 12):  # Half full, nearly full, and in use.
        other = ImagePool(4)
        other.exchange(torch.ones(6, 2, 3, 3), batch_of(6))
        pool.exchange(images[:count], batch_of(count))
        other.load_state_dict(pool.state_dict())
        for _ in range(2):
            assert torch.equal(*(each.exchange(images, batch_of(20)) for each in (pool, other)))
        assert torch.equal(pool.images, other.images)
        assert pool.images.dtype == torch.float64
    with pytest.raises(ValueError, match="a pool of 4 images does not fit one of 5"):
        ImagePool(5).load_state_dict(pool.state_dict())


class Half:
    """One of two processes, whose rows the test gathers beforehand."""

    def __init__(self, rank: int, *gathered: Tensor) -> None:
        self.rank, self.gathered = rank, list(gathered)

    def gather(self, rows: Tensor) -> Tensor:
        whole = self.gathered.pop(0)
        assert torch.equal(self.share(whole), rows)
        return whole

    def share(self, rows: Tensor) -> Tensor:
        return rows.chunk(2)[self.rank]

    def mean(self, value: Tensor) -> Tensor:
        raise AssertionError(value)


def test_two_processes_have_the_pool_of_one() -> None:
    images, drawn = torch.rand(40, 1, 2, 2), torch.rand(40, 2, generator=torch.Generator().manual_seed(1))
    pool = ImagePool(10)
    expected = pool.exchange(images, batch_of(40, Numbers(*drawn.tolist())))
    for rank in (0, 1):
        mine = Numbers(*drawn.chunk(2)[rank].tolist())
        batch = replace(batch_of(20, mine), processes=Half(rank, images, drawn))
        other = ImagePool(10)
        assert torch.equal(other.exchange(images.chunk(2)[rank], batch), expected.chunk(2)[rank])
        assert torch.equal(other.images, pool.images)


def test_a_pool_of_0_returns_all_images_without_their_gradients() -> None:
    images = torch.rand(3, 1, 2, 2, requires_grad=True)
    for pool in (ImagePool(0), ImagePool(2)):
        returned = pool.exchange(images, batch_of(3))
        assert not returned.requires_grad
        assert torch.equal(returned[:2], images[:2].detach())
