"""Networks from layer lists, in YAML or in Python.

    generator:
      - dense: 6272
      - leaky_relu: 0.2
      - reshape: [128, 7, 7]
      - conv_transpose: {channels: 64, kernel: 4, stride: 2}
      - tanh

An entry is the name of a layer in `gan_core.blocks.layers.LAYERS`: alone, or with its first setting, a list of its
settings in order, or a mapping of its settings by name.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, ValidationError
from torch import Tensor, nn

from gan_core.blocks.layers import LAYERS, Layer, Reshape, Shape
from gan_core.errors import did_you_mean

Initialisation = Literal["torch", "glorot", "normal"]
"""A distribution of initial weights; see `initialise`."""


def parse(entry: object) -> Layer:
    """Returns the layer that one entry of a layer list describes.

    Raises:
        ValueError: The layer or one of its settings does not exist, or a setting's value is not allowed.
    """
    if isinstance(entry, Mapping) and len(entry) == 1:
        name, given = next(iter(entry.items()))
    else:
        name, given = entry, {}
    kind = LAYERS.get(str(name))
    if kind is None:
        raise ValueError(f"no layer is named {name!r}.{did_you_mean(str(name), LAYERS)} Allowed: {', '.join(LAYERS)}")
    if not isinstance(given, Mapping):
        values = [given] if kind is Reshape or not isinstance(given, list | tuple) else list(given)
        if len(values) > len(kind.model_fields):
            raise ValueError(f"{name}: {len(values)} settings given, too many. Allowed: {', '.join(kind.model_fields)}")
        given = dict(zip(kind.model_fields, values, strict=False))
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        allowed = ", ".join(kind.model_fields) or "none"
        raise ValueError(
            f"{name}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}. Settings: {allowed}"
        ) from None


def _check(layers: Sequence[Any]) -> Sequence[Any]:
    for number, entry in enumerate(layers, 1):
        try:
            parse(entry)
        except ValueError as error:
            raise ValueError(f"a list of layers. Entry {number}: {error}") from None
    return layers


LayerList = Annotated[list[Any], AfterValidator(_check)]
"""The type of a layer list as a field of a variant's options: validated, but not yet built."""


def build_layers(layers: Sequence[Any], shape: Shape, initialisation: Initialisation) -> tuple[nn.Sequential, Shape]:
    """Builds a network from a layer list.

    Args:
        layers: The entries, as described at the top of this module.
        shape: The input's shape without the batch dimension: (features,) or (C, H, W).
        initialisation: See `initialise`.

    Returns:
        The network in training mode, and its output's shape without the batch dimension.

    Raises:
        ValueError: An entry is not valid, or its layer does not accept the output of the layer before it. The message
            gives the entry's position, counted from 1.
    """
    modules: list[nn.Module] = []
    for number, entry in enumerate(layers, 1):
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
    """Draws the initial weights of dense, convolutional and embedding layers, in place.

    "torch" keeps torch's own initialisation. "glorot" draws from U(-a, a) with a = sqrt(6 / (fan in + fan out)) (Glorot
    & Bengio 2010, equation 16), and "normal" from N(0, 0.02²) (Radford et al. 2016, section 4); both set biases to 0.

    Args:
        network: The network; its other layers are not changed.
        how: The distribution of the weights.
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
    """A generator from a layer list: latents z (B, latent) -> images (B, C, H, W).

    The layer list must end with a layer whose range is [-1, 1], such as `tanh`, or `sigmoid` and `affine: [2, -1]`.
    """

    def __init__(self, layers: Sequence[Any], latent: int, image: Shape, initialisation: Initialisation) -> None:
        """Builds the network.

        Args:
            layers: The layer list; see `build_layers`.
            latent: Size of the latent z.
            image: Shape of the images, (C, H, W).
            initialisation: See `initialise`.

        Raises:
            ValueError: A layer does not fit, or the last layer's output does not have the shape `image`.
        """
        super().__init__()
        self.layers, shape = build_layers(layers, (latent,), initialisation)
        if shape != image:
            raise ValueError(f"the generator's layers return the shape {shape}, but the images have {image}")

    def forward(self, z: Tensor) -> Tensor:
        """Returns one image (C, H, W) for each latent."""
        images: Tensor = self.layers(z)
        return images


class LayerListDiscriminator(nn.Module):
    """A discriminator from a layer list: images (B, C, H, W) in [-1, 1] -> logits (B,)."""

    def __init__(self, layers: Sequence[Any], image: Shape, initialisation: Initialisation) -> None:
        """Builds the network.

        Args:
            layers: The layer list; see `build_layers`.
            image: Shape of the images, (C, H, W).
            initialisation: See `initialise`.

        Raises:
            ValueError: A layer does not fit, or the last layer's output does not have the shape (1,).
        """
        super().__init__()
        self.layers, shape = build_layers(layers, image, initialisation)
        if shape != (1,):
            raise ValueError(f"the discriminator's layers return the shape {shape}, but must return one logit, (1,)")

    def forward(self, images: Tensor) -> Tensor:
        """Returns one logit per image."""
        logits: Tensor = self.layers(images)
        return logits.squeeze(1)
