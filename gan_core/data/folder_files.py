"""The files below an image folder. What cannot be one of its images is named as a problem, never passed over."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from gan_core.console import printable
from gan_core.data.names import Names
from gan_core.data.stored import StoredFiles
from gan_core.errors import UserError

Problems = dict[str, str]
"""Why each of these files, members or folders cannot be used."""

Files = dict[str, tuple[int, int]]
"""Files by path, each with its size in bytes and the time of its last change in nanoseconds."""

SKIP = ", or pass --skip-bad to train without them"
"""The end of the error for files that cannot be used."""

_SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderFiles:
    """What lies in an image folder.

    Attributes:
        files: The files, class by class.
        labels: The number of each file's class folder; empty if there are none.
        classes: The class folders, in alphabetical order.
        problems: Broken links, links to folders inside a class, pipes and sockets, folders that cannot be read, and
            names that are not UTF-8.
    """

    files: Files
    labels: list[int]
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
    visible = _entries(str(root), problems)
    if str(root) in problems:
        raise UserError(f"dataset: {str(root)!r} {problems[str(root)]}")
    loose: Files = {}
    kinds = {entry.name: _kind(entry, problems, loose) for entry in visible}
    folders = [entry for entry in visible if kinds[entry.name] == "folder"]
    if folders and loose:
        raise UserError(
            f"dataset: {str(root)!r} holds class folders ({folders[0].name}) and loose files "
            f"({Path(next(iter(loose))).name}): move the files into class folders, or all images into one folder"
        )
    if not visible:
        raise UserError(f"dataset: {str(root)!r} is empty")
    files, labels = loose, list[int]()
    for label, folder in enumerate(folders):
        before = len(problems)
        found = _below(folder.path, problems)
        if not found and len(problems) == before:
            raise UserError(f"dataset: the class folder {folder.path!r} is empty: add images or remove it")
        files |= found
        labels += [label] * len(found)
    return FolderFiles(files=files, labels=labels, classes=[Path(folder.path) for folder in folders], problems=problems)


def list_loose(folder: Path, problems: Problems) -> Files:
    """Returns the files of a folder without subfolders; adds everything else to `problems`.

    Raises:
        UserError: It is no folder, cannot be read, is empty or has subfolders.
    """
    found = list_files(folder)
    if found.classes:
        raise UserError(f"dataset: {str(folder)!r} has the subfolder {found.classes[0].name!r}: move its images up")
    problems |= found.problems
    return found.files


def stored_files(root: Path, files: Files) -> StoredFiles:
    """Returns the files below `root` as stored pictures."""
    stamps = np.array(list(files.values()), dtype=np.int64).reshape(-1, 2)
    return StoredFiles(place=str(root.absolute()), names=Names.of(files), stamps=stamps)


def describe(problems: Problems, files: int) -> str:
    """Returns the error for problems among `files` files, with the first 20 of them."""
    listed = "".join(f"\n  {line}" for line in lines(problems))
    return f"dataset: {len(problems)} of {files} files cannot be used:{listed}\nMend or remove them{SKIP}"


def lines(problems: Problems) -> list[str]:
    """Returns a line for each of the first 20 problems, and how many more there are."""
    shown = [printable(f"{path}: {why}") for path, why in sorted(problems.items())[:_SHOWN]]
    return shown + ([f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else [])


def _below(folder: str, problems: Problems) -> Files:
    """Returns the files below a class folder, in the order of their paths."""
    files: Files = {}
    folders = [folder]
    while folders:
        for entry in _entries(folders.pop(), problems):
            if _kind(entry, problems, files) != "folder":
                continue
            if entry.is_symlink():
                problems[entry.path] = "a link to a folder"  # It may lead back to a folder above it.
            else:
                folders.append(entry.path)
    # By their parts, as paths are compared; `Path.parts` would take ten times as long.
    return dict(sorted(files.items(), key=lambda item: item[0].split(os.sep)))  # noqa: PTH206


def _entries(folder: str, problems: Problems) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        problems[folder] = f"cannot be read: {error.strerror}"
        return []


def _kind(entry: "os.DirEntry[str]", problems: Problems, files: Files) -> Literal["file", "folder", "problem"]:
    """Returns what stands at a path, links followed; a file is added to `files`, and a problem to `problems`."""
    try:
        found = entry.stat()
        if stat.S_ISREG(found.st_mode):
            entry.path.encode()
            files[entry.path] = (found.st_size, found.st_mtime_ns)
            return "file"
    except OSError as error:
        problems[entry.path] = "a broken link" if entry.is_symlink() else f"cannot be read: {error.strerror}"
    except UnicodeEncodeError:
        problems[entry.path] = "its name is not UTF-8"
    else:
        if stat.S_ISDIR(found.st_mode):
            return "folder"
        problems[entry.path] = "a pipe, socket or device"
    return "problem"
