"""The properties of a data set that a variant needs to build its networks: tables of rows, and the fields of a row."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageField:
    """A field with an image of `channels` (1 is grey, 3 is RGB) x `height` x `width` pixels."""

    channels: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelField:
    """A field with the number of a class, 0 to `classes` - 1; `names` has the classes' names, or is empty."""

    classes: int
    names: tuple[str, ...] = ()


Field = ImageField | LabelField


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """`count` rows (of the training split) that are shuffled together; each has a value of every field, by name."""

    fields: Mapping[str, Field]
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSpec:
    """Properties of a data set, passed to a variant's `build`.

    Attributes:
        name: The data set's name, as given to `--dataset`.
        tables: The tables by name; a field's name occurs once. Labelled images are one table with `images` and
            `labels`, pairs one table with `a` and `b`, and unpaired domains two tables, one with `a`, one with `b`.
    """

    name: str
    tables: Mapping[str, Table]

    def __post_init__(self) -> None:
        if len(self.fields) < sum(len(table.fields) for table in self.tables.values()):
            raise ValueError(f"data set {self.name!r}: two tables have a field of the same name")

    @classmethod
    def of_images(
        cls, *, name: str, image_size: int, channels: int, classes: int, count: int, class_names: tuple[str, ...] = ()
    ) -> "DataSpec":
        """Returns the properties of square images in one table, with labels unless `classes` is 0."""
        fields: dict[str, Field] = {"images": ImageField(channels=channels, height=image_size, width=image_size)}
        if classes:
            fields["labels"] = LabelField(classes=classes, names=class_names)
        return cls(name=name, tables={"images": Table(fields=fields, count=count)})

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of all tables."""
        return {name: field for table in self.tables.values() for name, field in table.fields.items()}

    def image(self, name: str = "images") -> ImageField:
        """Returns the image field of this name. Raises ValueError if there is none."""
        if isinstance(field := self.fields.get(name), ImageField):
            return field
        raise ValueError(f"data set {self.name!r} has no images called {name!r}, but {self.described()}")

    @property
    def image_size(self) -> int:
        """Height and width of the field `images` in pixels. Raises ValueError if they differ."""
        image = self.image()
        if image.height != image.width:
            raise ValueError(f"images of {image.width} x {image.height} are not square: pass --image-size PIXELS")
        return image.height

    @property
    def channels(self) -> int:
        """Channels of the field `images`: 1 (grey) or 3 (RGB)."""
        return self.image().channels

    @property
    def classes(self) -> int:
        """Number of classes of the field `labels`, or 0 without it."""
        return labels.classes if isinstance(labels := self.fields.get("labels"), LabelField) else 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of the field `labels`; their numbers where they have no names."""
        names = labels.names if isinstance(labels := self.fields.get("labels"), LabelField) else ()
        return names or tuple(map(str, range(self.classes)))

    @property
    def count(self) -> int:
        """Rows of the largest table in the training split: the images of one epoch."""
        return max(table.count for table in self.tables.values())

    def described(self) -> str:
        """Names the fields, for messages: "images (1 x 28 x 28), labels (10 classes)"."""
        shown = (
            (name, f"{field.classes} classes" if isinstance(field, LabelField) else " x ".join(map(str, field.shape)))
            for name, field in self.fields.items()
        )
        return ", ".join(f"{name} ({text})" for name, text in shown)
