"""The real rows that samples are made from, such as the images to translate."""

from collections.abc import Mapping, Sequence

from gan_core.data.dataset import Dataset, RealRows, Rows
from gan_core.game.data_spec import ImageField
from gan_core.game.game import Game
from gan_core.game.output import Output
from gan_core.randomness import Streams

BLOCK = 64
"""Images are always generated in blocks of this size, so that no image depends on how many are requested."""


class GivenRows:
    """Rows of a table in a fixed order; after the last one the first follows again."""

    def __init__(self, rows: Rows, order: Sequence[int]) -> None:
        """Takes the rows and the indices in the order in which they are given."""
        self.rows, self.order = rows, order

    def __len__(self) -> int:
        return len(self.order)

    def block(self, number: int) -> RealRows:
        """Returns rows 64 `number` to 64 `number` + 63: images uint8, labels int64, on the CPU."""
        positions = range(number * BLOCK, (number + 1) * BLOCK)
        found = next(iter(self.rows.batches([[int(self.order[at % len(self)]) for at in positions]])))
        return {name: column.cpu() for name, column in found.items()}


def output_named(game: Game, name: str | None) -> tuple[str, Output]:
    """Returns the output of this name, or the first one, with its name.

    Raises:
        KeyError: There is none of that name.
    """
    name = next(iter(game.outputs)) if name is None else name
    return name, game.outputs[name]


def given_images(output: Output, fields: Mapping[str, object]) -> list[str]:
    """Returns the image fields that an output is given; `fields` are those of the data set."""
    return [name for name in output.given if isinstance(fields[name], ImageField)]


def given_rows(dataset: Dataset, output: Output) -> dict[str, GivenRows]:
    """Reads the rows that an output is given, by field: of the test split, or of the training split without one.

    Their order is a fixed permutation, the same one for all fields of a table.
    """
    tables = {name: dataset.table_of(name) for name in given_images(output, dataset.spec.fields)}
    opened: dict[str, GivenRows] = {}
    for table in set(tables.values()):
        split = "test" if dataset.splits.get("test", {}).get(table) else "train"
        order = Streams(0).at(f"given rows of {table}", 0).permutation(dataset.splits[split][table])
        opened[table] = GivenRows(dataset.read(table, split), order.tolist())
    return {name: opened[table] for name, table in tables.items()}
