"""A folder of coloured pictures in five classes, as people have them: some of them odd, some of no use."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {
    "blue": (30, 60, 220),
    "gold": (230, 190, 40),
    "green": (40, 170, 60),
    "pink": (240, 130, 180),
    "red": (210, 40, 40),
}


def write_pictures(root: Path, each: int) -> dict[str, int]:
    """Writes `each` pictures per class, and returns how many are odd in which way.

    Of every ten in a class, one is not square, one transparent and one of 16 bits. One file is truncated, one repeats
    another, and one is a text.
    """
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for number in range(each):
            width, height = (32, 24) if number % 10 == 1 else (24, 24)
            pixels = np.clip(random.normal(colour, 20, (height, width, 3)), 0, 255).astype(np.uint8)
            path, image = root / name / f"{number:05d}.png", Image.fromarray(pixels)
            if number % 10 == 2:
                image.putalpha(Image.fromarray(np.tri(height, width, dtype=np.uint8) * 255))
            elif number % 10 == 3:
                image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
            image.save(path)
    first = root / "red" / "00000.png"
    (root / "red" / "again.png").write_bytes(first.read_bytes())
    (root / "blue" / "half.png").write_bytes(first.read_bytes()[:600])
    (root / "gold" / "notes.txt").write_text("taken in May")
    odd = {"not square": 1, "transparent": 2, "16 bit": 3}
    return {kind: 5 * len(range(at, each, 10)) for kind, at in odd.items()} | {"skipped": 2, "left": 5 * each + 1}
