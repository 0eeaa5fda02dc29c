"""Encoded pictures: what their headers say, and decoding. Nothing here imports torch, so that workers start at once."""

from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from gan_core.data.pixels import DEFAULT_LOOK, Look, fitted, is_deep, plain

HEADER = np.dtype(
    [
        *(("width", "i4"), ("height", "i4"), ("mode", "S8"), ("format", "S8"), ("deep", "?"), ("transparent", "?")),
        ("digest", "u1", 16),
    ]
)
"""What is known of a picture: its size as it is seen, Pillow's mode and name of its format, whether it has 16 bits per
channel or transparency, and the BLAKE2b hash of its encoded bytes."""

Half = Literal["", "left", "right"]
"""The part of a file that an image is: all of it, or one half, where two images of a pair lie side by side."""

_ORIENTATION, _TURNED = ExifTags.Base.Orientation, (5, 6, 7, 8)
"""The EXIF tag, and its values with which width and height are exchanged."""


def examine(image: Image.Image, content: bytes) -> tuple[Any, ...]:
    """Returns the `HEADER` of a picture, and decodes it to find out whether that is possible.

    Args:
        image: The picture, not decoded yet.
        content: Its encoded bytes.
    """
    width, height = image.size
    # Of a TIFF, Pillow gives the size after the orientation.
    if "exif" in image.info and image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _TURNED:
        width, height = height, width
    mode, kind = image.mode.encode(), (image.format or "unknown").encode()
    deep, transparent = is_deep(image), image.has_transparency_data  # Decoding forgets the first.
    image.load()
    digest = np.frombuffer(blake2b(content, digest_size=16).digest(), np.uint8)
    return width, height, mode, kind, deep, transparent, digest


def decode(
    image: Image.Image, shape: tuple[int, int, int], half: Half = "", look: Look = DEFAULT_LOOK
) -> NDArray[np.uint8]:
    """Decodes a picture to `shape`, (C, H, W) uint8.

    Applies the EXIF orientation, scales 16 bits to 8, composites transparent images on a colour, crops or squeezes, and
    resizes (bicubic).
    """
    channels, height, width = shape
    image = plain(image, look)
    if half:
        middle = image.width // 2
        image = image.crop((0 if half == "left" else middle, 0, middle if half == "left" else 2 * middle, image.height))
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    image = fitted(image, (width, height), look)
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)
