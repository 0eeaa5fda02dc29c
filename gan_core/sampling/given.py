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
        self._newest: tuple[int, RealRows] = (-1, {})

    def __len__(self) -> int:
        return len(self.order)

    def block(self, number: int) -> RealRows:
        """Returns rows 64 `number` to 64 `number` + 63: images uint8, labels int64, on the CPU."""
        if self._newest[0] != number:  # Images to translate and their targets are asked for one after the other.
            positions = range(number * BLOCK, (number + 1) * BLOCK)
            found = next(iter(self.rows.batches([[int(self.order[at % len(self)]) for at in positions]])))
            self._newest = number, {name: column.cpu() for name, column in found.items()}
        return self._newest[1]


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


def given_split(dataset: Dataset, table: str) -> str:
    """Returns the split from which rows of a table are given: the test split, or the training split without one."""
    return "test" if dataset.splits.get("test", {}).get(table) else "train"


def given_count(dataset: Dataset, output: Output) -> int:
    """Returns how many samples of an output are made from different rows; 0 where it is given no images."""
    tables = {dataset.table_of(name) for name in given_images(output, dataset.spec.fields)}
    return min((dataset.splits[given_split(dataset, table)][table] for table in tables), default=0)


def samples_of(count: int, given: int) -> int:
    """Returns how many samples an evaluation draws: `count`, or each of the `given` images once if these are fewer.

    Repeated images would be counted as repeated samples, and make errors look smaller than they are.
    """
    return min(count, given) if given else count


def given_notes(dataset: Dataset, output: Output, count: int) -> list[str]:
    """Says what `count` evaluated samples are made from, if it is images."""
    notes = []
    for name in given_images(output, dataset.spec.fields):
        table = dataset.table_of(name)
        split = given_split(dataset, table)
        whole = dataset.splits[split][table]
        seen = "" if split == "test" else ", which the networks were trained on: there is no test split"
        notes.append(f"Samples are made from {count:,} of {whole:,} images {name!r} of the {split} split{seen}.")
    return notes


def given_rows(dataset: Dataset, output: Output) -> dict[str, GivenRows]:
    """Reads the rows that an output is given, by field: of the test split, or of the training split without one.

    Their order is a fixed permutation, the same one for all fields of a table.
    """
    tables = {name: dataset.table_of(name) for name in given_images(output, dataset.spec.fields)}
    opened: dict[str, GivenRows] = {}
    for table in set(tables.values()):
        split = given_split(dataset, table)
        order = Streams(0).at(f"given rows of {table}", 0).permutation(dataset.splits[split][table])
        opened[table] = GivenRows(dataset.read(table, split), order.tolist())
    return {name: opened[table] for name, table in tables.items()}
