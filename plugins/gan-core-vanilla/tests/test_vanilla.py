"""The fully connected networks for various image sizes and numbers of channels."""

import pytest
import torch
from gan_core_vanilla import VanillaOptions, build

from gan_core import DataSpec


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (17, 3)])
def test_networks_support_any_image_shape(size: int, channels: int) -> None:
    data = DataSpec.of_images(name="made up", image_size=size, channels=channels, classes=0, count=1)
    game = build(VanillaOptions(latent=5, width=7), data)
    images = game.networks["generator"](z=torch.randn(3, 5))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert game.networks["discriminator"](images).shape == (3,)
