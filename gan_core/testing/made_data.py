"""A small data set of random images, with the fields that a variant needs."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gan_core.data.dataset import Dataset, ResidentRows
from gan_core.game.data_spec import DataSpec, Field, ImageField, LabelField, Table
from gan_core.game.variant import Variant

_ROWS, _FEWER = 40, 12


def made_dataset(variant: Variant, *, image_size: int, channels: int, classes: int) -> Dataset:
    """Returns square random images in the tables that a variant needs; each table has another number of rows.

    Args:
        variant: Names the fields that it needs.
        image_size: Height and width of all images.
        channels: Channels of all images.
        classes: Number of classes of each label field; 0 leaves out labels that the variant does not need.
    """
    tables: dict[str, Table] = {}
    for number, names in enumerate(variant.tables()):
        fields = {name: _field(name, image_size, channels, classes) for name in names if name != "labels" or classes}
        if "images" in fields and classes:
            fields["labels"] = LabelField(classes=classes)
        tables[names[0]] = Table(fields=fields, count=_ROWS - number * _FEWER)
    spec = DataSpec(name="random images", tables=tables)
    counts = {name: table.count for name, table in tables.items()}

    def read(table: str, split: str) -> ResidentRows:
        random = torch.Generator().manual_seed(list(tables).index(table) + 100 * (split == "test"))
        return ResidentRows(_columns(tables[table].fields, counts[table], random))

    return Dataset(spec=spec, splits={"train": counts, "test": counts}, read=read)


def _field(name: str, image_size: int, channels: int, classes: int) -> Field:
    if name == "labels":
        return LabelField(classes=classes)
    return ImageField(channels=channels, height=image_size, width=image_size)


def _columns(fields: Mapping[str, Field], count: int, random: torch.Generator) -> dict[str, Tensor]:
    return {
        name: torch.arange(count) % field.classes
        if isinstance(field, LabelField)
        else torch.randint(256, (count, *field.shape), dtype=torch.uint8, generator=random)
        for name, field in fields.items()
    }
