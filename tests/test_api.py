"""`gan_core.train`, `gan_core.load` and `gan_core.Run`: the same runs as those of the command line."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gan_core
from gan_core.errors import UserError
from tests import conftest, forked
from tests.conftest import ROOT, difference, metrics, weights

SETTINGS = {"batch": 32, "steps": 8, "width": 4, "threads": 1, "log_every": 0.064, "checkpoint_every": 0.128}
FALLING = {"lr_schedule": "linear", "lr_decay_from": 0.0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> gan_core.Run:
    """A run that keeps its best checkpoint, which is not the newest one."""
    folder = tmp_path_factory.mktemp("python") / "run"
    # The learning rate falls, so the highest is that of the first checkpoint.
    best = {"keep_highest": "discriminator/learning rate", "keep_checkpoints": 1}
    return gan_core.train("dcgan", "digits", out=folder, quiet=True, **SETTINGS, **FALLING, **best)


def test_the_result_is_that_of_the_command_bit_for_bit(trained: gan_core.Run, tmp_path: Path) -> None:
    given = {key: value for key, value in (SETTINGS | FALLING).items() if key != "width"}
    words = [word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", value)]
    conftest.gan_core(
        *("train", "--variant", "dcgan", "--dataset", "digits", *words, "--set", "width=4"),
        *("--keep-highest", "discriminator/learning rate", "--keep-checkpoints", 1, "--out", tmp_path / "run"),
    )
    assert difference(weights(trained.folder), weights(tmp_path / "run")) == 0
    dropped = "images_per_second"
    one, other = (
        [{key: value for key, value in line.items() if key != dropped} for line in metrics(run)]
        for run in (trained.folder, tmp_path / "run")
    )
    assert one == other


def test_samples_are_those_of_the_command(trained: gan_core.Run, tmp_path: Path) -> None:
    conftest.gan_core("sample", trained.folder, "--count", 70, "--seed", 4, "--out", tmp_path / "samples.npz")
    with np.load(tmp_path / "samples.npz") as file:
        expected = torch.from_numpy(file["arr_0"]).permute(0, 3, 1, 2)
    drawn = trained.sample(70, seed=4)
    assert drawn.dtype == torch.uint8
    assert torch.equal(drawn, expected)


def test_the_generator_is_a_plain_module_in_eval_mode(trained: gan_core.Run) -> None:
    generator = trained.generator
    assert isinstance(generator, torch.nn.Module)
    assert not generator.training
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    saved = weights(trained.folder)
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor.cpu(), saved[f"ema-generator/{name}"])
    images = generator(torch.zeros(2, 100, device=next(generator.parameters()).device))
    assert images.shape == (2, 1, 8, 8)


def test_checkpoints_are_named(trained: gan_core.Run) -> None:
    newest, best = gan_core.load(trained.folder), gan_core.load(str(trained.folder), "best")
    assert newest.images_seen == 256
    assert best.images_seen == 128
    assert gan_core.load(trained.folder, checkpoint=128).images_seen == 128
    assert not torch.equal(newest.sample(4), best.sample(4))


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ("bets", "checkpoint: 'bets' is not allowed. Did you mean 'best'?"),
        (100, "has none of 100 images seen. The nearest one is 128. Allowed: newest, best, 128, 256"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_refused(trained: gan_core.Run, checkpoint: str | int, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        gan_core.load(trained.folder, checkpoint)


def test_best_needs_a_metric(run: Path) -> None:
    with pytest.raises(UserError, match=r"'best' is not known of .* Train with --keep-lowest METRIC"):
        gan_core.load(run, "best")


def test_metrics_are_rows(trained: gan_core.Run) -> None:
    assert trained.metrics == metrics(trained.folder)
    assert [row["images_seen"] for row in trained.metrics] == [64, 128, 192, 256]


def test_options_and_settings_go_where_set_puts_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"widht: no such option of dcgan\. Did you mean 'width'"):
        gan_core.train("dcgan", widht=3, out=tmp_path)
    with pytest.raises(UserError, match=r"bacth: no such option of dcgan\. Did you mean 'batch'"):
        gan_core.train("dcgan", bacth=3, out=tmp_path)
    with pytest.raises(UserError, match=r"batch: 0 is not allowed\. It must be greater than or equal to 1"):
        gan_core.train("dcgan", batch=0, out=tmp_path)
    with pytest.raises(UserError, match="options: set each option by its name"):
        gan_core.train("dcgan", options={"width": 4}, out=tmp_path)
    with pytest.raises(UserError, match="variant: missing"):
        gan_core.train(dataset="digits", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_twice_in_one_process_with_another_precision_and_threads(tmp_path: Path) -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    settings = SETTINGS | {"steps": 2, "quiet": True}
    first = gan_core.train("vanilla", out=tmp_path / "first", precision="bf16", **settings)
    second = gan_core.train("vanilla", out=tmp_path / "second", precision="fp64", **settings)
    again = gan_core.train("vanilla", out=tmp_path / "second", precision="fp64", **settings | {"steps": 3})
    assert [run.status for run in (first, second, again)] == ["finished"] * 3
    assert {parameter.dtype for parameter in again.generator.parameters()} == {torch.float64}
    assert again.images_seen == 96
    # What belongs to the caller is as before.
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_an_interrupt_saves_and_returns_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def interrupt() -> None:
        while not (folder / "metrics.jsonl").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    settings = SETTINGS | {"steps": 10**6, "checkpoint_every": 1000, "out": folder, "quiet": True}
    run = gan_core.train("vanilla", **settings)
    thread.join()
    assert run.status == "interrupted"
    assert run.images_seen == run.metrics[-1]["images_seen"] > 0
    # The same call resumes it.
    more = gan_core.train("vanilla", **settings | {"steps": run.images_seen // 32 + 2})
    assert (more.status, more.images_seen) == ("finished", run.images_seen + 64)


def test_a_thread_trains_too(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(gan_core.train, "vanilla", out=tmp_path / "run", quiet=True, **SETTINGS).result()
    assert run.status == "finished"


def test_classes_are_named_one_by_one(tmp_path: Path) -> None:
    run = gan_core.train("acgan", out=tmp_path / "run", **SETTINGS | {"steps": 1, "quiet": True})
    same = run.sample(3, labels=[7, "7", 7])
    assert torch.equal(same, run.sample(3, labels="7"))
    assert torch.equal(run.sample(10, labels=torch.arange(10)), run.sample(10))
    with pytest.raises(UserError, match="label: 11 is not allowed"):
        run.sample(2, labels=[1, 11])
    with pytest.raises(UserError, match="labels: 2 are given for 3 samples"):
        run.sample(3, labels=[1, 2])
    with pytest.raises(UserError, match="truncation: no such sampling option of acgan"):
        run.sample(3, truncation=0.5)


def test_an_evaluation_is_that_of_this_checkpoint(trained: gan_core.Run) -> None:
    best = gan_core.load(trained.folder, "best")
    written = best.evaluate(samples=64, features="random", quiet=True)
    assert written is not None
    assert written["images_seen"] == 128
    assert written["metrics"]["coverage"]["floor"]["value"] > 0
    assert json.loads((trained.folder / "evaluation.json").read_text()) == written
    with pytest.raises(UserError, match="sampels: no such"):
        best.evaluate(sampels=64)


SCRIPT = """
import sys
import gan_core

assert not {"torch", "wandb", "matplotlib"} & set(sys.modules)

for steps in (2, 3):
    run = gan_core.train("dcgan", steps=steps, batch=32, width=4, precision="fp64", threads=1, out=sys.argv[1])
written = run.evaluate(samples=64, features="random", quiet=True)
seen = None if written is None else written["images_seen"]
sys.stdout.write(f"images {run.sample(4).shape[0]} evaluated {seen}\\n")  # In one piece: both processes write.
"""


def test_a_script_under_accelerate_launch_trains_on_all_processes(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = [str(Path(forked.PYTHON).parent / "accelerate"), "launch"]
    launch += ["--config_file", str(ROOT / "launch" / "cpu-2.yaml"), "script.py", "two"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        launch, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("processes  2 processes on CPU") == 2
    assert sorted(re.findall(r"images 4 evaluated (\w+)", done.stdout)) == ["96", "None"]
    one = gan_core.train("dcgan", out=tmp_path / "one", precision="fp64", quiet=True, **SETTINGS | {"steps": 3})
    assert difference(weights(tmp_path / "two"), weights(one.folder)) < 1e-9


def test_output_is_the_command_s_or_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SETTINGS | {"steps": 1}
    gan_core.train("vanilla", out=tmp_path / "loud", **settings)
    assert "finished at 0.032 kimg" in capsys.readouterr().out
    gan_core.train("vanilla", out=tmp_path / "quiet", quiet=True, **settings)
    assert capsys.readouterr().out == ""
    with Image.open(tmp_path / "quiet" / "samples" / "000000032.png") as grid:
        assert grid.width > 8 * 8
