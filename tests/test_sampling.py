"""`gan_core sample`: outputs, folders of images, classes by name, sampling options; and grids."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from gan_core.app.load import load_run
from gan_core.app.training import start
from gan_core.cli.plugins import show
from gan_core.cli.sample import sample
from gan_core.errors import UserError
from gan_core.sampling.files import arranged
from tests.conftest import make_job
from tests.test_outputs import evaluated
from tests.test_plugin_loading import install
from tests.translating import images, install_translator, write, write_domains

STANDING = '''
"""Standing statistics: batch normalisation averaged anew before samples are drawn (Brock et al. 2019, section 4)."""
import torch
from torch import nn
from gan_core import Game, Options, Output, Phase, Variant, normal_latents, sgd

class Training(Options):
    """None."""

class Sampling(Options):
    """What samples are drawn with."""

    batches: int = 4
    """Batches over which the statistics are averaged."""

class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 64), nn.BatchNorm1d(64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    def forward(self, z):
        return self.layers(z)

def build(options, data):
    def prepare(networks, random, options):
        network = networks["generator"].train()
        network.layers[1].momentum = None  # Cumulative averages.
        network.layers[1].reset_running_stats()
        for _ in range(options.batches):
            network(torch.from_numpy(random.standard_normal((32, 3), dtype="float32")).to(network.layers[0].weight))

    return Game(
        networks={"generator": Generator()},
        phases=[Phase(name="only", trains=("generator",), optimizer=sgd(0.1),
                      loss=lambda n, b: {"size": n["generator"](**b.inputs).square().mean()})],
        draw=normal_latents(3),
        outputs={"images": Output(generate=lambda n, inputs, options: n["generator"](**inputs))},
        prepare=prepare,
    )

variant = Variant(api=2, options=Training, build=build, sampling=Sampling)
'''
TRAINED = ("steps=2", "batch=16", "threads=1")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("site")
    install_translator(folder)
    install(folder, distribution="standing-gan", name="standing", code=STANDING)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


def trained(out: Path, *assignments: str, **flags: object) -> Path:
    start(make_job(*TRAINED, *assignments, out=out, **flags), (), Console(quiet=True))
    return out


@pytest.fixture(scope="module")
def translator(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("domains")
    return trained(root / "run", variant="translator", dataset=write_domains(root / "data"))


@pytest.fixture(scope="module")
def standing(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    judged = ("evaluate_every=1", "evaluate_samples=64", "evaluate_features=random")
    return trained(tmp_path_factory.mktemp("standing") / "run", *judged, variant="standing")


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of AC-GAN on a folder with the classes cat, dog and hedgehog."""
    root = tmp_path_factory.mktemp("classes")
    for seed, name in enumerate(("cat", "dog", "hedgehog")):
        write(root / "data" / name, images(8, seed))
    return trained(root / "run", "width=2", variant="acgan", dataset=f"folder:{root / 'data'}")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_a_folder_is_translated_once_in_order_under_its_names(translator: Path, tmp_path: Path) -> None:
    write(tmp_path / "new", images(70, 30))
    (tmp_path / "new" / "000.png").rename(tmp_path / "new" / "zebra.png")
    sample(translator, source=f"folder:{tmp_path / 'new'}", out=tmp_path / "out", assignments=["shift=5"])
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "new").iterdir())
    assert len(names) == 70
    for name in names:
        assert np.array_equal(pixels(tmp_path / "out" / name), pixels(tmp_path / "new" / name) + 5)
    sample(translator, source=f"folder:{tmp_path / 'new'}", count=3, output="a", out=tmp_path / "three")
    assert [path.name for path in sorted((tmp_path / "three").iterdir())] == ["001.png", "002.png", "003.png"]


def test_files_of_other_sizes_colours_and_formats_are_converted(translator: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    Image.new("RGB", (32, 20), (90, 90, 90)).save(tmp_path / "new" / "wide.jpg")
    Image.new("L", (5, 9), 60).save(tmp_path / "new" / "tall.bmp")
    (tmp_path / "new" / "wide.jpg").rename(tmp_path / "new" / "wide")
    sample(translator, source=f"folder:{tmp_path / 'new'}", out=tmp_path / "out")
    assert np.array_equal(pixels(tmp_path / "out" / "tall.bmp"), np.full((8, 8), 60))
    assert np.array_equal(pixels(tmp_path / "out" / "wide.png"), np.full((8, 8), 90))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"source": "new"}, "from: 'new' is not allowed. Did you mean 'folder:new'? Write folder:PATH"),
        ({"source": "folder:gone"}, "from: 'gone' is not a folder"),
        (
            {"source": "folder:spoilt"},
            "from: 1 of 2 files cannot be used:\n  spoilt/b.png: not an image\nMend or remove",
        ),
        ({"source": "folder:new", "count": 4}, "count: 4 is not allowed, because 'folder:new' has 3 images"),
        ({"output": "bb"}, "output: 'bb' is no output of this variant. Did you mean 'b'? Allowed: b, a"),
        ({"label": "1"}, "label: 1 is not allowed. Allowed: none"),
        ({"assignments": ["shfit=1"]}, "shfit: no such sampling option of translator. Did you mean 'shift'?"),
    ],
)
def test_errors_name_the_way_out(
    translator: Path, words: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "new", images(3, 0))
    write(tmp_path / "spoilt", images(1, 0))
    (tmp_path / "spoilt" / "b.png").write_text("no image")
    with pytest.raises(UserError) as error:
        sample(translator, out=tmp_path / "x.png", **words)
    assert message in str(error.value)
    assert "skip-bad" not in str(error.value)


def test_a_run_whose_images_are_gone_samples_from_a_folder(site: Path, tmp_path: Path) -> None:
    data = write_domains(tmp_path / "data")
    run = trained(tmp_path / "run", variant="translator", dataset=data)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(
        UserError, match=r"made from the images of .*Pass others as --from folder:PATH\.\n.*not a folder"
    ):
        sample(run, out=tmp_path / "a.png")
    sample(run, source=f"folder:{tmp_path / 'elsewhere' / 'testA'}", out=tmp_path / "a.png")


def test_a_grid_shows_each_sample_s_columns_side_by_side(translator: Path, tmp_path: Path) -> None:
    given = images(10, 40)
    write(tmp_path / "new", given)
    sample(translator, source=f"folder:{tmp_path / 'new'}", out=tmp_path / "grid.png")
    grid = pixels(tmp_path / "grid.png")
    assert grid.shape == (8 * 66 + 2, 6 * 66 + 2)  # Eight rows, and twice the columns a, b and inverted.
    expected = {0: given, 1: given, 2: 255 - given}
    for number in range(10):
        for column in range(3):
            x, y = (3 * (number // 8) + column) * 66 + 2, number % 8 * 66 + 2
            cell = Image.fromarray(expected[column][number]).resize((64, 64), Image.Resampling.NEAREST)
            assert np.array_equal(grid[y : y + 64, x : x + 64], np.array(cell)), (number, column)
    assert (grid[2 * 66 + 2 :, 3 * 66 + 2 :] == 255).all()


def test_samples_of_a_run_s_own_images_are_of_its_test_split(translator: Path, tmp_path: Path) -> None:
    sample(translator, output="a", out=tmp_path / "a.npz")  # testB has 24 images.
    drawn = np.load(tmp_path / "a.npz")["arr_0"][..., 0]
    assert sorted(map(bytes, drawn)) == sorted(map(bytes, images(24, 3)))


def test_pictures_of_other_shapes_keep_their_proportions() -> None:
    wide, tall = Image.new("L", (64, 32), 10), Image.new("RGB", (32, 64), (200, 0, 0))
    grid = np.array(arranged([wide, None, tall], 2))
    assert grid.shape == (134, 134, 3)
    assert [(grid == colour).all(2).sum() for colour in ((10, 10, 10), (200, 0, 0))] == [64 * 32, 64 * 32]


def test_class_names_stand_beside_the_rows_and_in_arrays(classes: Path, tmp_path: Path) -> None:
    sample(classes, out=tmp_path / "grid.png", count=24)
    grid = pixels(tmp_path / "grid.png")
    margin = grid.shape[1] - (8 * 66 + 2)
    assert margin > 0
    widths = [np.flatnonzero((grid[row * 66 + 2 : row * 66 + 66, :margin] < 128).any(0)).max() for row in range(3)]
    assert widths[2] > 2 * max(widths[:2])  # "hedgehog" is the longest name.
    assert np.array_equal(pixels(classes / "samples" / "000000032.png"), grid)
    sample(classes, out=tmp_path / "all.npz", count=6)
    sample(classes, out=tmp_path / "named.npz", count=6, label="dog")
    sample(classes, out=tmp_path / "numbered.npz", count=6, label="1")
    arrays, dogs = np.load(tmp_path / "all.npz"), np.load(tmp_path / "named.npz")
    assert arrays.files == ["arr_0", "arr_1", "class_names"]
    assert [str(arrays["class_names"][label]) for label in arrays["arr_1"]] == ["cat", "dog", "hedgehog"] * 2
    assert dogs["arr_1"].tolist() == [1] * 6
    assert np.array_equal(dogs["arr_0"], np.load(tmp_path / "numbered.npz")["arr_0"])
    sample(classes, out=tmp_path / "dogs.png", count=16, label="dog")
    assert pixels(tmp_path / "dogs.png").shape == (4 * 66 + 2, 4 * 66 + 2)
    with pytest.raises(UserError, match=r"label: hegdehog is not allowed. Did you mean 'hedgehog'\?"):
        sample(classes, out=tmp_path / "x.png", label="hegdehog")


def test_sampling_options_are_recorded_with_samples(standing: Path, tmp_path: Path) -> None:
    options = {"batches": 2}
    sample(standing, out=tmp_path / "a.png", count=4, assignments=["batches=2"])
    sample(standing, out=tmp_path / "folder", count=4, assignments=["batches=2"])
    sample(standing, out=tmp_path / "a.npz", count=4, assignments=["batches=2"])
    for path in (tmp_path / "a.png", tmp_path / "folder" / "000003.png"):
        with Image.open(path) as image:
            assert json.loads(image.text["sampling"]) == options
    assert json.loads(str(np.load(tmp_path / "a.npz")["sampling"])) == options


def test_standing_statistics_are_those_of_the_prepared_batches(standing: Path, tmp_path: Path) -> None:
    sampler = load_run(standing).sampler(0, options={"batches": 3})
    drawn = sampler.draw_all(64)
    trained, network = sampler.networks["generator"], sampler._prepared["generator"]
    random = sampler.streams.at("prepare", 0)
    means = [
        trained.layers[0](torch.from_numpy(random.standard_normal((32, 3), dtype="float32"))).mean(0) for _ in range(3)
    ]
    assert torch.allclose(network.layers[1].running_mean, torch.stack(means).mean(0), atol=1e-6)
    assert not torch.allclose(trained.layers[1].running_mean, network.layers[1].running_mean, atol=1e-6)
    assert not network.training
    # A block of another sampler that is prepared, and what an evaluation judges.
    sample(standing, out=tmp_path / "a.npz", assignments=["batches=3"])
    assert np.array_equal(np.load(tmp_path / "a.npz")["arr_0"], drawn.permute(0, 2, 3, 1).numpy())


def test_grids_and_evaluations_while_training_are_prepared_too(standing: Path, tmp_path: Path) -> None:
    sample(standing, out=tmp_path / "grid.png")
    assert np.array_equal(pixels(standing / "samples" / "000000032.png"), pixels(tmp_path / "grid.png"))
    lines = [json.loads(line) for line in (standing / "metrics.jsonl").read_text().splitlines()]
    logged = next(line["evaluation@64/kid"] for line in reversed(lines) if "evaluation@64/kid" in line)
    values = [evaluated(standing, options, samples=64)["metrics"]["kid"]["value"] for options in ({}, {"batches": 1})]
    assert values[0] == pytest.approx(logged, rel=1e-6)
    assert values[1] != pytest.approx(logged, rel=1e-3)


def test_show_lists_the_sampling_options(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show("translator")
    text = capsys.readouterr().out
    assert "\nNo options.\n" in text
    assert "Sampling options, for `sample --set` and `evaluate --set`:" in text
    assert "Added to each translated image, in grey levels." in text
    assert "Networks: pass --dataset NAME, which needs the fields a, b." in text
    show("standing", as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["default"]) for row in shown["sampling"]] == [("batches", 4)]
    show("vanilla")
    assert "Sampling options" not in capsys.readouterr().out
