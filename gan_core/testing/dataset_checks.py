"""The checks of data sets: each raises AssertionError with the fault; its docstring is what `gan_core check` prints."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_core.data.dataset import Dataset, RealRows
from gan_core.distributed.world import on_cpu
from gan_core.game.data_spec import ImageField, LabelField
from gan_core.testing.dataset_subject import DatasetSubject, one_batch
from gan_core.testing.invariance import assert_equal
from gan_core.testing.plugin_checks import check_bound, check_quiet_import

_AHEAD = 100
"""How many batches a data set may prepare before the first one is used."""


def declares_its_bound(subject: DatasetSubject) -> None:
    """The distribution declares which versions of gan-core it supports."""
    check_bound(subject.plugin)


def imports_quietly(subject: DatasetSubject) -> None:
    """Importing the plugin draws no random numbers and does not initialise CUDA."""
    check_quiet_import(subject.plugin)


def opens_without_reading(subject: DatasetSubject) -> None:
    """Opening the data set reads no rows into memory, and gives the same description each time."""
    before = subject.dataset
    assert isinstance(before, Dataset), f"open returns a {type(before).__name__}, not a gan_core.Dataset"
    after, held = _opened_and_held(subject)
    assert after.spec == before.spec, "the description differs between two openings"
    assert after.splits == before.splits, "the splits differ between two openings"
    sizes = {
        name: table.count * torch.Size(field.shape).numel()
        for table in before.spec.tables.values()
        for name, field in table.fields.items()
        if isinstance(field, ImageField)
    }
    for name, size in sizes.items():
        assert held < size, f"opening it takes {held:,} bytes, as much as all rows of {name!r}: read them in `read`"


def _opened_and_held(subject: DatasetSubject) -> tuple[Dataset, int]:
    """Opens the data set, and returns it with the bytes of the tensors and arrays that were made and kept."""
    gc.collect()
    before = {id(thing) for thing in gc.get_objects() if issubclass(type(thing), Tensor)}
    tracemalloc.start()
    try:
        dataset = subject.open()
        numpy_only = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
        traces = tracemalloc.take_snapshot().filter_traces([numpy_only]).traces
        arrays = sum(trace.size for trace in traces)
    finally:
        tracemalloc.stop()
    tensors = (thing for thing in gc.get_objects() if issubclass(type(thing), Tensor) and id(thing) not in before)
    return dataset, arrays + sum(tensor.nbytes for tensor in tensors)


def has_the_rows_that_it_declares(subject: DatasetSubject) -> None:
    """Every table has as many rows in each split as the splits say, and as the spec says of the training split."""
    spec, splits = subject.dataset.spec, subject.dataset.splits
    assert spec.name == subject.name, f"it is called {spec.name!r}: pass request.name to the DataSpec"
    assert "train" in splits, "it has no split 'train'"
    counts = {name: table.count for name, table in spec.tables.items()}
    assert splits["train"] == counts, f"the split 'train' has {dict(splits['train'])}, but the spec has {counts}"
    for table, split in subject.parts():
        assert table in spec.tables, f"the split {split!r} has a table {table!r}, which is not in the spec"
        rows, count = subject.tables[table, split], subject.count(table, split)
        assert count > 0, f"table {table!r} has no row in {split!r}"
        for name, column in rows.labels.items():
            assert len(column) == count, f"{name!r} has {len(column)} labels in {split!r}, but there are {count} rows"
        try:
            one_batch(rows, [count - 1])
        except IndexError as error:
            raise AssertionError(f"row {count - 1}, the last one of {table!r} in {split!r}: {error}") from error
        try:
            one_batch(rows, [count])
        except IndexError:
            continue
        raise AssertionError(f"table {table!r} has {count} rows in {split!r}, but row {count} raises no IndexError")


def has_the_fields_that_it_declares(subject: DatasetSubject) -> None:
    """Images are uint8 of the declared shape, and labels are int64 and below the number of classes."""
    for table, split in subject.parts():
        rows, fields = subject.tables[table, split], subject.dataset.spec.tables[table].fields
        indices = _some(subject.count(table, split))
        batch = one_batch(rows, indices)
        assert set(batch) == set(fields), f"rows have the fields {sorted(batch)}, but declared are {sorted(fields)}"
        named = {name for name, field in fields.items() if isinstance(field, LabelField)}
        assert set(rows.labels) == named, f"`labels` has {sorted(rows.labels)}, but declared are {sorted(named)}"
        for name, field in fields.items():
            column = batch[name]
            shape = (len(indices), *field.shape) if isinstance(field, ImageField) else (len(indices),)
            dtype = torch.uint8 if isinstance(field, ImageField) else torch.int64
            assert column.shape == shape, f"{name!r} has the shape {tuple(column.shape)} instead of {shape}"
            assert column.dtype == dtype, f"{name!r} is {column.dtype} instead of {dtype}"
            if isinstance(field, LabelField):
                _check_labels(name, field, rows.labels[name].cpu(), column.cpu(), indices)


def _check_labels(name: str, field: LabelField, labels: Tensor, batch: Tensor, indices: list[int]) -> None:
    assert len(field.names) in (0, field.classes), f"{name!r} has {field.classes} classes, but {len(field.names)} names"
    assert len(set(field.names)) == len(field.names), f"two classes of {name!r} have the same name"
    assert labels.dtype == torch.int64, f"`labels` of {name!r} are {labels.dtype} instead of torch.int64"
    low, high = int(labels.min()), int(labels.max())
    assert low >= 0, f"{name!r} has a label {low}"
    assert high < field.classes, f"{name!r} has a label {high}, but {field.classes} classes: the last one is one less"
    assert torch.equal(labels[indices], batch), f"`labels` of {name!r} are not those of the rows"


def returns_the_same_rows_in_any_order(subject: DatasetSubject) -> None:
    """A row does not depend on the rows around it, on what was asked for before, or on which time it is read."""
    for table, split in subject.parts():
        indices = _some(subject.count(table, split))
        together = one_batch(subject.tables[table, split], indices)
        others = {
            "one by one": _joined(subject.tables[table, split].batches(iter([[at] for at in indices]))),
            "from a second reading": one_batch(subject.open().read(table, split), indices),
            "in the opposite order": _joined([one_batch(subject.tables[table, split], indices[::-1])], flip=True),
        }
        for how, rows in others.items():
            assert_equal(together, rows, f"rows of {table!r} in {split!r}, together and {how},")


def yields_rows_as_they_are_asked_for(subject: DatasetSubject) -> None:
    """Rows are yielded before all lists of indices are read: training asks for rows without end."""

    def endless() -> Iterator[list[int]]:
        for _ in range(_AHEAD):
            yield [0]
        raise AssertionError(f"`batches` reads {_AHEAD} lists of indices before it yields the rows of the first one")

    for table, split in subject.parts():
        next(iter(subject.tables[table, split].batches(endless())))


def has_stable_fingerprints(subject: DatasetSubject) -> None:
    """The fingerprint of a table is the same in each opening and on each device, and another one for other rows."""
    again = subject.open()
    for table, split in subject.parts():
        rows = subject.tables[table, split]
        found = rows.fingerprint
        assert isinstance(found, str), f"the fingerprint of {table!r} is {type(found).__name__}, not a string"
        assert found, f"the fingerprint of {table!r} is empty"
        assert again.read(table, split).fingerprint == found, f"the fingerprint of {table!r} differs in each opening"
        assert rows.to(torch.device("cpu")).fingerprint == found, f"the fingerprint of {table!r} changes in `to`"
        if split != "train" and subject.count(table, split) != subject.count(table, "train"):
            assert found != subject.tables[table, "train"].fingerprint, (
                f"the fingerprint of {table!r} is the same for 'train' and {split!r}, which have other rows"
            )


def moves_to_a_device(subject: DatasetSubject) -> None:
    """Rows arrive on the device to which they were moved, unchanged."""
    devices = [torch.device("cpu")]
    if not on_cpu():
        devices.append(torch.accelerator.current_accelerator() or devices[0])
    for table, split in subject.parts():
        indices = _some(subject.count(table, split))
        before = one_batch(subject.tables[table, split], indices)
        for device in devices:
            moved = one_batch(subject.tables[table, split].to(device), indices)
            for name, column in moved.items():
                assert column.device.type == device.type, f"{name!r} is on {column.device}, moved to {device}"
            assert_equal(before, {name: column.cpu() for name, column in moved.items()}, f"rows moved to {device}")


def converts_on_request(subject: DatasetSubject) -> None:
    """With --image-size and --channels all images have that size and colour, or ValueError says why not."""
    for key, value in (("image_size", 12), ("channels", 1), ("channels", 3)):
        try:
            dataset = subject.open(**{key: value})
        except ValueError:
            continue
        for table, described in dataset.spec.tables.items():
            batch = one_batch(dataset.read(table, "train"), [0])
            for name, field in described.fields.items():
                if not isinstance(field, ImageField):
                    continue
                got = {"image_size": (field.height, field.width), "channels": field.channels}[key]
                wanted = (value, value) if key == "image_size" else value
                assert got == wanted, f"{key} {value} is requested, but {name!r} is declared with {got}"
                assert batch[name].shape == (1, *field.shape), (
                    f"{key} {value} is requested, but {name!r} has the shape {tuple(batch[name].shape[1:])}"
                )


def refuses_with_value_errors(subject: DatasetSubject) -> None:
    """What is not there is refused by ValueError, with what the user can do."""
    nowhere = Path(subject.path or ".", "no such folder")
    try:
        if subject.source.path:
            kind = subject.name.removesuffix(f":{subject.path}")
            DatasetSubject(f"{kind}:{nowhere}", subject.plugin, subject.source, str(nowhere)).open()
        else:
            subject.open(data_dir=nowhere).read(next(iter(subject.dataset.spec.tables)), "train")
    except ValueError:
        return
    except Exception as error:
        raise AssertionError(f"a folder that is not there is refused by {type(error).__name__}: {error}") from error
    assert not subject.source.path, f"a {subject.source.path} that is not there is not refused"


DATASET_CHECKS: dict[str, Callable[[DatasetSubject], None]] = {
    check.__name__: check
    for check in (
        declares_its_bound,
        imports_quietly,
        opens_without_reading,
        has_the_rows_that_it_declares,
        has_the_fields_that_it_declares,
        returns_the_same_rows_in_any_order,
        yields_rows_as_they_are_asked_for,
        has_stable_fingerprints,
        moves_to_a_device,
        converts_on_request,
        refuses_with_value_errors,
    )
}


def _some(count: int) -> list[int]:
    """Returns the indices of a few of the rows; one of them occurs twice."""
    return [0, count - 1, count // 2, count - 1]


def _joined(batches: "Iterator[RealRows] | list[RealRows]", *, flip: bool = False) -> dict[str, Tensor]:
    """Returns the rows of all batches in one, in the opposite order if `flip`."""
    every = list(batches)
    joined = {name: torch.cat([batch[name] for batch in every]) for name in every[0]}
    return {name: column.flip(0) if flip else column for name, column in joined.items()}
