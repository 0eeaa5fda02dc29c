"""Run folders and checkpoints: what is written, when a run resumes, and how damage is handled."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from gan_core import Batch, Networks, Terms
from gan_core.errors import NotFiniteError, UserError
from gan_core.runs.checkpoint import newest
from gan_core.runs.folder import RunFolder
from tests.conftest import SMALL, difference, gan_core, metrics, weights
from tests.toys import toy_game, toy_phase

Train = Callable[..., str]


def test_the_files_of_a_run_folder(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["variant"], config["steps"], config["options"]["width"]) == ("dcgan", 8, 4)
    metadata = json.loads((run / "run.json").read_text())
    assert (metadata["status"], metadata["images_seen"], metadata["variant_version"]) == ("finished", 256, "0.1.0")
    lines = metrics(run)
    assert [line["images_seen"] for line in lines] == [64, 128, 192, 256]
    assert {"discriminator/D(real)", "discriminator/D(fake)", "generator/adversarial"} < lines[0].keys()
    assert sorted(path.name for path in (run / "samples").iterdir()) == [
        "000000000.png",
        "000000128.png",
        "000000256.png",
    ]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["000000128", "000000256"]
    assert sorted(path.name for path in (run / "checkpoints" / "000000256").iterdir()) == [
        "discriminator.safetensors",
        "ema-generator.safetensors",
        "generator.safetensors",
        "manifest.json",
        "optimizer-discriminator.pt",
        "optimizer-generator.pt",
    ]


def test_the_same_command_again_does_nothing_and_a_greater_length_resumes(run: Path, train: Train) -> None:
    before = weights(run)
    assert train(*SMALL, variant="dcgan", batch=32, steps=8, out=run) == "finished"
    assert difference(before, weights(run)) == 0
    assert train(*SMALL, variant="dcgan", batch=32, steps=10, out=run) == "finished"
    assert [line["images_seen"] for line in metrics(run)][-1] == 320


def test_the_config_of_a_run_reproduces_it(run: Path, tmp_path: Path) -> None:
    gan_core("train", "--config", run / "config.yaml", "--out", tmp_path / "again")
    assert difference(weights(run), weights(tmp_path / "again")) == 0


@pytest.mark.parametrize(
    ("assignments", "flags", "message"),
    [
        (("width=8",), {}, r"options.width  4 in the run, 8 now"),
        ((), {"batch": 64}, r"batch  32 in the run, 64 now"),
        ((), {"seed": 3}, r"seed  0 in the run, 3 now"),
        ((), {"variant": "vanilla"}, r"variant +'dcgan' in the run, 'vanilla' now"),
        ((), {"image_size": 12}, r"data\.images\.fields\.images\.height +8 in the run, 12 now"),
        (("lr_schedule=cosine",), {}, r"lr_schedule  'constant' in the run, 'cosine' now"),
        ((), {"resume": "never"}, "already contains a run. Use another --out"),
    ],
)
def test_a_resume_with_another_setting_is_refused_by_name(
    run: Path, train: Train, assignments: tuple[str, ...], flags: dict[str, object], message: str
) -> None:
    base = {"variant": "dcgan", "batch": 32, "steps": 12, "out": run}
    small = () if flags.get("variant") else SMALL
    with pytest.raises(UserError, match=message):
        train(*small, *assignments, **(base | flags))
    assert json.loads((run / "run.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant_version": "0.0.9"}, r"variant_version  '0.0.9' in the run, '0.1.0' now"),
        (
            {"variant_distribution": "other-dcgan"},
            r"variant_distribution  'other-dcgan' in the run, 'gan",
        ),
        (
            {"data": {"images": {"fingerprint": "of other images"}}},
            r"data\.images\.fingerprint +'of other images' in the run, '[0-9a-f]{64}' now",
        ),
    ],
)
def test_a_resume_with_another_version_or_other_data_is_refused_until_allowed(
    run: Path, train: Train, change: dict[str, object], message: str
) -> None:
    metadata = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(metadata | change))
    with pytest.raises(UserError, match=message):
        train(*SMALL, variant="dcgan", batch=32, steps=9, out=run)
    assert train(*SMALL, variant="dcgan", batch=32, steps=9, out=run, allowed=tuple(change)) == "finished"


def test_a_change_can_be_allowed_by_name(run: Path, train: Train) -> None:
    assert train(*SMALL, variant="dcgan", batch=64, steps=8, out=run, allowed=("batch",)) == "finished"
    with pytest.raises(UserError, match=r"--allow-change 'bacth': no such key\. Did you mean 'batch'"):
        train(*SMALL, variant="dcgan", batch=64, steps=9, out=run, allowed=("bacth",))


def test_an_allowed_change_of_an_optimizer_s_setting_takes_effect(run: Path, train: Train) -> None:
    train(*SMALL, "beta1=0.9", variant="dcgan", batch=32, steps=9, out=run, allowed=("options.beta1",))
    state = torch.load(run / "checkpoints" / "000000288" / "optimizer-generator.pt", weights_only=True)
    assert state["param_groups"][0]["betas"] == (0.9, 0.999)
    assert float(state["state"][0]["step"]) == 9


def test_a_schedule_that_ends_with_the_run_forbids_another_length(tmp_path: Path, train: Train) -> None:
    flags = {"variant": "dcgan", "batch": 32, "out": tmp_path / "run"}
    train(*SMALL, "lr_schedule=linear", steps=4, **flags)
    with pytest.raises(
        UserError, match=r"length  128 in the run, 192 now\nThe learning rate schedule ends with the run"
    ):
        train(*SMALL, "lr_schedule=linear", steps=6, **flags)
    assert train(*SMALL, "lr_schedule=linear", steps=6, allowed=("length",), **flags) == "finished"


def test_resume_must_needs_a_checkpoint(tmp_path: Path, train: Train) -> None:
    with pytest.raises(UserError, match="contains no intact checkpoint"):
        train(*SMALL, variant="dcgan", steps=2, resume="must", out=tmp_path / "run")


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["generator.safetensors", "optimizer-generator.pt", "manifest.json"])
@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(
    run: Path, name: str, damage: Callable[[Path], None]
) -> None:
    newest_one = run / "checkpoints" / "000000256"
    damage(newest_one / name)
    warnings: list[str] = []
    found = newest(run / "checkpoints", warnings.append)
    assert found is not None
    assert found.images_seen == 128
    assert len(warnings) == 1
    assert f"{newest_one} is skipped: " in warnings[0]
    assert name in warnings[0]


def test_a_damaged_checkpoint_is_replaced_by_the_resumed_run(run: Path, train: Train) -> None:
    before = weights(run)
    truncate(run / "checkpoints" / "000000256" / "generator.safetensors")
    train(*SMALL, variant="dcgan", batch=32, steps=8, out=run)
    assert difference(before, weights(run)) == 0


def test_metrics_are_rewound_to_the_checkpoint_and_an_incomplete_line_is_dropped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for seen in (10, 20, 30):
        folder.append_metrics({"images_seen": seen})
    with folder.metrics.open("a") as file:
        file.write('{"images_seen": 2')
    folder.rewind_metrics(20)
    assert folder.metrics.read_text() == '{"images_seen": 10}\n{"images_seen": 20}\n'


def test_a_run_that_diverges_names_the_term_and_leaves_the_last_checkpoint_intact(tmp_path: Path, train: Train) -> None:
    run = tmp_path / "run"
    flags = {"variant": "dcgan", "batch": 32, "out": run}
    train(*SMALL, "log_every=0.032", steps=4, **flags)
    before = weights(run)
    with pytest.raises(NotFiniteError, match=r"(discriminator|generator): .* is not finite from step \d+ on"):
        train(*SMALL, "lr=1e30", "log_every=0.032", steps=40, allowed=("options.lr",), **flags)
    assert difference(before, weights(run)) == 0
    assert json.loads((run / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(
    "setting", ["precision=bf16", "accumulate=4", "clip_norm=0.01", "ema_kimg=0", "batchnorm=local"]
)
def test_settings_change_the_run_and_keep_it_finite(run: Path, tmp_path: Path, train: Train, setting: str) -> None:
    train(*SMALL, setting, variant="dcgan", batch=32, steps=8, out=tmp_path / "other")
    other = weights(tmp_path / "other")
    assert all(torch.isfinite(tensor.double()).all() for tensor in other.values())
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in other.values())
    if setting == "batchnorm=local":  # With one process, local and global are the same.
        assert difference(weights(run), other) == 0
    elif setting == "ema_kimg=0":
        assert torch.equal(other["ema-generator/layers.0.weight"], other["generator/layers.0.weight"])
    else:
        assert difference(weights(run), other) > 0


def test_samples_depend_only_on_the_run_and_the_seed(run: Path, tmp_path: Path) -> None:
    gan_core("sample", run, "--count", 70, "--seed", 4, "--out", tmp_path / "a.npz")
    gan_core("sample", run, "--count", 5, "--seed", 4, "--out", tmp_path / "images")
    gan_core("sample", run, "--count", 16, "--seed", 4, "--out", tmp_path / "grid.png")
    gan_core("sample", run, "--count", 5, "--seed", 5, "--out", tmp_path / "b.npz")
    arrays = np.load(tmp_path / "a.npz")
    assert arrays.files == ["arr_0"]
    assert (arrays["arr_0"].shape, arrays["arr_0"].dtype) == ((70, 8, 8, 1), np.uint8)
    for number in range(5):
        with Image.open(tmp_path / "images" / f"{number:06d}.png") as image:
            assert np.array_equal(np.array(image), arrays["arr_0"][number, :, :, 0])
    assert not np.array_equal(np.load(tmp_path / "b.npz")["arr_0"], arrays["arr_0"][:5])
    with Image.open(tmp_path / "grid.png") as image:
        assert image.size == (4 * 66 + 2, 4 * 66 + 2)
        second = Image.fromarray(arrays["arr_0"][1, :, :, 0]).resize((64, 64), Image.Resampling.NEAREST)
        assert np.array_equal(np.array(image)[68 : 68 + 64, 2 : 2 + 64], np.array(second))  # Column by column.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--label", "3"], "label: 3 is not allowed. Allowed: none (the generator of this run is not conditional)"),
        (["--out", "."], "already exists. Use FILE.png, FILE.npz, or a new folder"),
    ],
)
def test_sampling_refuses_labels_and_outputs_that_are_not_possible(
    run: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    assert message in gan_core("sample", run, "--out", tmp_path / "x.png", *words, expect=2)


def test_sampling_needs_a_run_with_a_checkpoint(run: Path, tmp_path: Path) -> None:
    assert "is not a run: it has no config.yaml" in gan_core("sample", tmp_path, "--out", tmp_path / "x.png", expect=2)
    shutil.rmtree(run / "checkpoints")
    assert "contains no intact checkpoint" in gan_core("sample", run, "--out", tmp_path / "x.png", expect=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "a.jpg"], "'a.jpg' is not allowed. Use FILE.png, FILE.npz, or a new folder"),
        (["--seed", str(2**64)], "Invalid value for '--seed'"),
    ],
)
def test_sampling_refuses_other_file_types_and_seeds(run: Path, words: list[str], message: str, tmp_path: Path) -> None:
    assert message in " ".join(gan_core("sample", run, "--out", tmp_path / "x.png", *words, expect=2).split())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", None, "run.json' is missing or damaged"),
        ("run.json", "{", "run.json' cannot be read"),
        ("config.yaml", "", "config.yaml' is damaged"),
        ("config.yaml", "a: [", "config.yaml' cannot be read"),
    ],
)
def test_a_damaged_run_folder_is_explained(run: Path, name: str, content: str | None, message: str) -> None:
    from gan_core.app.load import load_run

    (run / name).unlink()
    if content is not None:
        (run / name).write_text(content)
    with pytest.raises(UserError, match=message):
        load_run(run)


def test_a_finished_run_that_was_killed_before_it_recorded_its_status_is_marked_finished(
    run: Path, train: Train
) -> None:
    RunFolder(run).write_metadata(status="running")
    train(*SMALL, variant="dcgan", batch=32, steps=8, out=run)
    assert json.loads((run / "run.json").read_text())["status"] == "finished"


def test_a_fresh_start_drops_the_metadata_of_a_run_without_a_checkpoint(run: Path, train: Train) -> None:
    RunFolder(run).write_metadata(wandb_id="of an earlier run", images_saved=0)
    shutil.rmtree(run / "checkpoints")
    train(*SMALL, variant="dcgan", batch=32, steps=2, out=run)
    assert "wandb_id" not in json.loads((run / "run.json").read_text())


def test_a_dry_run_checks_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for words, message in [
        (["--precision", "fp16"], "needs a GPU"),
        (["--batch", 63, "--set", "accumulate=2"], "multiple of 2"),
        (["--resume", "must"], "contains no intact checkpoint"),
        (["--out", tmp_path / "file" / "run"], "cannot be written"),
        (["--allow-change", "bacth"], "no such key. Did you mean 'batch'?"),
    ]:
        flags = ("train", "--variant", "dcgan", "--steps", 1, "--out", tmp_path / "run", "--dry-run")
        assert message in gan_core(*flags, *words, expect=2)


def test_finding_unused_parameters_restores_extra_state_that_holds_lists(tmp_path: Path) -> None:
    from accelerate import Accelerator

    from gan_core.app.setup import build_state, make_batch_source, read_tables
    from tests.conftest import make_job

    class Pool:
        """A replay pool, as in Shrivastava et al. 2017."""

        def __init__(self) -> None:
            self.images: list[torch.Tensor] = []

        def state_dict(self) -> dict[str, object]:
            return {"images": self.images}

        def load_state_dict(self, state: dict[str, object]) -> None:
            self.images = state["images"]  # type: ignore[assignment]

    pool = Pool()

    def loss(networks: Networks, batch: Batch) -> Terms:
        pool.images.append(torch.zeros(1))
        return {"product": networks["discriminator"](batch.images).mean()}

    job = make_job(variant="dcgan", steps=1, batch=8, out=tmp_path)
    game = replace(toy_game(toy_phase("discriminator", loss)), state={"pool": pool})
    accelerator = Accelerator(cpu=True)
    source = make_batch_source(job, accelerator, game, read_tables(job, accelerator), 1000)
    build_state(job, accelerator, game, source, 8)
    assert pool.images == []
