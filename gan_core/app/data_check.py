"""What a data set has in it, and what training would do with it: `gan_core data check`."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from gan_core.app.contact_sheet import sheet_of_pictures
from gan_core.app.data_rows import SHOWN, Report, check_rows, repeated, repeats
from gan_core.data.catalog import load_source, open_streamed
from gan_core.data.checked import check
from gan_core.data.folder import open_folder, splits
from gan_core.data.folder_files import Files, FolderFiles, lines, list_files, stored_files
from gan_core.data.image_table import conversions, unusable
from gan_core.data.pixels import CHANNELS, treatment
from gan_core.data.residency import RESIDENT_BYTES
from gan_core.data.source import DataRequest
from gan_core.plugins.find import DATASETS, find_plugins


def check_data(
    source: str, options: Mapping[str, Any], console: Console, *, sheet: bool
) -> tuple[Report, Image.Image | None]:
    """Reads a whole data set once.

    Args:
        source: A folder of images, or a data set as `--dataset` names it.
        options: Settings of the data set that have not their defaults, as `open_dataset` takes them.
        console: Where progress is shown.
        sheet: Whether to draw a contact sheet.

    Returns:
        What was found, and the sheet. The report's "refused" says why training would not start, None if it would.

    Raises:
        UserError: There is no such data set, or it is not in files of a folder and cannot be used.
    """
    name = named(source)
    _, plugin, path = load_source(name)
    if plugin.open is open_folder:
        return _check_folder(DataRequest(name=name, path=path, **options), console, sheet=sheet)
    return check_rows(open_streamed(name, **options), options, console, sheet=sheet)


def named(source: str) -> str:
    """Returns the data set's name: a path to a folder that is no data set's name is a folder of images."""
    known = any(source == plugin.name for plugin in find_plugins(DATASETS))
    return f"folder:{source}" if not known and Path(source).expanduser().is_dir() else source


def _check_folder(request: DataRequest, console: Console, *, sheet: bool) -> tuple[Report, Image.Image | None]:
    root = Path(request.path).expanduser()
    found = {split: list_files(folder) for split, folder in splits(root).items()}
    every: Files = {}
    for part in found.values():
        every |= part.files
    checked = check(stored_files(root, every), console)
    names, bad = checked.stored.names, unusable(checked)
    good = np.setdiff1d(np.arange(len(names)), np.fromiter(bad, np.int64, len(bad)))
    headers = checked.headers[good]
    # Class k has the number k, and files without a class -1.
    classes = [folder.name for folder in found["train"].classes]
    labels = np.concatenate([part.labels or np.full(len(part.files), -1) for part in found.values()]).astype(np.int64)
    problems = {names[at]: why for at, why in bad.items()}
    for part in found.values():
        problems |= part.problems
    sizes = {f"{width} x {height}": count for (width, height), count in _sizes(headers).most_common()}
    report = {
        "data": request.name,
        "images": len(good),
        "splits": {split: len(part.files) for split, part in found.items()} if len(found) > 1 else {},
        "sizes": dict(list(sizes.items())[:SHOWN]),
        "other sizes": max(0, len(sizes) - SHOWN),
        "modes": _kinds(headers["mode"]),
        "formats": _kinds(headers["format"]),
        "classes": {name: int((labels[good] == number).sum()) for number, name in enumerate(classes)},
        **repeats(repeated(headers["digest"]), lambda number: names[int(good[number])]),
        "failing": len(problems),
        "failures": lines(problems),
        **_training(request, headers, _usable_by_split(found, good, labels), found, bool(problems)),
    }
    if not sheet or not len(good):
        return report, None
    shown = labels[good].tolist() if classes else [None] * len(good)
    return report, sheet_of_pictures(request, checked, good, shown, classes)


def _sizes(headers: NDArray[Any]) -> Counter[tuple[int, int]]:
    """Returns how many pictures have each (width, height)."""
    sizes, counts = np.unique(np.stack([headers["width"], headers["height"]], axis=1), axis=0, return_counts=True)
    return Counter(
        {(width, height): count for (width, height), count in zip(sizes.tolist(), counts.tolist(), strict=True)}
    )


def _kinds(column: NDArray[np.bytes_]) -> dict[str, int]:
    """Returns how many pictures have each value of a header, the most frequent first."""
    kinds, counts = np.unique(column, return_counts=True)
    return dict(Counter({kind.decode(): int(count) for kind, count in zip(kinds, counts, strict=True)}).most_common())


def _training(
    request: DataRequest,
    headers: NDArray[Any],
    usable: list[dict[str, int]],
    found: Mapping[str, FolderFiles],
    failing: bool,
) -> Report:
    """Says what `train` would do with the files, and with which flags it starts."""
    refused, flags = [], []
    if failing and not request.skip_bad:
        refused.append("some files cannot be used: mend or remove them, or pass --skip-bad to leave them out")
    if failing:
        flags.append("--skip-bad")
    sizes = _sizes(headers)
    size = next(iter(sizes), (0, 0)) if request.image_size is None else (request.image_size, request.image_size)
    if len(sizes) > 1 and not request.image_size:
        refused.append("the images have different sizes: pass --image-size")
        flags.append("--image-size PIXELS")
    elif request.image_size:
        flags.append(f"--image-size {request.image_size}")
    known = {CHANNELS[mode.decode()] for mode in np.unique(headers["mode"])}
    channels = request.channels or (known.pop() if len(known) == 1 else None)
    if channels is None and len(headers):
        refused.append("some images are grey and some are not, or their modes can be either: pass --channels 1 or 3")
        flags.append("--channels 3")
    elif request.channels:
        flags.append(f"--channels {request.channels}")
    refused += [f"{name} has no image that can be used" for part in usable for name, count in part.items() if not count]
    names = [[folder.name for folder in part.classes] for part in found.values()]
    refused += ["train and test have different classes"] if names[0] != names[-1] else []
    count = sum(next(iter(usable), {}).values())
    pixels = count * size[0] * size[1] * (channels or 3)
    smaller = sum(many for (width, height), many in sizes.items() if min(width, height) < min(size))
    return {
        "refused": "; ".join(refused) or None,
        "size": f"{size[0]} x {size[1]}" if request.image_size or len(sizes) == 1 else None,
        "converted": treatment(conversions(headers, request), request.background, request.crop),
        "enlarged": smaller,
        "resident": pixels <= RESIDENT_BYTES,
        "bytes": pixels,
        "flags": " ".join([f"--dataset {request.name}", *flags]),
    }


def _usable_by_split(
    found: Mapping[str, FolderFiles], good: NDArray[np.int64], labels: NDArray[np.int64]
) -> list[dict[str, int]]:
    """Returns how many images of each class of a split can be used; without classes, of the split itself."""
    counts, start = [], 0
    for part in found.values():
        mine = labels[good[(good >= start) & (good < start + len(part.files))]]
        start += len(part.files)
        named = {f"the class folder {str(folder)!r}": number for number, folder in enumerate(part.classes)}
        counts.append({name: int((mine == number).sum()) for name, number in (named or {"the folder": -1}).items()})
    return counts
