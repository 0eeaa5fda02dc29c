"""The layers of a layer list: the settings of each, in order, and the torch module that it builds.

Convolutions pad as Keras does ("same": the output's side is the input's divided by the stride, rounded up), so that
published Keras programs can be reproduced exactly. Shapes are given without the batch dimension.
"""

from collections import OrderedDict
from math import prod
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from gan_core.blocks import dropout
from gan_core.blocks.small_map_convolution import Conv2d, ConvTranspose2d

Shape = tuple[int, ...]
"""A shape without the batch dimension: (features,) or (C, H, W)."""


class Layer(BaseModel):
    """One entry of a layer list: a layer with its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def build(self, shape: Shape) -> nn.Module:
        """Returns the module for inputs of `shape`, with weights as torch initialises them."""
        raise NotImplementedError


class Dense(Layer):
    """A fully connected layer, (features,) -> (units,)."""

    units: int = Field(ge=1)
    bias: bool = True

    def build(self, shape: Shape) -> nn.Module:
        return nn.Linear(prod(shape), self.units, self.bias)


class Conv(Layer):
    """A 2D convolution, (C, H, W) -> (channels, H', W').

    With padding "same", H' = ceil(H / stride). If the padding is odd, the extra pixel is on the right and at the
    bottom, as in TensorFlow. With "valid" there is no padding. A number adds so many zeros at each side, as in torch:
    H' = floor((H + 2 · padding - kernel) / stride) + 1.
    """

    channels: int = Field(ge=1)
    kernel: int = Field(ge=1)
    stride: int = Field(1, ge=1)
    padding: Literal["same", "valid"] | Annotated[int, Field(ge=0)] = "same"
    bias: bool = True

    def build(self, shape: Shape) -> nn.Module:
        padding = self.padding if isinstance(self.padding, int) else 0
        convolution = Conv2d(shape[0], self.channels, self.kernel, self.stride, padding, bias=self.bias)
        if self.padding != "same":
            return convolution
        (top, bottom), (left, right) = (self._pad(side) for side in shape[1:])
        convolution.pads = (left, right, top, bottom)
        return nn.Sequential(OrderedDict({"1": convolution}))  # Its name in checkpoints, where 0 was the padding.

    def _pad(self, side: int) -> tuple[int, int]:
        total = max(0, (-(-side // self.stride) - 1) * self.stride + self.kernel - side)
        return total // 2, total - total // 2


class ConvTranspose(Layer):
    """A 2D transposed convolution, (C, H, W) -> (channels, H · stride, W · stride).

    It is the adjoint of `conv` with the same settings and padding "same".
    """

    channels: int = Field(ge=1)
    kernel: int = Field(ge=1)
    stride: int = Field(1, ge=1)
    bias: bool = True

    def build(self, shape: Shape) -> nn.Module:
        excess = max(0, self.kernel - self.stride)
        convolution = ConvTranspose2d(
            shape[0],
            self.channels,
            self.kernel,
            self.stride,
            padding=excess // 2,
            output_padding=max(0, self.stride - self.kernel),
            bias=self.bias,
        )
        # `conv` pads the odd pixel on the right and at the bottom, so its adjoint crops it there.
        convolution.crop = excess % 2
        return nn.Sequential(convolution) if excess % 2 else convolution  # The names in checkpoints.


class BatchNorm(Layer):
    """Batch normalisation (Ioffe & Szegedy 2015) of the features or channels.

    As in torch, `momentum` is the weight of the new batch in the running statistics; `eps` is added to the variance.
    """

    eps: float = Field(1e-5, gt=0)
    momentum: float = Field(0.1, gt=0, le=1)

    def build(self, shape: Shape) -> nn.Module:
        kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
        return kind(shape[0], self.eps, self.momentum)


class LeakyRelu(Layer):
    """x if x > 0, else slope · x."""

    slope: float = Field(0.2, ge=0)

    def build(self, shape: Shape) -> nn.Module:
        return nn.LeakyReLU(self.slope)


class Dropout(Layer):
    """Dropout: sets each element to zero with probability `rate` in training mode."""

    rate: float = Field(gt=0, lt=1)

    def build(self, shape: Shape) -> nn.Module:
        return dropout.Dropout(self.rate)


class Affine(Layer):
    """scale · x + shift with constants: [0.5, 0.5] maps images from [-1, 1] to [0, 1], and [2, -1] back."""

    scale: float
    shift: float

    def build(self, shape: Shape) -> nn.Module:
        return FixedAffine(self.scale, self.shift)


class Reshape(Layer):
    """Reshapes (features,) to the shape `to`, e.g. [128, 7, 7]."""

    to: Shape

    def build(self, shape: Shape) -> nn.Module:
        return nn.Unflatten(1, self.to)


class Upsample(Layer):
    """Upsampling, nearest-neighbour or bilinear, (C, H, W) -> (C, H · factor, W · factor).

    Followed by `conv`, it is the resize-convolution of Odena et al. 2016 (Deconvolution and Checkerboard Artifacts):
    unlike `conv_transpose`, it has the same weights for all pixels, so a flat area has no pattern of dots.
    """

    factor: int = Field(2, ge=2)
    mode: Literal["nearest", "bilinear"] = "nearest"

    def build(self, shape: Shape) -> nn.Module:
        return nn.Upsample(scale_factor=self.factor, mode=self.mode)


class PixelShuffle(Layer):
    """Sub-pixel shuffle, (C · factor², H, W) -> (C, H · factor, W · factor) (Shi et al. 2016, equation 4)."""

    factor: int = Field(2, ge=2)

    def build(self, shape: Shape) -> nn.Module:
        return nn.PixelShuffle(self.factor)


class MaxPool(Layer):
    """Max pooling over windows of `size` x `size` pixels that do not overlap."""

    size: int = Field(2, ge=2)

    def build(self, shape: Shape) -> nn.Module:
        return nn.MaxPool2d(self.size)


class Plain(Layer):
    """A layer without settings."""

    kind: ClassVar[type[nn.Module]]

    def build(self, shape: Shape) -> nn.Module:
        return self.kind()


class Relu(Plain):
    """max(x, 0), element by element."""

    kind = nn.ReLU


class Tanh(Plain):
    """tanh(x), in (-1, 1)."""

    kind = nn.Tanh


class Sigmoid(Plain):
    """1 / (1 + exp(-x)), in (0, 1)."""

    kind = nn.Sigmoid


class Flatten(Plain):
    """(C, H, W) -> (C · H · W,)."""

    kind = nn.Flatten


class FixedAffine(nn.Module):
    """scale · x + shift with constants."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        """Returns scale · x + shift, for x of any shape."""
        return x * self.scale + self.shift


LAYERS: dict[str, type[Layer]] = {
    "dense": Dense,
    "conv": Conv,
    "conv_transpose": ConvTranspose,
    "batch_norm": BatchNorm,
    "leaky_relu": LeakyRelu,
    "relu": Relu,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "dropout": Dropout,
    "affine": Affine,
    "flatten": Flatten,
    "reshape": Reshape,
    "upsample": Upsample,
    "pixel_shuffle": PixelShuffle,
    "max_pool": MaxPool,
}
"""The layers by the name that a layer list uses."""
