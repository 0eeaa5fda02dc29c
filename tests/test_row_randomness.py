"""Random numbers for rows: the same in any division of a batch, and masks of dropout, against counts by hand."""

from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core import Dropout, Request, build_layers
from gan_core.randomness import Share, Streams
from gan_core.row_randomness import BLOCK, Draws, LayerRandomness, UpdateRandomness, layers_draw
from tests.test_batch_source import make_source
from tests.test_updates import product
from tests.toys import toy_game, toy_phase

CPU = torch.device("cpu")


def draws(rows: slice, position: int = 0) -> Draws:
    return Draws(Streams(7), "loss", position, rows)


@pytest.mark.parametrize("division", [(0, 40), (0, 20, 40), (0, 16, 32, 40), (0, 3, 5, 39, 40)])
def test_a_loss_draws_the_same_rows_in_any_division_of_the_batch(division: tuple[int, ...]) -> None:
    def drawn(rows: slice) -> list[Tensor]:
        random = UpdateRandomness(draws(rows), CPU, torch.float32)
        return [random.uniform(1, 1, 1), random.normal(3), random.uniform()]

    whole = drawn(slice(0, 40))
    assert [tuple(tensor.shape) for tensor in whole] == [(40, 1, 1, 1), (40, 3), (40,)]
    parts = [drawn(slice(*ends)) for ends in pairwise(division)]
    for number, tensor in enumerate(whole):
        assert torch.equal(tensor, torch.cat([part[number] for part in parts]))
        assert len(tensor.unique()) == tensor.numel()


def test_each_process_draws_only_the_blocks_of_its_rows() -> None:
    asked: list[tuple[int, int]] = []

    def draw(random: np.random.Generator, request: Request) -> dict[str, Tensor]:
        asked.append((request.first, request.count))
        return {"z": torch.from_numpy(random.standard_normal((request.count, 1, 2, 2), dtype=np.float32))}

    def played(share: Share) -> tuple[list[Tensor], list[tuple[int, int]]]:
        asked.clear()
        game = toy_game(toy_phase("discriminator", product), toy_phase("generator", product, fakes=2))
        game = type(game)(networks=game.networks, phases=game.phases, draw=draw, outputs=game.outputs)
        source = make_source(batch=40, share=share, game=game)
        return [batch.inputs["z"] for _, (batch,) in source.step(0)], list(asked)

    (small, large), whole = played(Share(0, 1))
    assert whole == [(0, 16), (16, 16), (32, 8), *((first, BLOCK) for first in range(0, 80, BLOCK))]
    for rank in range(4):
        (own, more), mine = played(Share(rank, 4))
        assert torch.equal(own, small[rank * 10 : (rank + 1) * 10])
        assert torch.equal(more, large[rank * 20 : (rank + 1) * 20])
        # Ten rows are in one or two blocks, twenty in two or three.
        assert len(mine) <= 5
        assert all(first < (rank + 1) * 20 and first + count > rank * 10 for first, count in mine)


def masks(p: float, rows: slice, shape: tuple[int, ...] = (100, 100), position: int = 0) -> Tensor:
    """Returns what a layer makes of ones."""
    layer = Dropout(p)
    with layers_draw(LayerRandomness(draws(rows, position))):
        return layer(torch.ones(rows.stop - rows.start, *shape, dtype=torch.float64))


@pytest.mark.parametrize("p", [0.5, 0.3, 2**-8, 1 / 3, 0.999])
def test_elements_are_dropped_with_their_probability(p: float) -> None:
    """The count is binomial: within 5 standard deviations of its mean. What is left has the mean 1."""
    found = masks(p, slice(0, 30))
    count = found.numel()
    dropped = int((found == 0).sum())
    assert abs(dropped - p * count) < 5 * sqrt(count * p * (1 - p)) + count * 2**-17
    assert found.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=2**-15 / (1 - p))


def test_masks_are_independent_of_each_other() -> None:
    """Neighbouring rows, columns, layers and positions agree in half of the elements."""
    layer = Dropout(0.5)
    with layers_draw(LayerRandomness(draws(slice(0, 30)))):
        first, second = (layer(torch.ones(30, 100, 100)) > 0 for _ in range(2))
    later = masks(0.5, slice(0, 30), position=1) > 0
    pairs = [(first, second), (first, later), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])]
    for one, other in pairs:
        assert (one == other).double().mean().item() == pytest.approx(0.5, abs=5 / sqrt(4 * one.numel()))


@pytest.mark.parametrize("per_row", [1, 2])
@pytest.mark.parametrize("shape", [(5,), (3, 7, 7)])
def test_a_row_has_the_same_mask_in_any_division_of_the_batch(per_row: int, shape: tuple[int, ...]) -> None:
    def rows(part: slice) -> Tensor:
        layer = nn.Sequential(Dropout(0.5), Dropout(0.3))
        with layers_draw(LayerRandomness(draws(part))):
            return layer(torch.ones(per_row * (part.stop - part.start), *shape))

    whole = rows(slice(0, 8))
    assert torch.equal(whole, torch.cat([rows(slice(0, 4)), rows(slice(4, 8))]))
    assert torch.equal(whole, torch.cat([rows(slice(at, at + 1)) for at in range(8)]))
    assert not torch.equal(whole[0], whole[1])


def test_dropout_can_be_differentiated_twice() -> None:
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)

    def forward(x: Tensor) -> Tensor:
        with layers_draw(LayerRandomness(draws(slice(0, 4)))):
            return Dropout(0.5)(x.square())

    assert torch.autograd.gradcheck(forward, x)
    assert torch.autograd.gradgradcheck(forward, x)


def test_without_a_run_the_masks_are_torch_s_and_in_eval_mode_there_are_none() -> None:
    layer, x = Dropout(0.25), torch.ones(4, 50)
    torch.manual_seed(3)
    expected = F.dropout(x, 0.25)
    torch.manual_seed(3)
    assert torch.equal(layer(x), expected)
    assert layer.eval()(x) is x
    assert not torch.equal(layer(x, True), x)
    assert layer.train()(x, False) is x
    (built,) = build_layers([{"dropout": 0.3}], (4,), "torch")[0]
    assert isinstance(built, Dropout)
    with pytest.raises(ValueError, match=r"p is 1\.0, but must be at least 0 and below 1"):
        Dropout(1.0)


def test_half_precision_masks_scale_as_precisely_as_float32() -> None:
    layer, x = Dropout(0.3), torch.ones(64, 1000, dtype=torch.bfloat16)
    with layers_draw(LayerRandomness(draws(slice(0, 64)))):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert found.max().item() == torch.tensor(1 / 0.7).bfloat16().item()
