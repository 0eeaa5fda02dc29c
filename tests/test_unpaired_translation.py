"""CycleGAN from two folders of pictures to a folder of translated ones."""

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_core.errors import UserError
from tests.conftest import ROOT, gan_core, make_job, saved
from tests.translation_worlds import SMALL, write_domains, write_pictures


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains of other counts, each with a test split."""
    root = tmp_path_factory.mktemp("domains")
    write_domains(root)
    return root


def test_a_resume_in_the_middle_of_a_pool_is_exact(domains: Path, tmp_path: Path, train: Callable[..., str]) -> None:
    flags = {"variant": "cyclegan", "dataset": f"unpaired:{domains}", "batch": 4, "lr_schedule": "constant"}
    for steps, run in ((5, "straight"), (1, "resumed"), (3, "resumed"), (5, "resumed")):
        train(*SMALL, **flags, steps=steps, out=tmp_path / run)
        # The first part ends before the pool is full, the second in its middle, after one place was used again.
        if (run, steps) == ("resumed", 1):
            assert int(saved(tmp_path / run)["state-pool_b/count"]) == 4
    straight, resumed = saved(tmp_path / "straight"), saved(tmp_path / "resumed")
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.fixture(scope="module")
def run(domains: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished short run."""
    folder = tmp_path_factory.mktemp("run") / "run"
    gan_core(
        *("train", "--variant", "cyclegan", "--dataset", f"unpaired:{domains}", "--steps", 3, "--out", folder),
        *(word for assignment in SMALL for word in ("--set", assignment)),
    )
    return folder


def test_new_files_are_translated_once_each_under_their_names(run: Path, tmp_path: Path) -> None:
    new = write_pictures(tmp_path / "new", 120, 9)
    said = gan_core("sample", run, "--from", f"folder:{new}", "--out", tmp_path / "b")
    assert f"120 images: {tmp_path / 'b'}" in said
    names = sorted(path.name for path in new.iterdir())
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == names
    assert len({(tmp_path / "b" / name).read_bytes() for name in names}) == 120
    # Its translation does not depend on the other files; the other output is another one.
    alone = tmp_path / "alone"
    alone.mkdir()
    (new / "077.png").rename(alone / "077.png")
    for output in ("b", "a"):
        words = ("--output", output, "--out", tmp_path / f"alone-{output}")
        gan_core("sample", run, "--from", f"folder:{alone}", *words)
    mine, here, there = (tmp_path / name / "077.png" for name in ("b", "alone-b", "alone-a"))
    assert mine.read_bytes() == here.read_bytes() != there.read_bytes()


def test_the_grid_shows_source_translation_and_reconstruction(run: Path, domains: Path) -> None:
    with Image.open(run / "samples" / "000000003.png") as file:
        grid = np.asarray(file)
    # Two times three columns of eight rows, in cells of 64 pixels and 2 between them.
    assert grid.shape == (8 * 66 + 2, 6 * 66 + 2, 3)
    cells = [
        Image.fromarray(grid[2 + 66 * row : 66 + 66 * row, 2 + 66 * column : 66 + 66 * column])
        for column in (0, 3)
        for row in range(8)
    ]
    sources = {np.asarray(cell).tobytes() for cell in cells}
    enlarged = {
        np.asarray(Image.open(path).resize((64, 64), Image.Resampling.NEAREST)).tobytes()
        for path in (domains / "testA").iterdir()
    }
    assert sources == enlarged


def test_a_data_set_without_domains_is_refused() -> None:
    with pytest.raises(UserError, match=r"cyclegan.*needs .*a.*b.*digits.*images \(1 x 8 x 8\), labels"):
        make_job(variant="cyclegan", dataset="digits").build()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of horse2zebra, from the tar file that the environment variable GAN_CORE_HORSE2ZEBRA names."""
    packed = os.environ.get("GAN_CORE_HORSE2ZEBRA")
    if packed is None or not Path(packed).is_file():
        pytest.skip("needs horse2zebra: set GAN_CORE_HORSE2ZEBRA to a tar file of its folder")
    folder = tmp_path_factory.mktemp("photographs")
    with tarfile.open(packed) as file:
        file.extractall(folder, filter="data")
    return folder / "horse2zebra"


def test_horses_become_zebras_of_the_same_names(photographs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    gan_core(
        *("train", "--config", ROOT / "configs" / "cyclegan-horse2zebra.yaml", "--dataset", f"unpaired:{photographs}"),
        *("--steps", 4, "--set", "width=2", "--set", "discriminator_width=4", "--out", run),
    )
    gan_core("sample", run, "--from", f"folder:{photographs / 'testA'}", "--out", tmp_path / "zebras")
    names = sorted(path.name for path in (photographs / "testA").iterdir())
    assert len(names) == 120
    assert sorted(path.name for path in (tmp_path / "zebras").iterdir()) == names
    with Image.open(tmp_path / "zebras" / names[0]) as zebra:
        assert (zebra.size, zebra.mode) == ((64, 64), "RGB")
    said = gan_core("evaluate", run, "--features", "random", "--samples", 120, "--json")
    protocol = json.loads(said[said.index("{\n") : said.rindex("}") + 1])["protocol"]
    assert (protocol["samples"], protocol["dataset"].removeprefix("unpaired:")) == (120, f"{photographs} (b)")
