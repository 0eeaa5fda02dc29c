"""Makes pairs from photographs: python -m tests.edges PHOTOGRAPHS PAIRS [SIDE], for horse2zebra or any such folder.

PHOTOGRAPHS has trainA and testA, as the data sets of pytorch-CycleGAN-and-pix2pix do. PAIRS gets train and test, in
which each file has the edges of a photograph on the left and the photograph itself, at SIDE x SIDE pixels (64), on the
right.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
"""Along x; per unit of distance, so that a ramp of 1 per pixel has the gradient 1."""

THRESHOLD = 20.0
"""Gradients of at least this many grey levels per pixel are edges."""


def edges(photograph: Image.Image) -> Image.Image:
    """Returns black edges on white, mode L: where the Sobel gradient of the grey image reaches `THRESHOLD`."""
    grey = torch.from_numpy(np.array(photograph.convert("L"), np.float32))[None, None]
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    gradient = F.conv2d(padded, torch.stack([SOBEL, SOBEL.T])[:, None])[0].norm(dim=0)
    return Image.fromarray(torch.where(gradient >= THRESHOLD, 0, 255).to(torch.uint8).numpy())


def side_by_side(photograph: Image.Image, side: int) -> Image.Image:
    """Returns the edges and the photograph at `side` x `side` pixels, in one RGB image of twice the width."""
    small = photograph.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    pair = Image.new("RGB", (2 * side, side))
    pair.paste(edges(small).convert("RGB"), (0, 0))
    pair.paste(small, (side, 0))
    return pair


def main(photographs: Path, pairs: Path, side: int = 64) -> None:
    """Writes the pairs of both splits as PNGs."""
    for split in ("train", "test"):
        (pairs / split).mkdir(parents=True)
        for path in sorted((photographs / f"{split}A").iterdir()):
            with Image.open(path) as photograph:
                side_by_side(photograph, side).save(pairs / split / f"{path.stem}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
