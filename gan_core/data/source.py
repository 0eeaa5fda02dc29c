"""The interface of data set plugins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from gan_core.data.dataset import Dataset
from gan_core.data.pixels import DEFAULT_LOOK, Crop, Look
from gan_core.errors import UserError, did_you_mean

API = 1
"""Version of the interface of data sets that this gan_core supports."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataRequest:
    """What the settings say of the data set.

    Attributes:
        name: The data set as the user names it, such as "mnist" or "folder:cats".
        path: What follows the colon, "" without one.
        data_dir: The folder of `--data-dir`, or None.
        image_size: Height and width in pixels to resize to; None keeps the data's own.
        channels: 1 converts to grey, 3 to RGB; None keeps the data's own.
        skip_bad: Whether to leave out files that are not readable images, and name them in `Dataset.left_out`.
        background: The colour on which transparent images are laid.
        crop: Whether images of other proportions are cropped at their centre or squeezed.
        resident: Whether images stay in memory ("yes"), are decoded each time ("no"), or as their size has it ("auto").
        workers: How many processes decode streamed images, for each process that trains; None: as there are cores.
        image_column: The column or kind of file that has the images, for data sets that have columns.
        label_column: That of the labels.
    """

    name: str
    path: str = ""
    data_dir: Path | None = None
    image_size: int | None = None
    channels: int | None = None
    skip_bad: bool = False
    background: str = DEFAULT_LOOK.background
    crop: Crop = DEFAULT_LOOK.crop
    resident: Literal["auto", "yes", "no"] = "auto"
    workers: int | None = None
    image_column: str | None = None
    label_column: str | None = None

    @property
    def look(self) -> Look:
        """How images are converted, beyond their size and colour."""
        return Look(background=self.background, crop=self.crop)

    @classmethod
    def settings(cls) -> list[str]:
        """Returns the settings that a data set is given, by name."""
        return [one.name for one in fields(cls) if one.name not in ("name", "path")]

    @classmethod
    def options_in(cls, settings: BaseModel) -> dict[str, Any]:
        """Returns those settings."""
        return {key: getattr(settings, key) for key in cls.settings()}


COLUMNS = ("image_column", "label_column")
"""The settings that only data sets with columns take."""


def check_column(key: str, asked: str, names: Sequence[str], kind: str, place: object) -> None:
    """Checks that a data set has the column that a setting names.

    Args:
        key: The setting, of `COLUMNS`.
        asked: Its value.
        names: The columns that there are.
        kind: What the data set calls them: "column" or "array".
        place: Where it is.

    Raises:
        UserError: It has no such column.
    """
    if asked not in names:
        hint = did_you_mean(asked, names)
        raise UserError(f"{key}: {str(place)!r} has no {kind} {asked!r}.{hint} Allowed: {', '.join(names)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """One kind of data set: the object that an entry point in the group `gan_core.datasets` refers to.

    Attributes:
        api: Version of the interface that it was written for: `api=1`.
        open: `open(request)` describes a data set and reads at most headers; `Dataset.read` reads its rows later. It
            raises ValueError if there is no such data set, with what the user can do.
        path: What the user writes after "NAME:", such as "PATH"; "" if nothing may follow the name.
        columns: Whether it takes `image_column` and `label_column`; others refuse them.
    """

    api: int
    open: Callable[[DataRequest], Dataset]
    path: str = ""
    columns: bool = False
