"""Batches of two tables with other counts, and mirrored rows: on any number of processes, and from any position."""

from collections import Counter
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from gan_core.data.dataset import ResidentRows
from gan_core.game.data_spec import DataSpec, ImageField, LabelField, Table
from gan_core.randomness import Share
from gan_core.training.batch_source import BatchSource
from tests.conftest import make_job
from tests.test_updates import product
from tests.toys import toy_game, toy_phase

COUNTS = {"a": 10, "b": 4, "c": 10, "pairs": 6}
FIELDS = {"a": ("a",), "b": ("b",), "c": ("c",), "pairs": ("left", "right")}
"""Three tables of one field, as of unpaired domains, and one of two fields."""


def numbered(count: int, offset: int) -> Tensor:
    """Row number i has the pixels [i + offset, 200 + i]: its left one is the darker one unless it is mirrored."""
    numbers = torch.arange(count, dtype=torch.uint8)
    return torch.stack([numbers + offset, numbers + 200], dim=1).view(-1, 1, 1, 2)


def make_source(
    *, batch: int = 4, accumulate: int = 1, share: Share | None = None, mirror: bool = False, seed: int = 3
) -> BatchSource:
    image = ImageField(channels=1, height=1, width=2)
    tables = {name: dict.fromkeys(FIELDS[name], image) for name in COUNTS}
    columns = {
        name: {field: numbered(COUNTS[name], 20 * at) for at, field in enumerate(fields)}
        for name, fields in FIELDS.items()
    }
    spec = DataSpec(
        name="numbers",
        tables={
            name: Table(fields={**fields, f"labels of {name}": LabelField(classes=10)}, count=COUNTS[name])
            for name, fields in tables.items()
        },
    )
    return BatchSource(
        game=toy_game(toy_phase("discriminator", product, repeats=2), toy_phase("generator", product)),
        data=spec,
        tables={
            name: ResidentRows({**images, f"labels of {name}": torch.arange(COUNTS[name])})
            for name, images in columns.items()
        },
        mirror=mirror,
        batch=batch,
        accumulate=accumulate,
        length=1000,
        seed=seed,
        share=share or Share(0, 1),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


Shown = list[tuple[int, bool]]
"""The number of each row, and whether it is mirrored."""


def shown(real: Mapping[str, Tensor]) -> dict[str, Shown]:
    """Reads rows back from their pixels, by field."""
    found = {}
    for name, column in real.items():
        if column.ndim == 1:
            continue
        pixels = ((column[:, 0, 0] + 1) * 127.5).round().int()
        darker = pixels.min(1).values - (20 if name == "right" else 0)
        table = "pairs" if name in FIELDS["pairs"] else name
        assert darker.tolist() == real[f"labels of {table}"].tolist()
        found[name] = list(zip(darker.tolist(), (pixels[:, 0] > pixels[:, 1]).tolist(), strict=True))
    return found


def steps(source: BatchSource, positions: list[int], phase: str = "discriminator") -> list[dict[str, Shown]]:
    """Returns each update of a phase in the steps that begin at these positions: the rows by field."""
    found = []
    for position in positions:
        for one, batches in source.step(position):
            if one.name == phase:
                parts = [shown(batch.real) for batch in batches]
                found.append({name: [row for part in parts for row in part[name]] for name in parts[0]})
    return found


SIX = [8 * step for step in range(6)]


def test_each_table_has_epochs_of_its_own() -> None:
    """48 rows of each: 4 whole epochs of 10 and 8 rows more, 12 epochs of 4, and 8 epochs of 6."""
    updates = steps(make_source(), SIX)
    for name, fields in FIELDS.items():
        count = COUNTS[name]
        rows = [number for update in updates for number, _ in update[fields[0]]]
        assert len(rows) == 48
        epochs = [rows[at : at + count] for at in range(0, len(rows), count)]
        for epoch in epochs[: 48 // count]:
            assert sorted(epoch) == list(range(count))
        assert len(set(epochs[-1])) == len(epochs[-1])
        assert len({tuple(epoch) for epoch in epochs}) > 1
    # Rows of a table stay together, and tables are shuffled independently.
    assert all(update["left"] == update["right"] for update in updates)
    assert [update["a"] for update in updates] != [update["c"] for update in updates]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("world", [2, 4])
def test_slices_of_the_processes_put_together_are_the_batch_of_one_process(world: int, mirror: bool) -> None:
    whole = steps(make_source(mirror=mirror), SIX)
    parts = [steps(make_source(mirror=mirror, share=Share(rank, world)), SIX) for rank in range(world)]
    for at, update in enumerate(whole):
        for name, rows in update.items():
            assert [row for part in parts for row in part[at][name]] == rows


@pytest.mark.parametrize("mirror", [False, True])
def test_micro_batches_put_together_are_the_batch(mirror: bool) -> None:
    whole = steps(make_source(batch=8, mirror=mirror), [0, 16])
    assert steps(make_source(batch=8, accumulate=4, mirror=mirror), [0, 16]) == whole
    halves = [
        steps(make_source(batch=8, accumulate=2, mirror=mirror, share=Share(rank, 2)), [0, 16]) for rank in (0, 1)
    ]
    for at, update in enumerate(whole):
        for name, rows in update.items():  # The micro-batch {0..3} of both processes, then {4..7}.
            first, second = (half[at][name] for half in halves)
            assert first[:2] + second[:2] + first[2:] + second[2:] == rows


@pytest.mark.parametrize("mirror", [False, True])
def test_a_run_may_begin_at_any_step(mirror: bool) -> None:
    straight = steps(make_source(mirror=mirror), SIX)
    assert steps(make_source(mirror=mirror), SIX[3:]) == straight[6:]
    backwards = make_source(mirror=mirror)
    assert [steps(backwards, [position]) for position in reversed(SIX)] == [
        straight[at : at + 2] for at in range(10, -1, -2)
    ]


def test_half_of_the_rows_are_mirrored_both_fields_of_a_row_and_other_rows_in_other_epochs() -> None:
    updates = steps(make_source(mirror=True), [8 * step for step in range(75)])
    assert all(update["left"] == update["right"] for update in updates)
    times: dict[str, Counter[tuple[int, bool]]] = {name: Counter() for name in ("a", "b", "left")}
    for update in updates:
        for name, counter in times.items():
            counter.update(update[name])
    for name, counter in times.items():
        # 600 rows: half of them, within four standard deviations of a fair coin; and each row in both ways.
        assert abs(sum(times for (_, flipped), times in counter.items() if flipped) - 300) < 4 * 12.25
        assert len(counter) == 2 * COUNTS["pairs" if name == "left" else name]
    flips = {name: [flipped for update in updates for _, flipped in update[name]] for name in times}
    assert flips["a"] != flips["b"] != flips["left"]
    # Both phases of a step see the same rows in the same way, and other seeds mirror other rows.
    assert steps(make_source(mirror=True), SIX, "generator") == steps(make_source(mirror=True), SIX)[::2]
    assert steps(make_source(mirror=True, seed=4), SIX) != steps(make_source(mirror=True), SIX)


def test_rows_are_not_mirrored_unless_it_is_asked_for() -> None:
    assert not any(flipped for update in steps(make_source(), SIX) for rows in update.values() for _, flipped in rows)
    assert make_job(variant="dcgan", dataset="digits").settings.mirror is False
    assert make_job("mirror=true", variant="dcgan", dataset="digits").settings.mirror is True
    assert make_job(variant="dcgan", dataset="digits", mirror=True).settings.mirror is True
