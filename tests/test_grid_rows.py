"""An output's rows in sample grids: the codes of InfoGAN, through the functions that draw the grids of a run."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_core import Options
from gan_core.game.game import Game
from gan_core.sampling.files import drawn_grid, sample_grid
from gan_core.sampling.sampler import Sampler
from tests.conftest import make_job

CELL = 66
"""Images of 8 x 8 pixels are shown with 64 x 64, and two pixels between them."""


class Painter(nn.Module):
    """Paints the category, of 10, or the first continuous code, from -2 to 2, as brightness."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, noise: Tensor, category: Tensor, codes: Tensor) -> Tensor:
        value = category / 4.5 - 1 if self.what == "category" else codes[:, 0] / 2
        return value.to(noise)[:, None, None, None].expand(-1, 1, 8, 8)


def sampler(what: str, options: Options | None = None) -> Sampler:
    job = make_job("width=2", "noise=2", variant="infogan")
    game: Game = job.build()
    networks = {"generator": Painter(what).eval()}
    cpu = torch.device("cpu")
    return Sampler(game, job.dataset.spec, networks, 0, cpu, torch.float32, options=options)


def cells(grid: object) -> np.ndarray:
    """Returns the brightness in the middle of each cell, by row and column."""
    return np.asarray(grid)[CELL // 2 :: CELL, CELL // 2 :: CELL]


@pytest.mark.parametrize("count", [None, 35])
def test_each_row_of_a_grid_has_one_category(count: int | None) -> None:
    # 80 samples and 35 samples are not drawn in one block each, nor do they all fill their last column.
    drawn = sampler("category")
    found = cells(sample_grid(drawn) if count is None else drawn_grid(drawn, count))
    assert found.shape == ((10, 8) if count is None else (10, 4))
    expected = np.round(np.arange(10) / 4.5 * 127.5)
    for number in range(count or 80):
        assert found[number % 10, number // 10] == expected[number % 10]


def test_rows_may_be_values_of_a_continuous_code() -> None:
    options = make_job(variant="infogan").loaded.variant.sampling(rows=1)
    found = cells(sample_grid(sampler("codes", options)))
    expected = np.round((np.linspace(-2, 2, 10) / 2 + 1) * 127.5)
    assert np.abs(found - expected[:, None]).max() <= 1


def test_without_a_grid_categories_are_drawn_at_random() -> None:
    images = sampler("category").draw_all(64)[:, 0, 0, 0]
    assert len(images.unique()) == 10
    assert images.tolist() != images.sort().values.tolist()
