"""What a data set has in it, and what training would do with it: `gan_core data check`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console

from gan_core.app.contact_sheet import sheet_of_files
from gan_core.app.data_rows import SHOWN, Report, check_rows, repeats
from gan_core.data.catalog import load_source, open_dataset
from gan_core.data.dataset import RESIDENT_BYTES
from gan_core.data.folder import open_folder, splits
from gan_core.data.folder_files import FolderFiles, lines, list_files
from gan_core.data.pixels import CHANNELS, treatment
from gan_core.data.source import DataRequest
from gan_core.data.survey import Survey, surveyed
from gan_core.plugins.find import DATASETS, find_plugins
from gan_core.progress import progress


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
    return check_rows(open_dataset(name, **options), options, console, sheet=sheet)


def named(source: str) -> str:
    """Returns the data set's name: a path to a folder that is no data set's name is a folder of images."""
    known = any(source == plugin.name for plugin in find_plugins(DATASETS))
    return f"folder:{source}" if not known and Path(source).expanduser().is_dir() else source


def _check_folder(request: DataRequest, console: Console, *, sheet: bool) -> tuple[Report, Image.Image | None]:
    root = Path(request.path).expanduser()
    found = {split: list_files(folder) for split, folder in splits(root).items()}
    files = [path for part in found.values() for path in part.labels]
    labels = [label for part in found.values() for label in part.labels.values()]
    survey = Survey()
    for _ in progress(surveyed(files, labels, survey), len(files), f"checking {len(files):,} files", console):
        pass
    problems = {files[number]: why for number, why in survey.problems.items()}
    for part in found.values():
        problems |= part.problems
    classes = [folder.name for folder in found["train"].classes]
    report = {
        "data": request.name,
        "images": len(files) - len(survey.problems),
        "splits": {split: len(part.labels) for split, part in found.items()} if len(found) > 1 else {},
        "sizes": {f"{width} x {height}": count for (width, height), count in survey.sizes.most_common(SHOWN)},
        "other sizes": max(0, len(survey.sizes) - SHOWN),
        "modes": dict(survey.modes.most_common()),
        "formats": dict(survey.kinds.most_common()),
        "classes": {name: survey.classes[number] for number, name in enumerate(classes)},
        **repeats(survey.repeated(), lambda number: str(files[number])),
        "failing": len(problems),
        "failures": lines(problems),
        **_training(request, survey, found, bool(problems)),
    }
    if not sheet or not report["images"]:
        return report, None
    good = [number for number in range(len(files)) if number not in survey.problems]
    shown = sheet_of_files(request, [files[at] for at in good], [labels[at] for at in good], classes)
    return report, shown


def _training(request: DataRequest, survey: Survey, found: Mapping[str, FolderFiles], failing: bool) -> Report:
    """Says what `train` would do with the files, and with which flags it starts."""
    refused, flags = [], []
    if failing and not request.skip_bad:
        refused.append("some files cannot be used: mend or remove them, or pass --skip-bad to leave them out")
    if failing:
        flags.append("--skip-bad")
    size = next(iter(survey.sizes), (0, 0)) if request.image_size is None else (request.image_size, request.image_size)
    if len(survey.sizes) > 1 and not request.image_size:
        refused.append("the images have different sizes: pass --image-size")
        flags.append("--image-size PIXELS")
    elif request.image_size:
        flags.append(f"--image-size {request.image_size}")
    known = {CHANNELS[mode] for mode in survey.modes}
    channels = request.channels or (known.pop() if len(known) == 1 else None)
    if channels is None and survey.modes:
        refused.append("some images are grey and some are not, or their modes can be either: pass --channels 1 or 3")
        flags.append("--channels 3")
    elif request.channels:
        flags.append(f"--channels {request.channels}")
    usable = [_usable(part) for part in _by_split(survey, found)]
    refused += [f"{name} has no image that can be used" for part in usable for name, count in part.items() if not count]
    names = [[folder.name for folder in part.classes] for part in found.values()]
    refused += ["train and test have different classes"] if names[0] != names[-1] else []
    counted = {
        "16 bit": survey.deep,
        "transparent": survey.transparent,
        "not square": sum(count for (width, height), count in survey.sizes.items() if width != height)
        if request.image_size
        else 0,
    }
    count = sum(next(iter(usable), {}).values())
    pixels = count * size[0] * size[1] * (channels or 3)
    smaller = sum(many for (width, height), many in survey.sizes.items() if min(width, height) < min(size))
    return {
        "refused": "; ".join(refused) or None,
        "size": f"{size[0]} x {size[1]}" if request.image_size or len(survey.sizes) == 1 else None,
        "converted": treatment({k: v for k, v in counted.items() if v}, request.background, request.crop),
        "enlarged": smaller,
        "resident": pixels <= RESIDENT_BYTES,
        "bytes": pixels,
        "flags": " ".join([f"--dataset {request.name}", *flags]),
    }


def _by_split(survey: Survey, found: Mapping[str, FolderFiles]) -> Iterator[tuple[FolderFiles, list[int | None]]]:
    """Yields each split's files, and the class of each that can be used."""
    start = 0
    for part in found.values():
        labels = list(part.labels.values())
        yield part, [label for at, label in enumerate(labels, start) if at not in survey.problems]
        start += len(labels)


def _usable(part: tuple[FolderFiles, list[int | None]]) -> dict[str, int]:
    """Returns how many images of each class of a split can be used; without classes of the split itself."""
    files, labels = part
    counted = Counter(labels)
    if not files.classes:
        return {"the folder": counted[None]}
    return {f"the class folder {str(folder)!r}": counted[label] for label, folder in enumerate(files.classes)}
