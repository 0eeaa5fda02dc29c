"""What is done with images that are not plain: 16 bits, transparency, other proportions. Nothing here imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

CHANNELS = {
    **dict.fromkeys(("1", "L", "I;16", "I;16B", "I;16L"), 1),
    **dict.fromkeys(("RGB", "YCbCr", "CMYK"), 3),
    **dict.fromkeys(("LA", "P", "PA", "RGBA"), None),
}
"""Channels of Pillow's modes; None where the user must choose. Other modes have no known range."""

Crop = Literal["centre", "none"]
"""How images of other proportions are fitted: cropped at their centre, or squeezed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How images are converted, beyond their size and colour.

    Attributes:
        background: The colour on which transparent images are laid, as Pillow names it: "white" or "#ffffff".
        crop: How images of other proportions are fitted.
    """

    background: str = "white"
    crop: Crop = "centre"


DEFAULT_LOOK = Look()


def is_deep(image: Image.Image) -> bool:
    """Returns whether an image that is not decoded yet has 16 bits per channel, of which Pillow's mode says nothing."""
    return image.mode.startswith("I;16") or any(";16" in str(tile) for tile in getattr(image, "tile", ()))


def plain(image: Image.Image, look: Look) -> Image.Image:
    """Returns the image with its EXIF orientation applied, 8 bits per channel, and no transparency."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, look.background), image)
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scales 0 to 65535 to 0 to 255; a transparent value becomes an alpha channel."""
    values = np.asarray(image).astype(np.uint32)
    scaled = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if (clear := image.info.get("transparency")) is not None:
        scaled.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return scaled


def fitted(image: Image.Image, size: tuple[int, int], look: Look) -> Image.Image:
    """Returns the image at `size`, (width, height) in pixels, resized by bicubic interpolation."""
    if image.size == size:
        return image
    if look.crop == "none":
        return image.resize(size, Image.Resampling.BICUBIC)
    return ImageOps.fit(image, size, Image.Resampling.BICUBIC)


def treatment(counted: Mapping[str, int], background: str, crop: Crop) -> list[str]:
    """Says what is done with the images that `Dataset.converted` counts: "12 of 16 bits are scaled to 8"."""
    done = {
        "16 bit": "of 16 bits are scaled to 8",
        "transparent": f"with transparency are laid on {background}",
        "not square": "that are not square are " + ("squeezed" if crop == "none" else "cropped at their centre"),
    }
    return [f"{counted[kind]:,} {text}" for kind, text in done.items() if kind in counted]
