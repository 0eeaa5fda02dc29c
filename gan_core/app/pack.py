"""Packing a data set into one zip, in the layout of StyleGAN's dataset_tool (Karras et al.).

The members are 00000/img00000000.png and so on, 1,000 in a folder, and dataset.json with the labels. All is stored
without compression, also within the PNGs, so that reading costs little; times and permissions are fixed, so that the
same images give the same file. Images are packed in parts, zips in a folder beside the file, each named after a hash of
what is in it: a part that is there is whole, and is not made again.
"""

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

import PIL
from rich.console import Console
from torch import Tensor

from gan_core.data.catalog import open_streamed
from gan_core.data.dataset import Dataset, Rows
from gan_core.data.pixels import treatment
from gan_core.errors import UserError, did_you_mean
from gan_core.game.data_spec import ImageField, LabelField
from gan_core.progress import progress
from gan_core.runs.atomic import remove_unfinished, replacing, sync
from gan_core.sampling.files import picture

_PART = 256
"""Images in a part."""
_LAYOUT = 1
"""Version of the parts: another one makes them anew."""


def pack_dataset(name: str, split: str, options: Mapping[str, Any], out: Path, console: Console) -> Iterator[str]:
    """Writes the images of one split, as training shows them, to a zip, and yields lines that say what was done.

    Args:
        name: The data set.
        split: Its split.
        options: Settings of the data set that have not their defaults, as `open_dataset` takes them.
        out: The file, which must not be there.
        console: Where progress is shown.

    Raises:
        UserError: The data set cannot be used, or its rows are not single square images.
    """
    parts = out.with_name(f"{out.name}.parts")
    if os.path.lexists(out):
        if parts.is_dir() and not any(parts.iterdir()):  # It was killed at the very end.
            parts.rmdir()
            yield f"{out} is complete from before"
            return
        raise UserError(f"out: {str(out)!r} already exists. Remove it, or use another file")
    dataset = open_streamed(name, **options)
    image, labels = _fields(dataset, split)
    rows, count = dataset.read("images", split), dataset.splits[split]["images"]
    parts.mkdir(parents=True, exist_ok=True)
    remove_unfinished(parts)
    fingerprint = rows.fingerprint
    blocks = [range(start, min(start + _PART, count)) for start in range(0, count, _PART)]
    paths = [parts / f"{block.start:08d}-{_key(fingerprint, image, options, block)}.zip" for block in blocks]
    missing = {path: block for path, block in zip(paths, blocks, strict=True) if not path.exists()}
    if len(missing) < len(paths):
        yield f"{len(paths) - len(missing):,} of {len(paths):,} parts are there from before"
    left = sum(map(len, missing.values()))
    for _ in progress(_write_parts(rows, missing), left, f"packing {left:,} images", console):
        pass
    numbers = None if labels is None else rows.labels["labels"].tolist()
    joined = parts / "joined"
    _join(paths, numbers, () if labels is None else labels.names, joined, count, console)
    for path in parts.iterdir():
        if path != joined:
            path.unlink()
    joined.replace(out)
    parts.rmdir()
    yield from _said(dataset, options, image, labels, count, out)


def _fields(dataset: Dataset, split: str) -> tuple[ImageField, LabelField | None]:
    """Returns the image field, and the labels if there are any.

    Raises:
        UserError: The layout cannot hold the data set.
    """
    name = dataset.spec.name
    if split not in dataset.splits:
        near = did_you_mean(split, dataset.splits)
        raise UserError(f"split: {name!r} has no {split!r}.{near} Allowed: {', '.join(dataset.splits)}")
    fields = dataset.spec.fields
    if list(dataset.spec.tables) != ["images"] or not isinstance(image := fields.get("images"), ImageField):
        raise UserError(
            f"dataset: {name!r} cannot be packed: the layout has one image per row, but this has {', '.join(fields)}"
        )
    if image.width != image.height:
        raise UserError(f"image_size: {image.width} x {image.height} is not square. Pass --image-size")
    labels = fields.get("labels")
    return image, labels if isinstance(labels, LabelField) else None


def _key(fingerprint: str, image: ImageField, options: Mapping[str, Any], block: range) -> str:
    """Returns a hash of everything on which the content of a part depends."""
    look = options.get("background"), options.get("crop")
    about = (_LAYOUT, PIL.__version__, fingerprint, image.shape, look, block)
    return blake2b(repr(about).encode(), digest_size=8).hexdigest()


def _write_parts(rows: Rows, blocks: Mapping[Path, range]) -> Iterator[None]:
    """Writes these parts, and yields once for each image."""
    batches = rows.batches(list(block) for block in blocks.values())
    with ThreadPoolExecutor() as pool:
        for (path, block), batch in zip(blocks.items(), batches, strict=True):
            with replacing(path) as new, ZipFile(new, "w") as file:
                for at, content in zip(block, pool.map(_png, batch["images"].cpu()), strict=True):
                    file.writestr(_info(_name(at)), content)
                    yield


def _png(image: Tensor) -> bytes:
    content = BytesIO()
    picture(image).save(content, "PNG", compress_level=0)
    return content.getvalue()


def _name(number: int) -> str:
    return f"{number // 1000:05d}/img{number:08d}.png"


def _info(name: str) -> ZipInfo:
    """Returns a member without a time of its own, readable by all."""
    info = ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o644 << 16  # As on Unix.
    return info


def _join(
    paths: list[Path],
    labels: list[int] | None,
    names: tuple[str, ...],
    out: Path,
    count: int,
    console: Console,
) -> None:
    """Writes the file from its parts.

    Raises:
        UserError: A part is damaged; it is removed.
    """

    def members() -> Iterator[tuple[str, bytes]]:
        for path in paths:
            try:
                with ZipFile(path) as part:
                    for member in part.namelist():
                        yield member, part.read(member)  # Which checks its CRC.
            except BadZipFile as error:
                path.unlink()
                raise UserError(f"out: the part {str(path)!r} is damaged ({error}) and was removed. Repeat") from error

    about: dict[str, Any] = {"labels": None if labels is None else [[_name(at), n] for at, n in enumerate(labels)]}
    if names:
        about["class_names"] = names  # Not part of StyleGAN's layout: its loader reads only the labels.
    with ZipFile(out, "w") as file:
        for name, content in progress(members(), count, f"joining {len(paths):,} parts", console):
            file.writestr(_info(name), content)
        file.writestr(_info("dataset.json"), json.dumps(about))
    sync(out)


def _said(
    dataset: Dataset,
    options: Mapping[str, Any],
    image: ImageField,
    labels: LabelField | None,
    count: int,
    out: Path,
) -> Iterator[str]:
    """Yields what was done, line by line."""
    colour = "grey" if image.channels == 1 else "RGB"
    classes = "no labels" if labels is None else f"{labels.classes} classes: {', '.join(labels.names[:20])}"
    yield f"{out}: {count:,} images, {image.width} x {image.height} {colour}, {classes}"
    yield from treatment(dataset.converted, options.get("background", "white"), options.get("crop", "centre"))
    if dataset.skipped:
        yield f"{dataset.skipped:,} files are left out:"
        yield from (f"  {line}" for line in dataset.left_out)
    if image.width & (image.width - 1):
        yield f"StyleGAN's own networks need a power of two, which {image.width} is not"
