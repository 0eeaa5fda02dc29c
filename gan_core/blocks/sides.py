"""The sides of the maps of networks that double or halve them between 4 x 4 pixels and the image."""

from math import log2


def doubled_sides(image_size: int, variant: str) -> list[int]:
    """Returns 4, 8, 16, ... up to the image's side.

    Args:
        image_size: The side in pixels: a power of two, at least 8.
        variant: The variant's name, for the error message.

    Raises:
        ValueError: The side is another one.
    """
    nearest = max(8, 2 ** round(log2(image_size)))
    if image_size != nearest:
        raise ValueError(
            f"image size {image_size} does not fit {variant}, which doubles the side from 4 pixels on: it must be a "
            f"power of two, and at least 8. Try --image-size {nearest}"
        )
    return [4 << step for step in range(nearest.bit_length() - 2)]
