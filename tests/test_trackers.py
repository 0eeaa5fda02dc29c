"""Trackers: real offline runs, read back from their files, and trackers that fail."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from gan_core.errors import UserError
from gan_core.observers.tracker import Tracker, Trackers
from tests.conftest import gan_core, metrics, start_gan_core
from tests.tracked import OFFLINE, Session, read_tensorboard, read_wandb

TRAIN = (
    *("train", "--variant", "dcgan", "--set", "width=4", "--batch", "32", "--set", "log_every=0.032"),
    *("--set", "threads=1"),
)
TEAM = {
    "track_project": "faces",
    "track_entity": "lab",
    "track_name": "small",
    "track_group": "widths",
    "track_job_type": "train",
    "track_tags": "first,second",
    "track_notes": "half the width",
}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with both trackers that evaluates twice, keeps its best checkpoint, and is then resumed."""
    root = tmp_path_factory.mktemp("tracked")
    words = ("--track", "wandb,tensorboard", "--evaluate-every", "0.096", "--evaluate-samples", "64")
    words += ("--keep-highest", "evaluation@64/modes", "--keep-checkpoints", "1", "--lr-schedule", "linear")
    words += ("--allow-change", "length")
    team = [word for key, value in TEAM.items() for word in (f"--{key.replace('_', '-')}", value)]
    for steps in (6, 7):
        gan_core(*TRAIN, *words, *team, "--steps", steps, "--out", root / "run", **OFFLINE, HOME=str(root))
    return root / "run"


@pytest.fixture(scope="module")
def sessions(tracked: Path) -> tuple[Session, Session]:
    first, second = read_wandb(tracked)
    return first, second


def test_a_team_s_names_are_sent_to_weights_and_biases(sessions: tuple[Session, Session]) -> None:
    run = sessions[0].run
    assert (run.project, run.entity, run.display_name) == ("faces", "lab", "small")
    assert (run.run_group, run.job_type, list(run.tags), run.notes) == (
        *("widths", "train", ["first", "second"]),
        "half the width",
    )


def test_a_resumed_run_continues_the_same_one(tracked: Path, sessions: tuple[Session, Session]) -> None:
    first, second = sessions
    assert first.run.run_id == second.run.run_id == json.loads((tracked / "run.json").read_text())["wandb_id"]
    assert list(first.history) == [0, 32, 64, 96, 128, 160, 192]
    assert list(second.history) == [224]


def test_numbers_are_numbers_and_none_is_null(sessions: tuple[Session, Session]) -> None:
    config = sessions[0].config
    assert config["variant"] == "dcgan"
    assert (config["batch"], config["options.width"], config["kimg"], config["mirror"]) == (32, 4, None, False)
    assert config["run.gan_core"] == "0.1.0"
    assert len(config["run.data"]["images"]["fingerprint"]) == 64
    assert len(sessions[0].environment[0].git.commit) == 40


def test_each_log_line_is_there_against_the_images_seen(tracked: Path, sessions: tuple[Session, Session]) -> None:
    history = sessions[0].history | sessions[1].history
    for line in metrics(tracked):
        sent = history[line["images_seen"]]
        for key, value in line.items():
            assert sent[key] == pytest.approx(value), key
        assert "generator/learning rate" in sent
    (axis, everything) = sessions[0].metrics
    assert axis.name == "images_seen"
    assert (everything.glob_name, everything.step_metric) == ("*", "images_seen")


def test_the_summary_has_the_best_values(tracked: Path, sessions: tuple[Session, Session]) -> None:
    lines = [line for line in metrics(tracked) if "evaluation@64/kid" in line]
    assert len(lines) >= 3
    for session, seen in zip(sessions, (192, 224), strict=True):
        until = [line for line in lines if line["images_seen"] <= seen]
        for key, best in (("evaluation@64/kid", min), ("evaluation@64/coverage", max), ("evaluation@64/modes", max)):
            assert session.summary[f"best/{key}"] == pytest.approx(best(line[key] for line in until))
    assert not any(key.startswith("best/generator") for key in sessions[0].summary)


def test_a_grid_is_the_recorder_s_file_with_a_caption(tracked: Path, sessions: tuple[Session, Session]) -> None:
    for seen in (0, 192):
        sent = sessions[0].history[seen]
        assert sent["samples/caption"].startswith(f"{seen / 1000:g} kimg: ")
        drawn = (tracked / "samples" / f"{seen:09d}.png").read_bytes()
        assert sessions[0].media(sent["samples/path"]).read_bytes() == drawn


def test_an_evaluation_is_a_table_with_floors_and_the_classes(sessions: tuple[Session, Session]) -> None:
    sent = sessions[0].history[96]
    table = json.loads(sessions[0].media(sent["evaluation/path"]).read_text())
    assert table["columns"] == ["metric", "samples drawn", "real images", "number of samples", "reliable"]
    rows = {name: rest for name, *rest in table["data"]}
    assert rows["coverage"][0] == pytest.approx(sent["evaluation@64/coverage"])
    assert rows["coverage"][1] > rows["coverage"][0]  # Real images cover the test split better.
    assert rows["coverage"][2] == 64
    classes = json.loads(sessions[0].media(sent["classes_table/path"]).read_text())
    assert [row[0] for row in classes["data"]] == [str(number) for number in range(10)]
    assert sum(row[1] for row in classes["data"]) == pytest.approx(1.0)
    assert sum(row[2] for row in classes["data"]) == pytest.approx(1.0)


def test_the_final_and_the_best_generator_are_artifacts(tracked: Path, sessions: tuple[Session, Session]) -> None:
    highest = max(
        (line for line in metrics(tracked) if "evaluation@64/modes" in line),
        key=lambda line: (line["evaluation@64/modes"], line["images_seen"]),
    )["images_seen"]
    kept = [artifact for artifact in sessions[1].artifacts if artifact.type == "model"]
    described = [json.loads(artifact.metadata) for artifact in kept]
    found = {alias: about["images_seen"] for one, about in zip(kept, described, strict=True) for alias in one.aliases}
    assert found["final"] == 224
    assert found["best"] == highest
    final = next(one for one in kept if "final" in one.aliases)
    files = {entry.path: entry.local_path for entry in final.manifest.contents}
    assert set(files) == {"ema-generator.safetensors", "config.yaml"}
    sent, saved = (
        load_file(file)
        for file in (files["ema-generator.safetensors"], tracked / "checkpoints/000000224/ema-generator.safetensors")
    )
    assert all((sent[name] == tensor).all() for name, tensor in saved.items())
    about = described[kept.index(final)]
    assert (about["variant_distribution"], about["variant_version"]) == ("gan-core-dcgan", "0.1.0")
    assert about["settings"]["options.width"] == 4
    assert about["gan_core"] == "0.1.0"
    assert len(about["data"]["images"]["fingerprint"]) == 64


def test_variables_of_weights_and_biases_and_our_defaults(tmp_path: Path) -> None:
    run = tmp_path / "run"
    variables = {"WANDB_PROJECT": "theirs", "WANDB_RUN_GROUP": "seeds", "WANDB_TAGS": "a,b", "WANDB_JOB_TYPE": "eval"}
    gan_core(*TRAIN, "--steps", 1, "--out", run, "--track", "wandb", **OFFLINE, HOME=str(tmp_path), **variables)
    (session,) = read_wandb(run)
    found = session.run
    assert (found.project, found.run_group, list(found.tags), found.job_type) == ("theirs", "seeds", ["a", "b"], "eval")
    assert found.display_name == "run"  # The folder's name.


def test_tensorboard(tracked: Path) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    # What `tensorboard --logdir` finds below the folder of runs is one run, with its settings.
    written = [path for path in tracked.rglob("*") if "tfevents" in path.name or path.name == "hparams.yml"]
    assert {path.parent for path in written} == {tracked / "tensorboard"}
    events = read_tensorboard(tracked)
    lines = metrics(tracked)
    logged = [(event.step, event.value) for event in events.Scalars("discriminator/real")]
    assert [step for step, _ in logged] == [32, 64, 96, 128, 160, 192, 224]
    assert [value for _, value in logged] == pytest.approx([line["discriminator/real"] for line in lines])
    pictures = events.Images("samples")
    assert [event.step for event in pictures] == [0, 192, 224]
    for event in pictures:
        assert event.encoded_image_string == (tracked / "samples" / f"{event.step:09d}.png").read_bytes()
    settings = HParamsPluginData.FromString(events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    assert settings.session_start_info.hparams["options.width"].number_value == 4
    assert settings.session_start_info.hparams["variant"].string_value == "dcgan"
    (text, *_) = events.Tensors("evaluation/text_summary")
    assert "| coverage | " in text.tensor_proto.string_val[0].decode()


def test_after_a_kill_no_step_is_there_twice_and_none_is_missing(tmp_path: Path) -> None:
    """Killed well after its checkpoint: the steps in between are logged again."""
    run = tmp_path / "run"
    words = (*TRAIN, "--out", run, "--track", "wandb,tensorboard", "--checkpoint-every", 0.96, "--sample-every", 0.96)
    process = start_gan_core(*words, "--steps", 100_000, **OFFLINE, HOME=str(tmp_path))
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        lines = (run / "metrics.jsonl").read_bytes().count(b"\n") if (run / "metrics.jsonl").exists() else 0
        if lines > 40:
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    saved = max(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    before = [line["images_seen"] for line in metrics(run)]
    assert before[-1] > saved  # Otherwise nothing is repeated, and the test shows nothing.
    told = int((run / "wandb" / "last-step").read_text())
    end = before[-1] // 32 + 5
    gan_core(*words, "--steps", end, **OFFLINE, HOME=str(tmp_path))
    expected = [32 * step for step in range(1, end + 1)]
    assert [line["images_seen"] for line in metrics(run)] == expected
    assert [event.step for event in read_tensorboard(run).Scalars("generator/adversarial")] == expected
    first, second = ([at for at, sent in one.history.items() if "step" in sent] for one in read_wandb(run))
    assert told >= saved
    assert second == [step for step in expected if step > told]
    assert first == expected[: len(first)]
    assert max(first) <= told


def test_without_a_login_a_run_trains_on_unless_tracking_is_required(tmp_path: Path) -> None:
    words = (*TRAIN, "--steps", 2, "--out", tmp_path / "run", "--track", "wandb,tensorboard")
    online = {"WANDB_MODE": "online", "WANDB_API_KEY": "", "HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    output = gan_core(*words, "--set", "track_required=true", **online, expect=2)
    assert "error: track: wandb could not be started: UsageError: No API key configured" in output
    assert "log in with `wandb login`, or set WANDB_API_KEY" in output
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    output = gan_core(*words, **online)
    assert "warning: wandb could not be started: UsageError: No API key configured" in output
    assert "Training goes on without it; --track-required makes this an error" in output
    assert [event.step for event in read_tensorboard(tmp_path / "run").Scalars("generator/adversarial")] == [32, 64]


def test_training_continues_without_a_tracker_that_cannot_be_started(
    tmp_path: Path, train: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    # A file in place of TensorBoard's folder.
    (tmp_path / "run" / "tensorboard").write_text("in the way")
    flags = {"variant": "dcgan", "batch": 32, "steps": 3, "out": tmp_path / "run"}
    assert train("width=4", "track=tensorboard", "log_every=0.032", **flags) == "finished"
    assert len(metrics(tmp_path / "run")) == 3
    assert "warning: tensorboard could not be started: FileExistsError" in capsys.readouterr().err


def test_a_failing_tracker_warns_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(Tracker):
        """A tracker whose service is down."""

        def log(self, line: dict[str, float]) -> None:
            raise ConnectionError("no route to \x1b[31mhost")

    class Counting(Tracker):
        lines = 0

        def log(self, line: dict[str, float]) -> None:
            self.lines += 1

    counting, trackers = Counting(), Trackers()
    assert trackers.start("wandb", Failing) is None
    assert trackers.start("tensorboard", lambda: counting) is None
    trackers.log({"images_seen": 1})
    trackers.log({"images_seen": 2})
    assert capsys.readouterr().err.splitlines() == [
        r"warning: wandb failed and is disabled for the rest of the run: ConnectionError: no route to \x1b[31mhost"
    ]
    assert counting.lines == 2


def test_names_of_trackers_are_checked(train: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^track: 'wandbb' is not allowed. It must be 'wandb' or 'tensorboard'. Did"):
        train("track=wandbb,tensorboard", variant="dcgan", steps=1, out=tmp_path)
