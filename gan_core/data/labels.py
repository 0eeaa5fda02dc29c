"""Labels as people write them: numbers of classes, or their names."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gan_core.data.folder_files import Problems
from gan_core.data.names import Names
from gan_core.errors import UserError
from gan_core.game.data_spec import LabelField

Labels = tuple[NDArray[np.int64], LabelField]
"""The class of each row, (N,), and the classes."""


def numbered(values: Sequence[int | str], names: Sequence[str], where: str) -> Labels:
    """Returns the classes of rows.

    Args:
        values: The label of each row: the number of a class, or the name of one.
        names: The names of the classes, in the order of their numbers; empty if they are not known.
        where: Where the labels stand, for errors.

    Raises:
        UserError: They are neither, or not all of one kind.
    """
    if all(isinstance(value, str) for value in values):
        names = list(names or sorted({str(value) for value in values}))
        known = {name: number for number, name in enumerate(names)}
        if missing := next((value for value in values if value not in known), None):
            raise UserError(f"dataset: {where} has the label {missing!r}, which is none of {', '.join(names[:20])}")
        numbers = np.array([known[str(value)] for value in values], dtype=np.int64)
    else:
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise UserError(
                    f"dataset: {where} has the label {value!r:.80}. Allowed: the number of a class, from 0 on"
                )
        numbers = np.array(values, dtype=np.int64)
    classes = max(int(numbers.max(initial=0)) + 1, len(names))
    if names and len(names) < classes:
        raise UserError(f"dataset: {where} has the label {classes - 1}, but names of {len(names)} classes")
    return numbers, LabelField(classes=classes, names=tuple(names))


def labels_of_rows(
    values: Sequence[int | str | None],
    names: Sequence[str],
    where: str,
    row_names: Names | Sequence[str],
    problems: Problems,
) -> Labels:
    """Returns the classes of rows some of which may have no label; these are added to `problems`, and get class 0.

    Args:
        values: The label of each row, None without one.
        names: As for `numbered`.
        where: As for `numbered`.
        row_names: What the rows are called in `problems`.
        problems: Why some rows cannot be used.
    """
    there = [at for at, value in enumerate(values) if value is not None]
    problems |= {row_names[at]: "has no label" for at in set(range(len(values))).difference(there)}
    numbers, classes = numbered([value for value in values if value is not None], names, where)
    whole = np.zeros(len(values), dtype=np.int64)
    whole[there] = numbers
    return whole, classes
