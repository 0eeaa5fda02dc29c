"""The ResNet generator for image-to-image translation (Johnson et al. 2016; Zhu et al. 2017)."""

from torch import Tensor, nn

from gan_core.blocks.layer_list import initialise


class ResnetGenerator(nn.Module):
    """Images (B, C, H, W) in [-1, 1] -> images (B, C', H, W) in [-1, 1].

    Source: Zhu et al. 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, appendix
    7.2, in its notation c7s1-64, d128, d256, R256 (6 or 9 times), u128, u64, c7s1-3: a 7 x 7 convolution, two of stride
    2, residual blocks of two 3 x 3 convolutions, two transposed convolutions of stride 2, and a 7 x 7 convolution with
    tanh. Reflection padding with stride 1, instance normalisation without scale and shift, and ReLU, which the end of a
    residual block and the last layer do not have. Initial weights are from N(0, 0.02²), biases 0. For sides see
    `check_sides`.
    """

    def __init__(self, channels: int, out_channels: int, *, width: int = 64, blocks: int = 9) -> None:
        """Builds the network.

        Args:
            channels: C, channels of the given images.
            out_channels: C', channels of the returned images.
            width: Feature maps of the first layer; the residual blocks have 4 times as many.
            blocks: Residual blocks; the paper has 6 for 128 x 128 pixels, and 9 from 256 x 256.
        """
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7), *_normalised(width)]
        for maps in (width, 2 * width):
            layers += [nn.Conv2d(maps, 2 * maps, 3, 2, 1), *_normalised(2 * maps)]
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        for maps in (4 * width, 2 * width):
            layers += [nn.ConvTranspose2d(maps, maps // 2, 3, 2, 1, output_padding=1), *_normalised(maps // 2)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, out_channels, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialise(self, "normal")

    def forward(self, images: Tensor) -> Tensor:
        """Returns one image for each image."""
        translated: Tensor = self.layers(images)
        return translated


class ResidualBlock(nn.Module):
    """x + F(x) for x of shape (B, C, H, W): F is two 3 x 3 convolutions, each normalised, with ReLU between them."""

    def __init__(self, maps: int) -> None:
        """Builds the block for `maps` feature maps."""
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(maps, maps, 3), *_normalised(maps)),
            *(nn.ReflectionPad2d(1), nn.Conv2d(maps, maps, 3), nn.InstanceNorm2d(maps)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns x + F(x)."""
        change: Tensor = self.layers(x)
        return x + change


def _normalised(maps: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(maps), nn.ReLU()


def check_sides(height: int, width: int) -> None:
    """Checks that the generator returns images of the size that it is given.

    Raises:
        ValueError: A side is not a multiple of 4, or below 8.
    """
    if height % 4 or width % 4 or min(height, width) < 8:
        raise ValueError(
            f"images of {width} x {height} do not fit the ResNet generator, whose sides must be multiples of 4, and at "
            f"least 8. Try --image-size {max(8, round(max(height, width) / 4) * 4)}"
        )
