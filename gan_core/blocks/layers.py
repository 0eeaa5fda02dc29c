"""The layers that a list of layers may name, each with its settings, and how torch builds it.

Convolutions pad as Keras does ("same": the output's side is the input's divided by the stride), so that published
programs can be said exactly.
"""

from math import prod
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

Shape = tuple[int, ...]


class Layer(BaseModel):
    """One entry of a list. `build` takes the shape of what comes in, without the batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def build(self, shape: Shape) -> nn.Module:
        """Makes the module."""
        raise NotImplementedError


class Dense(Layer):
    """A fully connected layer on flat input."""

    units: int = Field(ge=1)
    bias: bool = True

    def build(self, shape: Shape) -> nn.Module:
        return nn.Linear(prod(shape), self.units, self.bias)


class Conv(Layer):
    """A convolution. With padding "same" the odd pixel goes to the right and the bottom, as in TensorFlow."""

    channels: int = Field(ge=1)
    kernel: int = Field(ge=1)
    stride: int = Field(1, ge=1)
    padding: Literal["same", "valid"] = "same"
    bias: bool = True

    def build(self, shape: Shape) -> nn.Module:
        convolution = nn.Conv2d(shape[0], self.channels, self.kernel, self.stride, bias=self.bias)
        if self.padding == "valid":
            return convolution
        before, after = zip(*(self._pad(side) for side in shape[1:]), strict=True)
        return nn.Sequential(nn.ZeroPad2d((before[1], after[1], before[0], after[0])), convolution)

    def _pad(self, side: int) -> tuple[int, int]:
        total = max(0, (-(-side // self.stride) - 1) * self.stride + self.kernel - side)
        return total // 2, total - total // 2


class ConvTranspose(Layer):
    """A transposed convolution, the adjoint of `conv` with the same settings; the side is multiplied by the stride."""

    channels: int = Field(ge=1)
    kernel: int = Field(ge=1)
    stride: int = Field(1, ge=1)
    bias: bool = True

    def build(self, shape: Shape) -> nn.Module:
        excess = max(0, self.kernel - self.stride)
        convolution = nn.ConvTranspose2d(
            shape[0],
            self.channels,
            self.kernel,
            self.stride,
            padding=excess // 2,
            output_padding=max(0, self.stride - self.kernel),
            bias=self.bias,
        )
        # As the odd pixel of `conv` is padded on the right and at the bottom, it is cut off there.
        return nn.Sequential(convolution, nn.ZeroPad2d((0, -1, 0, -1))) if excess % 2 else convolution


class BatchNorm(Layer):
    """Batch normalisation (Ioffe & Szegedy 2015) of flat input or of channels. `momentum` weighs the new batch."""

    eps: float = Field(1e-5, gt=0)
    momentum: float = Field(0.1, gt=0, le=1)

    def build(self, shape: Shape) -> nn.Module:
        kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
        return kind(shape[0], self.eps, self.momentum)


class LeakyRelu(Layer):
    """max(x, slope · x)."""

    slope: float = Field(0.2, ge=0)

    def build(self, shape: Shape) -> nn.Module:
        return nn.LeakyReLU(self.slope)


class Dropout(Layer):
    """Sets a fraction `rate` of the entries to zero while training."""

    rate: float = Field(gt=0, lt=1)

    def build(self, shape: Shape) -> nn.Module:
        return nn.Dropout(self.rate)


class Affine(Layer):
    """scale · x + shift with fixed numbers: [0.5, 0.5] takes images from [-1, 1] to [0, 1], and [2, -1] back."""

    scale: float
    shift: float

    def build(self, shape: Shape) -> nn.Module:
        return FixedAffine(self.scale, self.shift)


class Reshape(Layer):
    """Gives each image's numbers another shape, such as [128, 7, 7]."""

    to: Shape

    def build(self, shape: Shape) -> nn.Module:
        return nn.Unflatten(1, self.to)


class Upsample(Layer):
    """Repeats every pixel `factor` times in both directions."""

    factor: int = Field(2, ge=2)

    def build(self, shape: Shape) -> nn.Module:
        return nn.Upsample(scale_factor=self.factor, mode="nearest")


class PixelShuffle(Layer):
    """Every factor² channels become one whose sides are `factor` times as long (Shi et al. 2016, equation 4)."""

    factor: int = Field(2, ge=2)

    def build(self, shape: Shape) -> nn.Module:
        return nn.PixelShuffle(self.factor)


class MaxPool(Layer):
    """Takes the largest of each `size` x `size` pixels."""

    size: int = Field(2, ge=2)

    def build(self, shape: Shape) -> nn.Module:
        return nn.MaxPool2d(self.size)


class Plain(Layer):
    """A layer without settings."""

    kind: ClassVar[type[nn.Module]]

    def build(self, shape: Shape) -> nn.Module:
        return self.kind()


class Relu(Plain):
    """max(x, 0)."""

    kind = nn.ReLU


class Tanh(Plain):
    """To (-1, 1)."""

    kind = nn.Tanh


class Sigmoid(Plain):
    """To (0, 1)."""

    kind = nn.Sigmoid


class Flatten(Plain):
    """Makes each image's numbers one row."""

    kind = nn.Flatten


class FixedAffine(nn.Module):
    """The module of `Affine`."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
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
