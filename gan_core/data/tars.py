"""webdataset:PATTERN, images in tar shards as the library webdataset writes them, read at any place.

A sample is the members of one name up to its first dot, such as 000123.jpg and 000123.cls, next to each other. The
library reads shards from their beginning to their end, so its order is a shuffle of shards and of a buffer, and a
resumed run must skip or repeat images. Here the place of each member is noted once and remembered, so that shards have
rows like any other data set: every epoch is a permutation of all images of all shards, the same on any number of
processes, and resuming skips without reading. It needs files that can be read at any place: no pipes, no .tar.gz.
"""

import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np

from gan_core.data.dataset import Dataset
from gan_core.data.folder_files import Problems
from gan_core.data.image_table import Part, labelled_dataset, usable
from gan_core.data.labels import Labels, labels_of_rows
from gan_core.data.members import StoredMembers, stamp_of
from gan_core.data.names import Names
from gan_core.data.remembered import Remembered
from gan_core.data.source import DataRequest, DataSource
from gan_core.errors import UserError
from gan_core.progress import reading

_IMAGES = ("jpg", "jpeg", "png", "webp", "ppm", "pgm")
"""The kinds of members that are images, unless `image_column` names one."""
_LABEL = "cls"
"""The kind of the members with the class, in the library's own examples."""


@dataclass
class Shard:
    """The samples of one shard: the name of each image, where it lies, and the text of its label ("" without)."""

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def open_shards(request: DataRequest) -> Dataset:
    """Describes the images of tar shards, in the order of the shards and of their members.

    Raises:
        UserError: There is no such shard, one is cut off, or a sample has no readable image or no label.
    """
    paths = shards_of(request.path)
    problems: Problems = {}
    shards, stamps = [], []
    for path in reading(paths, len(paths), f"reading the directories of {len(paths):,} shards"):
        shard, stamp = _remembered(path, request, problems)
        shards.append(shard)
        stamps.append(stamp)
    counts = [len(shard.names) for shard in shards]
    if not sum(counts):
        raise UserError(f"dataset: {request.path!r} has no image" + _listed(problems))
    file_of = np.repeat(np.arange(len(shards)), counts)
    stored = StoredMembers(
        place=str(Path(request.path).absolute()),
        names=Names.of(f"{path}: {name}" for path, shard in zip(paths, shards, strict=True) for name in shard.names),
        stamps=np.array(stamps, dtype=np.int64)[file_of],
        files=[str(path) for path in paths],
        file_of=file_of,
        offsets=np.concatenate([np.array(shard.offsets, dtype=np.int64) for shard in shards]),
        sizes=np.concatenate([np.array(shard.sizes, dtype=np.int64) for shard in shards]),
        deflated=np.zeros(len(file_of), dtype=bool),
        checksums=np.full(len(file_of), -1),
    )
    texts = [label for shard in shards for label in shard.labels]
    part = Part(numbers=np.arange(len(file_of)), labels=_labels(texts, stored.names, request, problems))
    return labelled_dataset(request, usable(stored, problems, request), {"train": part})


def shards_of(pattern: str) -> list[Path]:
    """Returns the shards of a pattern, such as shards/{000..012}.tar or shards/*.tar, in order.

    Raises:
        UserError: One of them is not there.
    """
    paths: list[Path] = []
    for one in _expanded(str(Path(pattern).expanduser())):
        found = sorted(glob(one)) if re.search(r"[*?\[]", one) else [one]  # noqa: PTH207 (a pattern may be absolute)
        missing = [path for path in found if not Path(path).is_file()]
        if missing or not found:
            raise UserError(f"dataset: {missing[0] if missing else one!r} is no shard that is there")
        paths += [Path(path).absolute() for path in found]
    return paths


def _expanded(pattern: str) -> Iterator[str]:
    """Yields the texts of a pattern with {000..012} or {a,b}, as shells expand them."""
    match = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)
    if match is None:
        yield pattern
        return
    first, last, names = match.groups()
    parts = names.split(",") if names else [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    for part in parts:
        yield from _expanded(pattern[: match.start()] + part + pattern[match.end() :])


def _remembered(path: Path, request: DataRequest, problems: Problems) -> tuple[Shard, tuple[int, int]]:
    """Returns the samples of a shard, and the stamp of its file; what is wrong is added to `problems`."""
    kinds = (request.image_column or "", request.label_column or _LABEL)
    stamp, found = stamp_of(path), Problems()
    memory = Remembered("tar", f"{path} {kinds}")
    index = memory.once(stamp, lambda: (_arrays(_indexed(path, *kinds, found)), not found))
    problems |= found
    names, labels = (
        list(Names(index[f"{key} text"].tobytes(), index[f"{key} ends"].astype(np.int64)))
        for key in ("names", "labels")
    )
    return Shard(names, index["offsets"].tolist(), index["sizes"].tolist(), labels), stamp


def _arrays(shard: Shard) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    arrays: dict[str, Any] = {"offsets": np.array(shard.offsets), "sizes": np.array(shard.sizes)}
    for key, texts in (("names", Names.of(shard.names)), ("labels", Names.of(shard.labels))):
        arrays |= {f"{key} text": np.frombuffer(texts.text, np.uint8), f"{key} ends": texts.ends}
    return arrays


def _indexed(path: Path, image: str, label: str, problems: Problems) -> Shard:
    """Reads the headers of a shard, and its labels."""
    shard, kinds = Shard(), (image,) if image else _IMAGES
    size = path.stat().st_size
    samples: dict[str, dict[str, tarfile.TarInfo]] = {}
    end = 0
    with path.open("rb") as raw:
        try:
            with tarfile.open(fileobj=raw, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                    if member.isfile() and not Path(member.name).name.startswith("."):
                        key, kind = _key(member.name)
                        samples.setdefault(key, {})[kind] = member
        except tarfile.TarError as error:
            problems[str(path)] = f"is cut off, or no tar without compression: {error}"
        else:
            if size < end + tarfile.BLOCKSIZE:
                problems[str(path)] = "has no end mark: it is cut off"
        for key, members in samples.items():
            picture = next((members[kind] for kind in kinds if kind in members), None)
            if picture is None:
                problems[f"{path}: {key}"] = f"has no image ({', '.join(kinds)}), but {', '.join(sorted(members))}"
            elif picture.offset_data + picture.size > size:
                problems[f"{path}: {picture.name}"] = "is cut off"
            else:
                shard.names.append(picture.name)
                shard.offsets.append(picture.offset_data)
                shard.sizes.append(picture.size)
                shard.labels.append(_text(raw, members.get(label)))
    return shard


def _key(name: str) -> tuple[str, str]:
    """Divides a member's name at the first dot of its last part, as webdataset does: "a/b.seg.png" is a/b, seg.png."""
    folder, slash, last = name.rpartition("/")
    key, _, kind = last.partition(".")
    return folder + slash + key, kind.lower()


def _text(raw: Any, member: tarfile.TarInfo | None) -> str:
    if member is None:
        return ""
    raw.seek(member.offset_data)
    return str(raw.read(member.size).decode("utf-8", "replace").strip())


def _labels(texts: list[str], names: Names, request: DataRequest, problems: Problems) -> Labels | None:
    """Returns the labels, if any sample has one."""
    if not any(texts):
        if request.label_column is not None:
            raise UserError(f"label_column: no sample of {request.path!r} has a member {request.label_column!r}")
        return None
    known = [int(text) if text.isdecimal() else text for text in texts if text]
    if not all(isinstance(value, int) for value in known):
        known = [str(value) for value in known]
    values = iter(known)
    return labels_of_rows([next(values) if text else None for text in texts], (), request.path, names, problems)


def _listed(problems: Mapping[str, str]) -> str:
    return "".join(f"\n  {name}: {why}" for name, why in list(problems.items())[:20])


webdataset = DataSource(api=1, open=open_shards, path="PATTERN", columns=True)
"""webdataset:PATTERN, images in tar shards, such as webdataset:shards/{000..012}.tar, with labels in .cls members."""
