"""Streamed rows: decoded by worker processes, which are the resident rows, and end with the process that trains."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from gan_core.data.catalog import open_dataset
from gan_core.data.residency import choose_residency
from gan_core.data.row_order import RowOrder
from gan_core.data.streaming import StreamedRows, read_rows
from gan_core.errors import TrainingError, UserError
from gan_core.randomness import Streams
from gan_core.settings.resolve import resolve
from tests.boxes import BOXES, COUNT, image
from tests.conftest import ROOT, difference, gan_core, start_gan_core, weights
from tests.numbered import Numbered, numbers
from tests.test_data import picture
from tests.test_plugin_loading import install


def workers_of(rows: StreamedRows) -> list[psutil.Process]:
    """Returns the idle worker processes of rows."""
    return [psutil.Process(one.process.pid) for workers in rows._idle for one in workers._processes]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_streamed_rows_are_those_that_are_asked_for_in_that_order(workers: int) -> None:
    rows = StreamedRows(Numbered(500), {"labels": torch.arange(500) * 2}, workers=workers)
    random = np.random.default_rng(0)
    for _ in range(2):  # The second time, by the same processes.
        asked = [random.integers(0, 500, length) for length in (1, 130, 64, 65, 3, 200)]
        for indices, batch in zip(asked, rows.batches(iter(asked)), strict=True):
            assert numbers(batch["images"].numpy()).tolist() == indices.tolist()
            assert batch["labels"].tolist() == (2 * indices).tolist()
    assert len(workers_of(rows)) == workers


def test_a_stream_that_is_left_early_does_not_disturb_the_next_one() -> None:
    rows = StreamedRows(Numbered(500), workers=2)
    first, second = rows.batches([[at] for at in range(200)]), rows.batches([[300 + at] for at in range(100)])
    for at in range(5):
        assert [numbers(next(one)["images"].numpy()).item() for one in (first, second)] == [at, 300 + at]
    first.close()  # type: ignore[attr-defined]
    (third,) = rows.batches([[7, 8]])
    assert numbers(third["images"].numpy()).tolist() == [7, 8]
    assert numbers(next(second)["images"].numpy()).item() == 305


def test_workers_import_no_torch_and_do_not_listen_to_signals() -> None:
    rows = StreamedRows(Numbered(100), workers=1)
    list(rows.batches([[1]]))
    (worker,) = workers_of(rows)
    assert not any("torch" in one.path for one in worker.memory_maps())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        worker.send_signal(number)
    (batch,) = rows.batches([[2]])
    assert numbers(batch["images"].numpy()).tolist() == [2]
    assert os.getpgid(worker.pid) != os.getpgid(0)  # So that Ctrl-C in a terminal is not for it.


def test_workers_end_with_their_rows_and_a_killed_one_is_an_error() -> None:
    rows = StreamedRows(Numbered(100), workers=2)
    list(rows.batches([[1]]))
    workers = workers_of(rows)
    workers[0].kill()
    with pytest.raises(TrainingError, match=r"was killed, perhaps because memory ran out \(exit code -9\)"):
        list(rows.batches([[at] for at in range(10)]))
    del rows
    deadline = time.monotonic() + 10
    while any(worker.is_running() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(worker.is_running() for worker in workers)


def test_workers_end_when_the_process_that_trains_is_killed() -> None:
    program = (
        "from gan_core.data.streaming import StreamedRows\n"
        "from tests.numbered import Numbered\n"
        "rows = StreamedRows(Numbered(1000), workers=2)\n"
        "stream = rows.batches([[at] for at in range(1000)])\n"
        "next(stream)\n"
        "import psutil, time\n"
        "print(*(child.pid for child in psutil.Process().children()), flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        process.kill()
    deadline = time.monotonic() + 10
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(psutil.pid_exists, pids))


def test_a_row_that_cannot_be_decoded_any_more_is_named(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / f"{number}.png", seed=number)
    for workers in (0, 1):
        picture(tmp_path / "2.png", seed=2)
        rows = open_dataset(f"folder:{tmp_path}", resident="no", workers=workers).read("images", "train")
        (tmp_path / "2.png").unlink()
        with pytest.raises(TrainingError, match=r"has changed since it was checked\. .*2\.png: .*No such file"):
            list(rows.batches([[0, 1, 2]]))
        with pytest.raises(IndexError):
            list(rows.batches([[4]]))


@pytest.mark.parametrize(("count", "workers"), [(5, 1), (2500, 2)])
def test_rows_that_are_kept_are_the_rows_that_are_streamed(count: int, workers: int) -> None:
    labels = {"labels": torch.arange(count)}
    kept = read_rows(Numbered(count), labels, choose_residency("yes", 1, workers))
    streamed = read_rows(Numbered(count), labels, choose_residency("no", 1, workers))
    (one,), (other,) = (rows.batches([[count - 1, 0, 2]]) for rows in (kept, streamed))
    assert numbers(one["images"].numpy()).tolist() == [count - 1, 0, 2]
    assert all(torch.equal(one[name], other[name]) for name in ("images", "labels"))
    assert kept.fingerprint == streamed.fingerprint
    assert read_rows(Numbered(count), {}, choose_residency("no", 1, 1)).fingerprint != kept.fingerprint


def test_where_images_are_kept_is_decided_by_their_size_or_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_core.data.residency.usable_cores", lambda: 16)
    monkeypatch.setattr("gan_core.data.residency.local_processes", lambda: 4)
    gib = 1 << 30
    assert str(choose_residency("auto", 2 * gib, None)) == "resident, 2 GiB of pixels (auto: at most 2 GiB)"
    assert (
        str(choose_residency("auto", 3 * gib, None))
        == "streamed by 3 worker processes, 3 GiB of pixels (auto: more than 2 GiB)"
    )
    assert str(choose_residency("yes", 3 * gib, None)) == "resident, 3 GiB of pixels (as resident yes says)"
    assert str(choose_residency("no", 1024, 1)) == "streamed by 1 worker process, 1 KiB of pixels (as resident no says)"
    assert str(choose_residency("no", 10, 0)) == "streamed by this process, 10 bytes of pixels (as resident no says)"
    with pytest.raises(UserError, match="resident: 'no' is not allowed for 'digits', which is always kept in memory"):
        open_dataset("digits", resident="no")


def test_images_are_checked_once_and_again_where_a_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_core.data import checked

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    looked_at: list[int] = []
    examine = checked.examine
    monkeypatch.setattr(checked, "examine", lambda *both: looked_at.append(1) or examine(*both))
    root = tmp_path / "images"
    for number in range(5):
        picture(root / f"{number}.png", seed=number)

    def opened() -> tuple[int, str]:
        looked_at.clear()
        fingerprint = open_dataset(f"folder:{root}").read("images", "train").fingerprint
        return len(looked_at), fingerprint

    first, before = opened()
    assert first == 5
    assert opened() == (0, before)
    picture(root / "2.png", seed=9)
    once, after = opened()
    assert (once, after != before) == (1, True)
    picture(root / "0a.png", seed=10)  # The others have other numbers now.
    assert opened()[0] == 1
    (root / "3.png").unlink()
    assert opened()[0] == 0
    (root / "4.png").write_bytes((root / "4.png").read_bytes()[:100])
    for _ in range(2):  # What fails is not remembered: the disk may have been at fault.
        with pytest.raises(UserError, match=r"1 of 5 files cannot be used:\n  .*4\.png"):
            open_dataset(f"folder:{root}")
    next((tmp_path / "cache" / "gan_core" / "data").glob("pictures-*.npz")).write_bytes(b"damaged")
    picture(root / "4.png", seed=4)
    assert opened()[0] == 5


def test_of_several_that_open_a_folder_one_checks_it_and_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Threads stand for processes here: the lock on the cache's file keeps either out."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = picture(tmp_path / "images" / "0.png", size=(2, 2))
    for number in range(1, 2001):
        (tmp_path / "images" / f"{number}.png").hardlink_to(first)
    with ThreadPoolExecutor(3) as pool:
        opened = list(pool.map(open_dataset, [f"folder:{tmp_path}/images"] * 3))
    assert [one.spec.count for one in opened] == [2001] * 3
    assert capsys.readouterr().err == f"checking 2,001 images of {tmp_path}/images, once\n"


def test_a_cache_that_cannot_be_written_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    picture(tmp_path / "images" / "a.png")
    assert open_dataset(f"folder:{tmp_path}/images").spec.count == 1


MILLION = 1_000_000


def test_a_million_images_come_in_the_order_of_their_epochs() -> None:
    rows = StreamedRows(Numbered(MILLION), workers=1)
    order = RowOrder(Streams(0), "images", MILLION)
    stream = rows.batches(order.batches(MILLION - 1000, 250, [slice(0, 250)]))
    expected = np.concatenate([Streams(0).at("image order", epoch).permutation(MILLION) for epoch in (0, 1)])
    seen = [number for _ in range(8) for number in numbers(next(stream)["images"].numpy()).tolist()]
    assert seen == expected[MILLION - 1000 : MILLION + 1000].tolist()


def test_a_million_images_train_in_flat_memory(
    tmp_path: Path, train: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data set would take 2.1 GiB; this run is shown 118 MiB of it."""
    install(tmp_path, distribution="million", name="million", value="tests.numbered:source", group="gan_core.datasets")
    monkeypatch.syspath_prepend(tmp_path)
    memory = []
    gather = StreamedRows._placed

    def placed(self: StreamedRows, at: Any, rows: Any) -> Any:
        memory.append(psutil.Process().memory_info().rss)
        return gather(self, at, rows)

    monkeypatch.setattr(StreamedRows, "_placed", placed)
    steps = ("width=4", "batch=512", "steps=100", "sample_every=1000", "log_every=5")
    assert train(*steps, variant="vanilla", dataset="million", out=tmp_path / "run") == "finished"
    assert len(memory) >= 100
    grown = max(memory[20:]) - memory[20]
    assert grown < 32 << 20, f"{grown >> 20} MiB more after 40 more MiB of images"


STREAMED = (
    *("train", "--variant", "dcgan", "--set", "width=4", "--batch", 8, "--precision", "fp64", "--mirror"),
    *("--set", "log_every=0.008", "--sample-every", 1000, "--image-size", 16),
)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same images in a folder, a zip and a parquet file, in the same order."""
    root = tmp_path_factory.mktemp("boxes")
    for at in range(COUNT):
        folder = root / "folder"
        folder.mkdir(exist_ok=True)
        Image.fromarray(image(at)).save(folder / f"{at:03d}.png")
    (root / "other").mkdir()
    return {
        "folder": f"folder:{root}/folder",
        **{k: f"{k}:{BOXES[k](root / 'other')}" for k in ("zip", "hf", "webdataset")},
    }


@pytest.fixture(scope="module")
def resident_run(boxes: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps on the folder, kept in memory: four epochs of 12 images."""
    run = tmp_path_factory.mktemp("resident") / "run"
    output = gan_core(*STREAMED, "--dataset", boxes["folder"], "--steps", 6, "--out", run)
    assert "images     resident, 9 KiB of pixels (auto: at most 2 GiB)" in output
    return run


@pytest.mark.parametrize(
    "kind", ["zip", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("folder", "hf", "webdataset"))]
)
def test_a_streamed_run_on_two_processes_that_one_resumes_is_the_resident_one(
    kind: str, boxes: dict[str, str], resident_run: Path, tmp_path: Path
) -> None:
    flags = (*STREAMED, "--dataset", boxes[kind], "--resident", "no", "--workers", 1, "--out", tmp_path / "run")
    output = gan_core(*flags, "--steps", 3, processes=2)
    assert "streamed by 1 worker process, 9 KiB of pixels (as resident no says)" in output
    assert "resuming at 0.024 kimg" in gan_core(*flags, "--steps", 6)
    assert difference(weights(tmp_path / "run"), weights(resident_run)) < 1e-9


@pytest.mark.parametrize("kind", ["folder", "zip", "hf", "webdataset"])
def test_a_streamed_run_that_is_resumed_is_the_resident_one_bit_for_bit(
    kind: str, boxes: dict[str, str], resident_run: Path, tmp_path: Path, train: Callable[..., str]
) -> None:
    settings = ("width=4", "batch=8", "precision=fp64", "mirror=true", "log_every=0.008", "sample_every=1000")
    for steps in (3, 6):
        out = tmp_path / "run"
        data = {"dataset": boxes[kind], "image_size": 16, "resident": "no", "workers": 1}
        assert train(*settings, variant="dcgan", steps=steps, out=out, **data) == "finished"
    assert difference(weights(tmp_path / "run"), weights(resident_run)) < 1e-12


def test_a_streamed_run_that_was_killed_goes_on_as_if_it_had_not_been(
    boxes: dict[str, str], resident_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    flags = (*STREAMED, "--dataset", boxes["folder"], "--resident", "no", "--workers", 1, "--out", run)
    keep = ("--checkpoint-every", 0.008, "--set", "keep_checkpoints=100000")
    process = start_gan_core(*flags, *keep, "--steps", 100_000)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "000000032").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    for folder in (run / "checkpoints").iterdir():
        if not folder.name.isdecimal() or int(folder.name) > 32:
            shutil.rmtree(folder)
    assert "resuming at 0.032 kimg" in gan_core(*flags, *keep, "--steps", 6)
    assert difference(weights(run, 48), weights(resident_run)) == 0.0


@pytest.mark.parametrize("word", ["yes", "no", "auto"])
def test_residency_may_be_written_as_yaml_has_it(word: str) -> None:
    assert resolve({"variant": "dcgan"}, (f"resident={word}",)).settings.resident == word
