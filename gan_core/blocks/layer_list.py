"""Networks said as lists of layers, in YAML or in Python.

    generator:
      - dense: 6272
      - leaky_relu: 0.2
      - reshape: [128, 7, 7]
      - conv_transpose: {channels: 64, kernel: 4, stride: 2}
      - tanh

An entry is a layer's name alone, or with its first setting, a list of its settings in order, or all by name.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, ValidationError
from torch import Tensor, nn

from gan_core.blocks.layers import LAYERS, Layer, Reshape, Shape
from gan_core.errors import did_you_mean

Initialisation = Literal["torch", "glorot", "normal"]


def parse(entry: object) -> Layer:
    """Reads one entry of a list.

    Raises:
        ValueError: The layer or one of its settings does not exist, or has a value that is not allowed.
    """
    if isinstance(entry, Mapping) and len(entry) == 1:
        name, given = next(iter(entry.items()))
    else:
        name, given = entry, {}
    kind = LAYERS.get(str(name))
    if kind is None:
        raise ValueError(f"no layer is called {name!r}.{did_you_mean(str(name), LAYERS)} Allowed: {', '.join(LAYERS)}")
    if not isinstance(given, Mapping):
        values = [given] if kind is Reshape or not isinstance(given, list | tuple) else list(given)
        if len(values) > len(kind.model_fields):
            raise ValueError(f"{name}: {len(values)} settings are too many. Allowed: {', '.join(kind.model_fields)}")
        given = dict(zip(kind.model_fields, values, strict=False))
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        allowed = ", ".join(kind.model_fields) or "none"
        raise ValueError(
            f"{name}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}. Settings: {allowed}"
        ) from None


def _check(stack: Sequence[Any]) -> Sequence[Any]:
    for number, entry in enumerate(stack, 1):
        try:
            parse(entry)
        except ValueError as error:
            raise ValueError(f"a list of layers; entry {number}: {error}") from None
    return stack


Stack = Annotated[list[Any], AfterValidator(_check)]
"""A list of layers as a field of a variant's options."""


def build_layers(stack: Sequence[Any], shape: Shape, initialisation: Initialisation) -> tuple[nn.Sequential, Shape]:
    """Makes the network.

    Args:
        stack: The entries.
        shape: The shape of what comes in, without the batch: (latent,) or (C, H, W).
        initialisation: See `initialise`.

    Returns:
        The network, and the shape of what comes out.

    Raises:
        ValueError: A layer does not fit what the one before it gives.
    """
    modules: list[nn.Module] = []
    for number, entry in enumerate(stack, 1):
        try:
            module = parse(entry).build(shape)
            shape = tuple(module.eval()(torch.zeros(1, *shape)).shape[1:])
        except (RuntimeError, ValueError, IndexError) as error:
            raise ValueError(f"layer {number}, {entry!r}, does not fit an input of shape {shape}: {error}") from error
        modules.append(module.train())
    network = nn.Sequential(*modules)
    initialise(network, initialisation)
    return network, shape


def initialise(network: nn.Module, how: Initialisation) -> None:
    """Draws initial weights of dense and convolutional layers.

    "torch" leaves what torch drew. "glorot" draws from U(-a, a) with a = sqrt(6 / (fan in + fan out)) (Glorot & Bengio
    2010, equation 16), and "normal" from N(0, 0.02²) (Radford et al. 2016, section 4), both with biases of zero.
    """
    for module in network.modules():
        if how == "torch" or not isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            continue
        if how == "glorot":
            nn.init.xavier_uniform_(module.weight)
        else:
            nn.init.normal_(module.weight, 0.0, 0.02)
        if not isinstance(module, nn.Embedding) and module.bias is not None:
            nn.init.zeros_(module.bias)


class LayerListGenerator(nn.Module):
    """z (B, latent) -> images (B, C, H, W), through a list of layers."""

    def __init__(self, stack: Sequence[Any], latent: int, image: Shape, initialisation: Initialisation) -> None:
        """Raises ValueError where the last layer does not give images of shape `image`."""
        super().__init__()
        self.layers, shape = build_layers(stack, (latent,), initialisation)
        if shape != image:
            raise ValueError(f"the generator's layers give the shape {shape}, but the images have {image}")

    def forward(self, z: Tensor) -> Tensor:
        """Draws one image for each latent."""
        images: Tensor = self.layers(z)
        return images


class LayerListDiscriminator(nn.Module):
    """Images (B, C, H, W) -> logits (B,), through a list of layers."""

    def __init__(self, stack: Sequence[Any], image: Shape, initialisation: Initialisation) -> None:
        """Raises ValueError where the last layer gives more than one number."""
        super().__init__()
        self.layers, shape = build_layers(stack, image, initialisation)
        if shape != (1,):
            raise ValueError(f"the discriminator's layers give the shape {shape}, but one logit, (1,), is wanted")

    def forward(self, images: Tensor) -> Tensor:
        """Returns one logit an image."""
        logits: Tensor = self.layers(images)
        return logits.squeeze(1)
