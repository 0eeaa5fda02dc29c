"""Encoded pictures: what their headers say, and decoding. Nothing here imports torch, so that workers start at once."""

from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

HEADER = np.dtype([("width", "i4"), ("height", "i4"), ("mode", "S8"), ("digest", "u1", 16)])
"""What is known of a picture: its size as it is seen, Pillow's mode, and the BLAKE2b hash of its encoded bytes."""

Half = Literal["", "left", "right"]
"""The part of a file that an image is: all of it, or one half, where two images of a pair lie side by side."""

_ORIENTATION, _TURNED = ExifTags.Base.Orientation, (5, 6, 7, 8)
"""The EXIF tag, and its values with which width and height are exchanged."""


def examine(image: Image.Image, content: bytes) -> tuple[int, int, bytes, NDArray[np.uint8]]:
    """Returns the `HEADER` of a picture, and decodes it to find out whether that is possible.

    Args:
        image: The picture, not decoded yet.
        content: Its encoded bytes.
    """
    width, height = image.size
    # Of a TIFF, Pillow gives the size after the orientation.
    if "exif" in image.info and image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _TURNED:
        width, height = height, width
    mode = image.mode
    image.load()
    return width, height, mode.encode(), np.frombuffer(blake2b(content, digest_size=16).digest(), np.uint8)


def decode(image: Image.Image, shape: tuple[int, int, int], half: Half = "") -> NDArray[np.uint8]:
    """Decodes a picture to `shape`, (C, H, W) uint8.

    Applies the EXIF orientation, composites transparent images on white, crops to the centre, and resizes (bicubic).
    """
    channels, height, width = shape
    ImageOps.exif_transpose(image, in_place=True)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if half:
        middle = image.width // 2
        image = image.crop((0 if half == "left" else middle, 0, middle if half == "left" else 2 * middle, image.height))
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)
