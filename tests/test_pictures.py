"""Interpolations, films and chosen checkpoints: `sample --interpolate`, `sample --checkpoint`, and `movie`."""

import json
from collections.abc import Callable
from math import cos, pi, sin, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from imageio_ffmpeg import count_frames_and_secs
from PIL import Image
from rich.console import Console

from gan_core.app.load import load_run
from gan_core.app.training import start
from gan_core.cli.movie import movie
from gan_core.cli.sample import sample
from gan_core.errors import UserError
from gan_core.sampling.interpolate import between, interpolated, slerp
from tests.conftest import make_job
from tests.translating import install_translator, write_domains


@pytest.fixture(scope="module")
def acgan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of AC-GAN on digits, with checkpoints at 16 and 32 images and a logged KID that is lowest at 16."""
    out = tmp_path_factory.mktemp("acgan") / "run"
    cadence = ("checkpoint_every=0.016", "sample_every=0.016", "log_every=0.016")
    start(make_job("width=2", "maps=4", *cadence, variant="acgan", steps=2, batch=16, out=out), (), Console(quiet=True))
    with (out / "metrics.jsonl").open("a") as file:
        for images, kid in ((16, 0.25), (32, 0.5)):
            file.write(json.dumps({"images_seen": images, "evaluation@64/kid": kid}) + "\n")
    return out


def test_slerp_turns_at_constant_speed_and_keeps_the_norm() -> None:
    one, other = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    for at in (0.0, 0.25, 0.5, 1.0):
        expected = torch.tensor([[3 * cos(at * pi / 2), 3 * sin(at * pi / 2)]])
        assert torch.allclose(slerp(one, other, at), expected, atol=1e-6)
    random = torch.Generator().manual_seed(0)
    first, last = torch.randn(2, 500, 512, generator=random)
    middle = slerp(first, last, 0.5)
    assert abs(float(middle.square().mean()) - 1) < 0.01
    assert float((first.lerp(last, 0.5)).square().mean()) < 0.55  # What a straight line would do.
    parallel = torch.ones(2, 4)
    assert torch.allclose(slerp(parallel, 3 * parallel, 0.5), 2 * parallel)
    assert torch.allclose(slerp(torch.tensor([[1.0]]), torch.tensor([[-3.0]]), 0.5), torch.tensor([[-1.0]]))


def test_all_floating_point_inputs_are_interpolated_and_labels_stay_those_of_the_first() -> None:
    inputs = {
        "z": torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        "noise": torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]]], dtype=torch.float64),
        "labels": torch.tensor([4, 7]),
    }
    found = between(inputs, 1, 0.5)
    assert torch.allclose(found["z"], torch.tensor([[sqrt(0.5), sqrt(0.5)]]))
    assert torch.allclose(found["noise"], torch.tensor([[[sqrt(2), sqrt(2)]]], dtype=torch.float64))
    assert found["labels"].tolist() == [4]


def test_an_interpolation_begins_with_the_samples_of_the_seed_and_ends_with_others_of_the_same_class(
    acgan: Path, tmp_path: Path
) -> None:
    sample(acgan, count=10, out=tmp_path / "first.npz")
    expected = np.load(tmp_path / "first.npz")["arr_0"][..., 0]
    sample(acgan, interpolate=5, out=tmp_path / "rows.png")
    with Image.open(tmp_path / "rows.png") as image:
        grid = np.array(image)
    cell, left = 66, grid.shape[1] - 5 * 66 - 2  # Cells of 64 pixels; the names of the classes stand on the left.
    assert grid.shape[0] == 10 * cell + 2
    assert left > 8
    for row in range(10):
        first = grid[row * cell + 2 : row * cell + 66, left + 2 : left + 66]
        assert np.array_equal(first, expected[row].repeat(8, axis=0).repeat(8, axis=1)), row  # No blur.
    sampler = load_run(acgan).sampler(0)
    ends = list(interpolated(sampler, 10, 3))
    labels = torch.cat([torch.arange(10), torch.arange(10), torch.arange(44) % 10])
    whole = sampler.block(0, labels)
    assert torch.equal(ends[0], whole[:10])
    assert torch.equal(ends[2], whole[10:20])
    assert not torch.equal(ends[1], ends[0])


@pytest.mark.parametrize("kind", ["gif", "mp4"])
def test_films_have_a_frame_for_each_place(kind: str, acgan: Path, tmp_path: Path) -> None:
    out = tmp_path / f"walk.{kind}"
    sample(acgan, interpolate=7, count=3, label="5", out=out)
    if kind == "gif":
        with Image.open(out) as film:
            assert film.n_frames == 7
            assert film.info["loop"] == 0
    else:
        assert count_frames_and_secs(str(out))[0] == 7
    movie(acgan, out=tmp_path / f"run.{kind}", rate=2.0)
    grids = sorted((acgan / "samples").iterdir())
    assert len(grids) == 3
    if kind == "gif":
        with Image.open(tmp_path / "run.gif") as film, Image.open(grids[-1]) as last:
            assert film.n_frames == 3
            assert film.info["duration"] == 500
            film.seek(2)
            assert np.array_equal(np.array(film.convert("L")), np.array(last.convert("L")))
    else:
        assert count_frames_and_secs(str(tmp_path / "run.mp4"))[0] == 3


def test_a_film_leaves_out_what_is_no_picture(acgan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (acgan / "samples" / "000000020.png").write_bytes(b"no picture")
    try:
        movie(acgan, out=tmp_path / "run.gif")
    finally:
        (acgan / "samples" / "000000020.png").unlink()
    heard = capsys.readouterr()
    assert "000000020.png cannot be read" in heard.err
    assert heard.out.startswith("3 frames")


def test_images_that_are_given_are_not_interpolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_translator(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    run, data = tmp_path / "run", write_domains(tmp_path / "data")
    start(make_job(variant="translator", dataset=data, steps=1, batch=16, out=run), (), Console(quiet=True))
    with pytest.raises(UserError, match=r"made from images .a., which are not interpolated"):
        sample(run, interpolate=3, out=tmp_path / "rows.png")
    with pytest.raises(UserError, match="from: not allowed with --interpolate"):
        sample(run, interpolate=3, source="folder:x", out=tmp_path / "rows.png")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"interpolate": 3, "out": Path("x.npz")}, "Use FILE.png, FILE.gif or FILE.mp4"),
        ({"out": Path("x.gif")}, r"films need --interpolate"),
        ({"interpolate": 3, "count": 40, "out": Path("x.png")}, "It must be 1 to 32"),
        (
            {"checkpoint": "later", "out": Path("x.png")},
            "'later' is not allowed. Allowed: newest, best, or the images seen",
        ),
        (
            {"checkpoint": "7", "out": Path("x.png")},
            "has none of 7000 images seen. The nearest one is 32. Allowed: newest, best, 16, 32",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    flags: dict[str, object], message: str, acgan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        sample(acgan, **flags)
    assert not list(tmp_path.iterdir())


def test_the_newest_the_best_and_any_checkpoint_by_its_images(acgan: Path, train: Callable[..., str]) -> None:
    assert load_run(acgan).images_seen == 32
    assert load_run(acgan, which="best").images_seen == 16
    assert load_run(acgan, which=16).images_seen == 16
    config = (acgan / "config.yaml").read_text()
    try:
        kept = config.replace("keep_highest: null", "keep_highest: evaluation@64/kid")
        (acgan / "config.yaml").write_text(kept)
        assert load_run(acgan, which="best").images_seen == 32
        (acgan / "config.yaml").write_text(config.replace("keep_lowest: null", "keep_lowest: evaluation@9/fid"))
        with pytest.raises(UserError, match=r"'best' is not known of .*: evaluation@9/fid was logged at none"):
            load_run(acgan, which="best")
    finally:
        (acgan / "config.yaml").write_text(config)
