"""A variant on pairs, from files to files: pix2pix on grey and RGB images of one name in two folders."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_core.cli.sample import sample
from gan_core.errors import UserError
from tests.conftest import difference, make_job, metrics, weights
from tests.edges import edges, main, side_by_side

Train = Callable[..., str]

SIDE = 16
SMALL = ("width=2", "batch=2", "log_every=0.002", "sample_every=1", "checkpoint_every=1")


def write_pairs(root: Path, train: int = 6, test: int = 3) -> str:
    """Writes pairs of noise, a in grey and b in RGB; returns the data set."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for field, shape in (("A", (SIDE, SIDE)), ("B", (SIDE, SIDE, 3))):
            folder = root / field / split
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(folder / f"{split}{number}.png")
    return f"pairs:{root}"


@pytest.fixture
def trained(tmp_path: Path, train: Train) -> Path:
    """A run of two steps."""
    data = write_pairs(tmp_path / "data")
    assert train(*SMALL, variant="pix2pix", dataset=data, steps=2, out=tmp_path / "run") == "finished"
    return tmp_path / "run"


def pixels(path: Path) -> np.ndarray:
    """Returns an image (H, W) or (H, W, C)."""
    with Image.open(path) as image:
        return np.array(image)


def drawn(run: Path, out: Path, *assignments: str, source: str | None = None, seed: int = 0) -> Path:
    """Draws three samples, or one for each image of `source`."""
    count = None if source else 3
    sample(run, count=count, seed=seed, label=None, output=None, source=source, assignments=list(assignments), out=out)
    return out


def test_a_resume_with_dropout_equals_a_straight_run_bit_for_bit(tmp_path: Path, train: Train) -> None:
    data = write_pairs(tmp_path / "data")
    for name, lengths in (("straight", (6,)), ("resumed", (3, 6))):
        for steps in lengths:
            flags = {"variant": "pix2pix", "dataset": data, "steps": steps, "out": tmp_path / name}
            assert train(*SMALL, **flags) == "finished"
    straight = weights(tmp_path / "straight")
    assert straight["ema-generator/last.1.weight"].shape == (4, 3, 4, 4)
    assert difference(straight, weights(tmp_path / "resumed")) == 0.0
    assert [line["generator/L1"] for line in metrics(tmp_path / "straight")][-3:] == [
        line["generator/L1"] for line in metrics(tmp_path / "resumed")
    ][-3:]
    # Dropout was on: without it the weights are others.
    assert train(*SMALL, "dropout=0", variant="pix2pix", dataset=data, steps=6, out=tmp_path / "dry") == "finished"
    assert difference(straight, weights(tmp_path / "dry")) > 1e-6


def test_the_grid_shows_each_held_out_pair_with_the_translation_between(trained: Path, tmp_path: Path) -> None:
    grid = pixels(drawn(trained, tmp_path / "grid.png"))
    cell = 64 + 2  # 16 pixels are enlarged four times.
    assert grid.shape == (3 * cell + 2, 3 * cell + 2, 3)
    found = [pixels(path) for path in sorted((tmp_path / "data" / "B" / "test").iterdir())]
    enlarged = [np.array(Image.fromarray(image).resize((64, 64), Image.Resampling.NEAREST)) for image in found]
    last = [grid[2 + row * cell : 66 + row * cell, 2 + 2 * cell : 66 + 2 * cell] for row in range(3)]
    for image in last:
        assert sum(bool((image == other).all()) for other in enlarged) == 1
    first = grid[2:66, 2:66]
    assert (first == first[..., :1]).all()  # Grey, in a grid of RGB.


def test_noise_is_an_option_of_sampling(trained: Path, tmp_path: Path) -> None:
    def images(name: str, seed: int, *assignments: str) -> np.ndarray:
        with np.load(drawn(trained, tmp_path / f"{name}.npz", *assignments, seed=seed)) as file:
            return np.array(file["arr_0"])

    assert images("one", 0).shape == (3, SIDE, SIDE, 3)
    assert (images("one", 0) == images("again", 0)).all()
    assert (images("one", 0) != images("other", 1)).any()
    assert (images("plain", 0, "noise=false") == images("plain other", 1, "noise=false")).all()
    with pytest.raises(UserError, match=r"nois: no such sampling option.*Did you mean 'noise'"):
        drawn(trained, tmp_path / "no.npz", "nois=false")


def test_a_folder_of_a_alone_is_translated_to_files_and_to_a_grid(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "data" / "A" / "test", tmp_path / "new")
    shutil.rmtree(tmp_path / "data")  # It is not needed.
    source = f"folder:{tmp_path / 'new'}"
    out = drawn(trained, tmp_path / "out", source=source)
    assert sorted(path.name for path in out.iterdir()) == ["test0.png", "test1.png", "test2.png"]
    assert {pixels(path).shape for path in out.iterdir()} == {(SIDE, SIDE, 3)}
    # There is no b to show in a third column.
    assert pixels(drawn(trained, tmp_path / "grid.png", source=source)).shape == (3 * 66 + 2, 2 * 66 + 2, 3)


def test_a_data_set_that_is_gone_is_an_error_that_names_the_way_out(trained: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(UserError) as error:
        drawn(trained, tmp_path / "grid.png")
    assert f"samples of this run are made from the images of 'pairs:{tmp_path / 'data'}'" in str(error.value)
    assert "Pass others as --from folder:PATH" in str(error.value)


def test_files_without_partner_are_listed(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data")
    (tmp_path / "data" / "A" / "train" / "train1.png").rename(tmp_path / "data" / "A" / "train" / "other.png")
    (tmp_path / "data" / "B" / "test" / "test2.png").unlink()
    with pytest.raises(UserError) as error:
        make_job(variant="pix2pix", dataset=data)
    text = str(error.value)
    assert "3 of 17 files cannot be used" in text
    assert f"A/train/other.png: has no partner in {tmp_path / 'data' / 'B' / 'train'}" in text
    assert f"B/train/train1.png: has no partner in {tmp_path / 'data' / 'A' / 'train'}" in text


def test_data_without_pairs_is_refused_with_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs the fields a with b, but 'digits' has images \(1 x 8 x 8\), labels"):
        make_job(variant="pix2pix", dataset="digits").build()
    for folder in ("trainA", "trainB"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (SIDE, SIDE)).save(tmp_path / folder / "1.png")
    with pytest.raises(UserError, match=r"has them in tables whose rows do not belong together"):
        make_job(variant="pix2pix", dataset=f"unpaired:{tmp_path}").build()


def test_the_variant_s_defaults_are_the_paper_s(tmp_path: Path) -> None:
    settings = make_job(variant="pix2pix", dataset=write_pairs(tmp_path / "data")).settings
    assert (settings.batch, settings.epochs, settings.ema_kimg, settings.kimg) == (1, 200, 0.0, None)


def test_edges_of_a_step_and_of_a_ramp() -> None:
    # Sobel over 8 at a step of height h: h / 2 on both of its sides. The threshold is 20.
    for height, edge in ((39, False), (41, True)):
        step = np.full((8, 8), 100, np.uint8)
        step[:, 4:] += height
        black = np.array(edges(Image.fromarray(step))) == 0
        assert black.any() == edge
        assert not edge or (black == [[False, False, False, True, True, False, False, False]] * 8).all()
    for slope, edge in ((19, False), (21, True)):
        ramp = np.tile(np.arange(8, dtype=np.uint8) * slope, (8, 1))
        assert (np.array(edges(Image.fromarray(ramp)))[:, 1:-1] == (0 if edge else 255)).all()


def test_pairs_from_photographs_are_read_as_edges_and_photograph(tmp_path: Path) -> None:
    for split in ("trainA", "testA"):
        (tmp_path / "photographs" / split).mkdir(parents=True)
        for number in range(2):
            noise = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / "photographs" / split / f"{number}.png")
    main(tmp_path / "photographs", tmp_path / "pairs", 32)
    dataset = make_job("width=1", variant="pix2pix", dataset=f"pairs:{tmp_path / 'pairs'}").dataset
    rows = next(iter(dataset.read("pairs", "test").batches([[0, 1]])))
    with Image.open(tmp_path / "photographs" / "testA" / "0.png") as photograph:
        whole = torch.from_numpy(np.array(side_by_side(photograph, 32))).permute(2, 0, 1)
        small = photograph.resize((32, 32), Image.Resampling.BICUBIC)
    assert torch.equal(rows["a"][0], whole[..., :32])
    assert torch.equal(rows["b"][0], torch.from_numpy(np.array(small)).permute(2, 0, 1))
