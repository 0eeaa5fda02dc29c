"""The batches of a step: which images each update gets, on any process, after any resume, and whatever a loss does."""

from collections import defaultdict

import torch
from torch import Tensor

from gan_core import DataSpec, Game
from gan_core.data.dataset import ResidentRows
from gan_core.randomness import Share
from gan_core.training.batch_source import BatchSource
from tests.test_updates import product
from tests.toys import toy_game, toy_phase

COUNT = 10


def make_source(
    *, batch: int = 4, accumulate: int = 1, share: Share | None = None, game: Game | None = None
) -> BatchSource:
    """Image number i has the value i. The discriminator has two updates a step, the lazy phase one in every second."""
    phases = [
        toy_phase("discriminator", product, repeats=2),
        toy_phase("lazy", product, trains=("discriminator",), every=2),
        toy_phase("generator", product, fakes=3),
    ]
    pixels = torch.arange(COUNT, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return BatchSource(
        game=game or toy_game(*phases),
        data=DataSpec.of_images(name="numbers", image_size=2, channels=1, classes=COUNT, count=COUNT),
        tables={"images": ResidentRows({"images": pixels, "labels": torch.arange(COUNT)})},
        mirror=False,
        batch=batch,
        accumulate=accumulate,
        length=1000,
        seed=3,
        share=share or Share(0, 1),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def numbers(images: Tensor) -> list[int]:
    """Returns which images these are, from their first pixels."""
    return ((images[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def step(source: BatchSource, images_seen: int) -> dict[str, list[list[int]]]:
    """Returns the images of each update of a step, by phase."""
    found = defaultdict(list)
    for phase, batches in source.step(images_seen):
        for batch in batches:
            assert batch.labels is not None
            assert batch.labels.tolist() == numbers(batch.images)
        found[phase.name].append([number for batch in batches for number in numbers(batch.images)])
    return dict(found)


def test_updates_repeat_on_fresh_images_share_the_first_and_a_lazy_phase_leaves_steps_out() -> None:
    source = make_source()
    assert source.step_images == 8
    first, second = step(source, 0), step(source, 8)
    assert len(first["discriminator"]) == 2
    assert first["lazy"] == first["generator"] == first["discriminator"][:1]
    assert list(second) == ["discriminator", "generator"]
    shown = [number for found in (first, second) for update in found["discriminator"] for number in update]
    assert sorted(shown[:COUNT]) == list(range(COUNT))


def test_a_step_has_the_same_images_in_whatever_order_steps_are_asked_for() -> None:
    steps = [8 * number for number in range(6)]
    source = make_source()
    in_order = {seen: step(source, seen) for seen in steps}
    for seen in (16, 0, 40, 8, 24, 32):
        assert step(source, seen) == in_order[seen]
        assert step(make_source(), seen) == in_order[seen]


def test_processes_and_micro_batches_divide_the_same_batch() -> None:
    whole = step(make_source(), 8)["discriminator"]
    halves = [step(make_source(share=Share(rank, 2)), 8)["discriminator"] for rank in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole
    assert step(make_source(accumulate=2), 8)["discriminator"] == whole


def test_each_update_has_fakes_for_its_images() -> None:
    for phase, (batch,) in make_source().step(0):
        assert len(batch.inputs["z"]) == len(batch.images) * phase.fakes


def test_a_loss_that_changes_its_images_in_place_does_not_change_those_of_the_next_phase() -> None:
    source = make_source()
    undisturbed = step(make_source(), 0)
    for phase, (batch,) in source.step(0):
        assert numbers(batch.images) in undisturbed[phase.name]
        assert not batch.images.requires_grad
        batch.images.add_(0.5)
        batch.images.requires_grad_()
