"""What a person types: quick help, and errors that name the key, the value, what is allowed and the nearest name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gan_core.distributed.launcher import requested_processes
from gan_core.errors import UserError
from gan_core.settings.resolve import resolve
from tests import forked
from tests.conftest import ROOT, gan_core

HEAVY = {
    *("torch", "torchvision", "accelerate", "wandb", "numpy", "PIL", "jinja2", "matplotlib", "plotly", "scipy"),
    *("huggingface_hub", "imageio_ffmpeg", "onnx", "onnxruntime", "tensorboard", "IPython", "pandas"),
}


def run_and_list_modules(words: list[str], python: str = forked.PYTHON) -> subprocess.CompletedProcess[str]:
    """Runs a command in a fresh interpreter, which ends by printing the modules that are loaded to stderr."""
    code = (
        "import sys; from gan_core.cli import main; sys.argv = ['gan_core', *sys.argv[1:]]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "finally: print(sorted(sys.modules), file=sys.stderr)"
    )
    return subprocess.run(
        [python, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )


@pytest.mark.parametrize(
    "words",
    [
        *(["--help"], ["list"], ["list", "--json"], ["list", "--features"]),
        *([name, "--help"] for name in ("train", "sample", "movie", "evaluate", "compare", "report", "bench")),
        *(["export", "--help"], ["recipes"], ["recipes", "--json"], ["recipes", "copy", "--help"]),
        ["runs", "configs", "--sort", "evaluation@2000/fid"],
    ],
)
def test_help_and_list_import_nothing_heavy(words: list[str]) -> None:
    done = run_and_list_modules(words, sys.executable)
    imported = set(eval(done.stderr))
    assert "typer" in imported
    assert not HEAVY & imported
    assert any(word in done.stdout for word in ("dcgan", "classifier", "--help", "No runs in configs"))


def test_the_package_and_its_names_import_nothing_heavy() -> None:
    code = "import sys, gan_core; dir(gan_core); print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([forked.PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert not HEAVY & set(eval(done.stdout))


def test_show_imports_nothing_that_draws_exports_or_tracks() -> None:
    done = run_and_list_modules(["show", "vanilla"])
    below_torch = {"torch", "numpy", "torchvision", "PIL", "scipy", "jinja2", "accelerate"}
    assert not (HEAVY - below_torch) & set(eval(done.stderr))


def test_training_imports_no_compiler(tmp_path: Path) -> None:
    """torch._dynamo and what it imports take about as long as torch itself, before the first step."""
    words = ["train", "--variant", "dcgan", "--kimg", "0.064", "--set", "width=4", "--out", str(tmp_path / "run")]
    done = run_and_list_modules(words)
    assert (tmp_path / "run" / "checkpoints").is_dir()
    imported = set(eval(done.stderr.splitlines()[-1]))
    assert not {"torch._dynamo", "torch.distributed.tensor", "torchvision"} & imported


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "widht=3"], "widht: no such option of dcgan. Did you mean 'width'? Allowed: optimizer, lr"),
        (["--set", "width=0"], "width: 0 is not allowed. It must be greater than or equal to 1"),
        (["--set", "options={width: 3}"], "set each option by its name, as in --set options.width=3"),
        (["--set", "lr=.inf"], "lr: inf is not allowed. It must be a finite number"),
        (["--dataset", "MNIST"], "dataset: 'MNIST' is not known. Did you mean 'mnist'?"),
        (["--dataset", "folder:"], "dataset: 'folder:' is not allowed. Write folder:PATH"),
        (["--dataset", "launch"], "dataset: 'launch' is not known. Did you mean 'folder:launch'?"),
        (["--set", "thread=1"], "thread: no such option of dcgan. Did you mean 'threads'? Allowed: optimizer, lr"),
        (["--set", "width"], "--set 'width': write it as key=value"),
        (["--set", "width=010"], "010 is not a decimal number"),
        (["--set", "width=1:30"], "1:30 is not a decimal number"),
        (["--set", "threads=true"], "threads: True is not allowed"),
        (["--set", "width=true"], "width: True is not allowed"),
        (["--set", "lr=1:30.5"], "1:30.5 is not a decimal number"),
        (["--set", f"steps={'9' * 400}"], "It must be less than or equal to 1000000000000"),
        (["--set", f"steps={'9' * 5000}"], "steps"),
        (["--log-every", "1e306"], "log_every: 1e+306 is not allowed. It must be less than or equal to 1000000000"),
        (["--batch", "1" + "0" * 30], "batch: "),
        (["--precision", "fp33"], "precision: 'fp33' is not allowed. It must be 'fp32', 'bf16', 'fp16' or 'fp64'. Did"),
        (["--batch", "0"], "batch: 0 is not allowed. It must be greater than or equal to 1"),
        (["--dataset", "mnsit"], "dataset: 'mnsit' is not known. Did you mean 'mnist'? Installed: cifar10, digits, "),
        (["--channels", "2"], "channels: 2 is not allowed. It must be 1 or 3"),
        (
            ["--image-size", "30"],
            "image size 30 does not fit DCGAN: it must be a multiple of 4, and at least 8. Try --image",
        ),
        (["--batch", "many"], "batch: 'many' is not allowed. It must be a valid integer."),
        (["--deadline", "1e9"], "deadline: 1000000000.0 is not allowed. It must be less than or equal to 86400"),
        (["--kimg", "1"], "length: kimg and steps are given. Use one of"),
        (["--variant", "dcgn"], "no variant named 'dcgn' is installed. Did you mean 'dcgan'?"),
        (["--precision", "fp16"], "precision: 'fp16' needs a GPU"),
        (["--batch", "63", "--set", "accumulate=2"], "it must be a multiple of 2, such as 62 or 64"),
        (
            ["--track", "wandbb"],
            "track: 'wandbb' is not allowed. It must be 'wandb' or 'tensorboard'. Did you mean 'wandb'?",
        ),
    ],
)
def test_bad_input_costs_nothing_and_says_how_to_mend_it(words: list[str], message: str, tmp_path: Path) -> None:
    out = f"{tmp_path}/run"
    output = gan_core("train", "--variant", "dcgan", "--steps", 1, "--out", out, *words, expect=2)
    assert message in output
    assert "Traceback" not in output
    assert "networks" not in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["train", "--lr", "0.1"],
            "--lr: no such flag.\nWrite --set lr=0.1 if it is an option of the variant; `gan_core show NAME`",
        ),
        (
            ["train", "--generator-fakes", "2"],
            "Write --set generator_fakes=2 if it is an option of the variant; `gan_core",
        ),
        (["train", "--width", "--kimg", "3"], "Write --set width=VALUE if it is an option of the variant"),
        (["train", "--bacth", "3"], "--bacth: no such flag. Did you mean '--batch'?"),
        (
            ["evaluate", "run", "--weights", "w.pt"],
            "Write --set weights=w.pt if it is an option of the feature space, or a sampling option.",
        ),
    ],
)
def test_an_unknown_flag_is_explained_without_torch(words: list[str], message: str) -> None:
    code = (
        "import sys; from gan_core.cli import main; sys.argv = ['gan_core', *sys.argv[1:]]\n"
        "try: main()\nfinally: assert 'torch' not in sys.modules"
    )
    command = [forked.PYTHON, "-c", code, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "name"),
    [
        *(
            (["train", "--steps", "1", "--variant", "vanilla", flag, ""], flag)
            for flag in ("--out", "--dataset", "--data-dir", "--config")
        ),
        (["train", "--variant", ""], "--variant"),
        (["train", "--variant", "vanilla", "--out="], "--out"),
        (["train", "--variant", "vanilla", "--set", "out=''"], "out"),
        (["train", "--variant", "vanilla", "--set", "dataset=' '"], "dataset"),
        (["evaluate", ""], "argument"),
        (["sample", "run", "--out", ""], "--out"),
        (["runs", ""], "argument"),
    ],
)
def test_an_empty_path_or_name_is_refused(words: list[str], name: str, tmp_path: Path) -> None:
    command = [forked.PYTHON, "-m", "gan_core", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"error: {name}: '" in done.stderr
    assert "is empty. Give it a value, or leave it out" in done.stderr
    assert not list(tmp_path.iterdir())


def test_settings_go_over_each_other_in_the_order_promised(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("variant: dcgan\nkimg: 7\nbatch: 16\nseed: 5\noptions: {width: 8, lr: 1e-3}\n")
    resolved = resolve({"batch": 32, "steps": 9}, ["width=12", "ema_kimg=3"], config)
    settings = resolved.settings
    assert (settings.batch, settings.seed, settings.dataset, settings.ema_kimg) == (32, 5, "digits", 3.0)
    assert (settings.steps, settings.kimg) == (9, None)
    assert resolved.options == {"width": 12, "lr": "1e-3"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("variant: dcgan\nbacth: 3\n", "bacth: no such setting. Did you mean 'batch'?"),
        ("variant: dcgan\noption: {}\n", "option: no such setting. Did you mean 'options'?"),
        ("- a\n- b\n", "expected `key: value` lines, got list"),
        ("variant: [\n", "cannot be read"),
        ("batch: 3\n", "variant: missing"),
        ("variant: dcgan\nout: ''\n", "out: '' is not allowed: it is empty"),
        ("variant: dcgan\noptions: 3\n", "expected `key: value` lines, got int"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
    ],
)
def test_a_bad_file_of_settings_is_explained(text: str, message: str, tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(text)
    with pytest.raises(UserError) as error:
        resolve({}, [], config)
    assert message in str(error.value)


def test_a_launcher_that_starts_too_few_is_stopped_with_the_fix() -> None:
    words = ["launch", "--cpu", "--num_processes", "2", "-m", "gan_core", "train", "--variant", "dcgan", "--steps", "1"]
    accelerate = Path(forked.PYTHON).with_name("accelerate")
    done = subprocess.run([accelerate, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != 0
    assert "2 processes were requested, but accelerate launch started 1" in done.stderr
    assert "accelerate launch --config_file launch/cpu-2.yaml" in done.stderr


@pytest.mark.parametrize(
    ("command", "requested"),
    [
        ("python accelerate launch --cpu --num_processes 4 -m gan_core train", 4),
        ("/usr/bin/accelerate launch --num-processes=3 script.py", 3),
        ("accelerate launch -m gan_core train --set num_processes=9", 1),
        ("accelerate launch --config_file launch/cpu-2.yaml -m gan_core train", 2),
        ("accelerate launch --config_file missing.yaml -m gan_core train", 1),
        ("bash -c launch --num_processes 4", 1),
    ],
)
def test_processes_requested_from_a_launcher(command: str, requested: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert requested_processes(command.split()) == requested


def test_the_config_that_accelerate_reads_by_itself_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").write_text("distributed_type: MULTI_CPU\nnum_processes: 3\n")
    assert requested_processes(["accelerate", "launch", "-m", "gan_core", "train"]) == 3


def test_a_precision_that_only_the_launcher_knows_of_is_refused() -> None:
    flags = ("train", "--variant", "dcgan", "--steps", 1)
    output = gan_core(*flags, expect=2, ACCELERATE_MIXED_PRECISION="bf16")
    assert "accelerate was launched for bf16, but the run's precision is 'fp32': pass --precision bf16" in output


def test_every_machine_speaks_of_its_own_troubles() -> None:
    flags = ("train", "--variant", "dcgan", "--steps", 1, "--dataset", "folder:/nowhere")
    output = gan_core(*flags, expect=2, RANK="2", LOCAL_RANK="0", WORLD_SIZE="4")
    assert output.startswith("error (process 2): dataset: '/nowhere' is not a folder")
    assert gan_core(*flags, expect=2, RANK="3", LOCAL_RANK="1", WORLD_SIZE="4") == ""


def test_show_checks_what_it_is_asked_for() -> None:
    assert "image_size: -4 is not allowed" in gan_core("show", "vanilla", "--image-size", -4, expect=2)
    assert "channels: 2 is not allowed" in gan_core("show", "vanilla", "--channels", 2, expect=2)


def test_a_dry_run_prints_settings_and_plan_and_leaves_no_trace(tmp_path: Path) -> None:
    out = f"{tmp_path}/run"
    output = gan_core("train", "--variant", "dcgan", "--kimg", 3.2, "--set", "width=8", "--out", out, "--dry-run")
    assert "width: 8" in output
    assert "3.2 kimg = 2.133 epochs = 50 steps" in output
    assert "digits: 1,500 images, 8 x 8 grey, 10 classes" in output
    assert not (tmp_path / "run").exists()
