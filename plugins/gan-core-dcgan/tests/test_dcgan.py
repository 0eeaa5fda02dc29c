"""DCGAN's networks: every supported image size, and the architecture of the paper."""

import pytest
import torch
from gan_core_dcgan import DcganOptions, build, stages
from torch import nn

from gan_core import DataSpec


@pytest.mark.parametrize("size", [8, 12, 16, 20, 24, 28, 32, 36, 44, 48, 64, 96, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_multiple_of_4_from_8_up_is_supported(size: int, channels: int) -> None:
    data = DataSpec.of_images(name="made up", image_size=size, channels=channels, classes=0, count=1)
    game = build(DcganOptions(latent=5, width=2, max_width=8), data)
    images = game.networks["generator"](z=torch.randn(3, 5))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert game.networks["discriminator"](images).shape == (3,)


@pytest.mark.parametrize(("size", "count"), [(8, 2), (12, 2), (16, 2), (24, 3), (28, 2), (32, 3), (64, 4), (128, 5)])
def test_the_side_is_halved_to_4_or_to_an_odd_number(size: int, count: int) -> None:
    assert stages(size) == count


@pytest.mark.parametrize("size", [4, 10, 30, 27])
def test_other_sizes_are_rejected_with_a_suggestion(size: int) -> None:
    with pytest.raises(ValueError, match=f"image size {size} does not fit DCGAN.*Try --image-size (8|12|28|32)"):
        stages(size)


def test_the_paper_s_64_pixel_generator() -> None:
    # Figure 1: 4 x 4 x 1024 -> 8 x 8 x 512 -> 16 x 16 x 256 -> 32 x 32 x 128 -> 64 x 64 x 3, from 100 latents.
    data = DataSpec.of_images(name="LSUN", image_size=64, channels=3, classes=0, count=1)
    game = build(DcganOptions(width=128), data)
    convolutions = [m for m in game.networks["generator"].modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [
        (100, 1024),
        (1024, 512),
        (512, 256),
        (256, 128),
        (128, 3),
    ]
    weights = torch.cat([c.weight.detach().flatten() for c in convolutions])
    assert float(weights.mean()) == pytest.approx(0, abs=1e-4)
    assert float(weights.std()) == pytest.approx(0.02, rel=1e-2)
