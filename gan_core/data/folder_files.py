"""The files below an image folder. What cannot be one of its images is named as a problem, never passed over."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gan_core.console import printable
from gan_core.errors import UserError

Problems = dict[Path, str]
"""Why each of these files or folders cannot be used."""

SKIP = ", or pass --skip-bad to train without them"
"""The end of the error for files that cannot be used."""

_SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderFiles:
    """What lies in an image folder.

    Attributes:
        labels: The files, each with the number of its class folder, or None if there are none.
        classes: The class folders, in alphabetical order.
        problems: Broken links, links to folders inside a class, pipes and sockets, folders that cannot be read, and
            names that are not UTF-8.
    """

    labels: dict[Path, int | None]
    classes: list[Path]
    problems: Problems


def list_files(root: Path) -> FolderFiles:
    """Lists the files of an image folder, and what else is there. Hidden files, such as .DS_Store, are ignored.

    Raises:
        UserError: `root` is no folder, cannot be read or is empty, holds class folders and loose files, or a class is
            empty.
    """
    if not root.is_dir():
        raise UserError(f"dataset: {str(root)!r} is not a folder")
    problems: Problems = {}
    visible = _entries(root, problems)
    if root in problems:
        raise UserError(f"dataset: {str(root)!r} {problems[root]}")
    kinds = {path: _kind(path, problems) for path in visible}
    folders = [path for path in visible if kinds[path] == "folder"]
    loose = [path for path in visible if kinds[path] == "file"]
    if folders and loose:
        raise UserError(
            f"dataset: {str(root)!r} holds class folders ({folders[0].name}) and loose files ({loose[0].name}): "
            "move the files into class folders, or all images into one folder"
        )
    if not visible:
        raise UserError(f"dataset: {str(root)!r} is empty")
    labels: dict[Path, int | None] = dict.fromkeys(loose)
    for label, folder in enumerate(folders):
        count = len(labels) + len(problems)
        labels |= dict.fromkeys(_below(folder, problems), label)
        if len(labels) + len(problems) == count:
            raise UserError(f"dataset: the class folder {str(folder)!r} is empty: add images or remove it")
    return FolderFiles(labels=labels, classes=folders, problems=problems)


def list_loose(folder: Path, problems: Problems) -> list[Path]:
    """Returns the files of a folder without subfolders; adds everything else to `problems`.

    Raises:
        UserError: It is no folder, cannot be read, is empty or has subfolders.
    """
    found = list_files(folder)
    if found.classes:
        raise UserError(f"dataset: {str(folder)!r} has the subfolder {found.classes[0].name!r}: move its images up")
    problems |= found.problems
    return list(found.labels)


def describe(problems: Problems, files: int) -> str:
    """Returns the error for problems among `files` files, with the first 20 of them."""
    listed = "".join(f"\n  {line}" for line in lines(problems))
    return f"dataset: {len(problems)} of {files} files cannot be used:{listed}\nMend or remove them{SKIP}"


def lines(problems: Problems) -> list[str]:
    """Returns a line for each of the first 20 problems, and how many more there are."""
    shown = [printable(f"{path}: {why}") for path, why in sorted(problems.items())[:_SHOWN]]
    return shown + ([f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else [])


def _below(folder: Path, problems: Problems) -> list[Path]:
    """Returns the files below a class folder, in the order of their paths."""
    files, folders = [], [folder]
    while folders:
        for path in _entries(folders.pop(), problems):
            kind = _kind(path, problems)
            if kind == "file":
                files.append(path)
            elif kind == "folder" and path.is_symlink():
                problems[path] = "a link to a folder"  # It may lead back to a folder above it.
            elif kind == "folder":
                folders.append(path)
    return sorted(files)


def _entries(folder: Path, problems: Problems) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        problems[folder] = f"cannot be read: {error.strerror}"
        return []


def _kind(path: Path, problems: Problems) -> Literal["file", "folder", "problem"]:
    """Returns what stands at a path, links followed; a problem is recorded."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            str(path).encode()
            return "file"
    except OSError as error:
        problems[path] = "a broken link" if path.is_symlink() else f"cannot be read: {error.strerror}"
    except UnicodeEncodeError:
        problems[path] = "its name is not UTF-8"
    else:
        if stat.S_ISDIR(mode):
            return "folder"
        problems[path] = "a pipe, socket or device"
    return "problem"
