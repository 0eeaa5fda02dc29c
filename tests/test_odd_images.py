"""Images that are not plain: 16 bits per channel, transparency, other proportions; each is converted and counted."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_core.cli.tables.plan import plan_rows
from gan_core.data.catalog import open_dataset
from gan_core.errors import UserError
from tests.conftest import make_job
from tests.test_data import picture


def only(folder: Path, **options: object) -> Tensor:
    """Returns the one image of a folder, (C, H, W) uint8."""
    (rows,) = open_dataset(f"folder:{folder}", **options).read("images", "train").batches([[0]])  # type: ignore[arg-type]
    return rows["images"][0]


def png(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values.astype(np.uint16)).save(path)


def tiff_big_endian(path: Path, values: np.ndarray) -> None:
    Image.frombytes("I;16B", values.shape[::-1], values.astype(">u2").tobytes()).save(path.with_suffix(".tiff"))


@pytest.mark.parametrize("write", [png, tiff_big_endian])
def test_sixteen_bits_are_scaled_to_eight(write: Callable[[Path, np.ndarray], None], tmp_path: Path) -> None:
    # 257 = 65535 / 255, so 128 rounds down and 129 up.
    values = np.array([[0, 128, 129, 257], [32768, 65278, 65406, 65407], [65535, 512, 1000, 40000], [1, 2, 3, 4]])
    write(tmp_path / "deep.png", values)
    dataset = open_dataset(f"folder:{tmp_path}")
    assert (dataset.spec.channels, dataset.converted) == (1, {"16 bit": 1})
    expected = torch.from_numpy(np.rint(values / 257).astype(np.uint8))
    assert torch.equal(only(tmp_path), expected[None])
    assert torch.equal(only(tmp_path, channels=3), expected.expand(3, -1, -1))


def test_a_transparent_value_of_sixteen_bits_is_laid_on_the_background(tmp_path: Path) -> None:
    values = np.array([[257 * 7, 257 * 9], [257 * 7 + 1, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png", transparency=257 * 7)
    assert only(tmp_path, channels=1, background="black")[0].tolist() == [[0, 9], [7, 255]]


def test_an_orientation_is_applied_to_sixteen_bits(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned by 90 degrees.
    Image.fromarray((np.array([[10, 20], [30, 40], [50, 60]]) * 257).astype(np.uint16)).save(
        tmp_path / "deep.png", exif=exif
    )
    assert only(tmp_path)[0].tolist() == [[50, 30, 10], [60, 40, 20]]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_modes_without_a_known_range_stay_refused(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / "odd.tiff")
    with pytest.raises(UserError, match=rf"odd\.tiff: its mode is {mode}; allowed: 1, L, I;16"):
        open_dataset(f"folder:{tmp_path}")


def test_transparency_is_laid_on_the_colour_that_is_set(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (200, 100, 0, 51)).save(tmp_path / "glass.png")  # A fifth of it is opaque.
    expected = {"white": (244, 224, 204), "#0000ff": (40, 20, 204), "black": (40, 20, 0)}
    for background, colour in expected.items():
        image = only(tmp_path, channels=3, background=background)
        assert (image.float() - torch.tensor(colour).view(3, 1, 1)).abs().max() <= 1
    with pytest.raises(UserError, match=r"background: 'whit' is not allowed. It must be a colour, such as gray or #RR"):
        make_job(variant="vanilla", background="whit")
    with pytest.raises(UserError, match=r"background: '#00000000' is not allowed"):
        make_job(variant="vanilla", background="#00000000")


def test_other_proportions_are_cropped_or_squeezed(tmp_path: Path) -> None:
    columns = np.repeat(np.array([[0, 0, 200, 200, 200, 200, 0, 0]], dtype=np.uint8), 4, axis=0)
    Image.fromarray(columns).save(tmp_path / "wide.png")
    assert only(tmp_path, image_size=4).unique().tolist() == [200]
    squeezed = only(tmp_path, image_size=4, crop="none")[0, 0]
    assert squeezed[0] < 50 < 150 < squeezed[1]
    assert squeezed.tolist() == squeezed.flip(0).tolist()


def test_the_plan_and_the_run_say_what_was_done(tmp_path: Path, train: Callable[..., str]) -> None:
    root = tmp_path / "pictures"
    picture(root / "plain.png", seed=1)
    picture(root / "glass.png", mode="RGBA", seed=2)
    picture(root / "wide.png", (24, 16), seed=3)
    png(root / "deep.png", np.random.default_rng(0).integers(0, 65536, (16, 16)))
    (root / "notes.txt").write_text("hello")
    given = {"variant": "vanilla", "dataset": f"folder:{root}", "channels": 3, "image_size": 16, "skip_bad": True}
    job = make_job("width=4", "batch=4", "steps=1", background="gray", **given)
    rows = plan_rows(job, job.build(), 4)
    assert rows["converted"] == (
        "1 of 16 bits are scaled to 8, 1 with transparency are laid on gray, 1 that are not square are cropped at "
        "their centre"
    )
    assert rows["skipped"] == f"1 files: {root}/notes.txt: not an image"
    train("width=4", "batch=4", "steps=1", out=tmp_path / "run", **given)
    metadata = json.loads((tmp_path / "run" / "run.json").read_text())
    assert metadata["converted_files"] == {"16 bit": 1, "transparent": 1, "not square": 1}
    assert metadata["skipped_files"] == 1


def test_colour_images_of_sixteen_bits_are_counted(tmp_path: Path) -> None:
    # Pillow writes none: PNG's signature, header (2 x 2, 16 bits, RGB), pixels and end.
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(
        b"\0" + struct.pack(">6H", *[257 * value for value in row]) for row in ([1, 2, 3, 4, 5, 6], [7] * 6)
    )
    (tmp_path / "deep.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    assert open_dataset(f"folder:{tmp_path}").converted == {"16 bit": 1}
    assert only(tmp_path)[:, 0, 0].tolist() == [1, 2, 3]
