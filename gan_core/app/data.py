"""A run's data set: its properties in run.json, from which samples are drawn without it, and its real images."""

from collections.abc import Mapping
from typing import Any

import torch

from gan_core.data.dataset import Dataset, OneField, Rows
from gan_core.features.real_data import RealData
from gan_core.game.data_spec import DataSpec, Field, ImageField, LabelField, Table


def described_data(spec: DataSpec, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """Returns the tables as plain values, each with its fingerprint."""
    return {
        name: {
            "count": table.count,
            "fingerprint": fingerprints[name],
            "fields": {field: _described(kind) for field, kind in table.fields.items()},
        }
        for name, table in spec.tables.items()
    }


def _described(field: Field) -> dict[str, Any]:
    if isinstance(field, LabelField):
        return {"classes": field.classes, "names": list(field.names)}
    return {"channels": field.channels, "height": field.height, "width": field.width}


def spec_of(name: str, described: Mapping[str, Any]) -> DataSpec:
    """Returns the properties that `described_data` wrote.

    Args:
        name: The data set's name.
        described: The entry "data" of run.json.

    Raises:
        ValueError: It is damaged, or of an earlier development version.
    """
    try:
        return DataSpec(
            name=name,
            tables={
                table: Table(
                    fields={field: _field(kind) for field, kind in about["fields"].items()}, count=int(about["count"])
                )
                for table, about in described.items()
            },
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"data is {described!r:.200} ({type(error).__name__}: {error})") from None


def _field(described: Mapping[str, Any]) -> Field:
    if "classes" in described:
        return LabelField(classes=int(described["classes"]), names=tuple(map(str, described["names"])))
    return ImageField(
        channels=int(described["channels"]), height=int(described["height"]), width=int(described["width"])
    )


def fingerprints_of(described: Mapping[str, Any]) -> dict[str, str]:
    """Returns the fingerprint of each table."""
    return {table: about["fingerprint"] for table, about in described.items()}


def real_data(dataset: Dataset, field: str, device: torch.device, tables: Mapping[str, Rows]) -> RealData:
    """Returns the images of a field for an evaluation, divided into training, held-out and test images.

    Args:
        dataset: The data set.
        field: The image field.
        device: Where images are read to.
        tables: The training split of the tables that have been read.

    Raises:
        UserError: The training split is too small.
    """
    images, table = dataset.images_of(field), dataset.table_of(field)
    read = {name: rows if field == "images" else OneField(rows, field) for name, rows in tables.items()}
    return RealData(images, device, read.get(table))
