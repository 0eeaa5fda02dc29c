"""Alarms: each is provoked by a run that goes wrong, or by what such a run logs; sound runs give none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_core.blocks.losses import Logistic
from gan_core.blocks.protocols import Discriminator
from gan_core.game.phase import Terms
from gan_core.observers.alarms.alarms import Alarms
from gan_core.observers.alarms.collapse import Collapse, different, distances
from gan_core.observers.alarms.gradients import ExplodingGradients
from gan_core.observers.alarms.saturation import Saturation
from gan_core.observers.alarms.slowdown import Slowdown
from gan_core.observers.listener import Alarm, Listener
from gan_core.runs.folder import RunFolder
from tests.conftest import metrics
from tests.tracked import read_tensorboard

SMALL = {"dataset": "digits", "threads": 1}


def alarms_of(run: Path) -> list[dict[str, object]]:
    return json.loads((run / "run.json").read_text()).get("alarms", [])


def test_a_saturated_discriminator_is_told_in_the_terminal_the_run_and_the_trackers(
    tmp_path: Path, train: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A generator that hardly learns, against a discriminator that does."""
    run = tmp_path / "run"
    options = ("lr=1e-7", "discriminator_lr=0.002", "width=32", "track=tensorboard", "sample_every=100")
    assert train(*options, variant="vanilla", batch=256, kimg=60, out=run, log_every=2, **SMALL) == "finished"
    (alarm,) = alarms_of(run)
    assert alarm["kind"] == "saturated discriminator"
    assert len(alarm["remedies"]) == 2
    limits = [
        line["images_seen"]
        for line in metrics(run)
        if line["discriminator/D(real)"] >= 0.99 and line["discriminator/D(fake)"] <= 0.01
    ]
    assert alarm["since"] == limits[0]
    assert alarm["at"] == next(seen for seen in limits if seen - limits[0] >= 20_000)
    told = capsys.readouterr().err
    assert told.count("warning: saturated discriminator since") == 1
    assert f"since {limits[0] / 1000:g} kimg: discriminator has D(real) " in told
    assert " Try: a lower learning rate for the discriminator, or fewer of its updates; or a gradient penalty" in told
    (text,) = read_tensorboard(run).Tensors("alarms/text_summary")
    assert text.step == alarm["at"]
    assert text.tensor_proto.string_val[0].decode() in told


def test_a_collapsed_generator_is_told_from_its_grids(
    tmp_path: Path, train: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A generator whose inputs are almost the same: whatever it draws, it is one image."""
    run = tmp_path / "run"
    options = ("latent_std=1e-4", "width=32", "sample_every=10")
    assert train(*options, variant="vanilla", batch=512, kimg=40, out=run, **SMALL) == "finished"
    (alarm,) = alarms_of(run)
    assert (alarm["kind"], alarm["since"], alarm["at"]) == ("collapse", 20_480, 30_208)
    assert alarm["seen"] == "only 1 of 64 samples on the fixed grid differ from each other"
    assert "warning: collapse since 20.48 kimg: only 1 of 64 samples" in capsys.readouterr().err


def test_images_are_counted_as_different_by_hand() -> None:
    black, white = torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.full((1, 1, 4, 4), 200, dtype=torch.uint8)
    near = black.clone()
    near[0, 0, 0, 0] = 40  # 40 in one of 16 pixels: a distance of 10.
    images = torch.cat([black, near, white, near, white])
    between = distances(images)
    assert between[0, 1].item() == pytest.approx(10.0)
    assert between[0, 2].item() == pytest.approx(200.0)
    assert [different(between, threshold) for threshold in (5.0, 15.0, 250.0)] == [3, 2, 1]
    # Larger images are compared at 16 pixels a side: noise in single pixels averages out.
    large = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    large[1, 0, ::2, ::2] = 40
    assert distances(large)[0, 1].item() == pytest.approx(10.0)


def evaluation(*shares: float, unreliable: bool = False) -> dict[str, object]:
    """The part of an evaluation that is looked at, of three classes that are as frequent among real images."""
    histogram = {"value": list(shares), "samples": 600, "floor": {"value": [1 / 3] * 3, "samples": 600}}
    return {"metrics": {"histogram": histogram | ({"unreliable": True} if unreliable else {})}}


def collapse(length: int = 100_000) -> Collapse:
    return Collapse(lambda: None, torch.randint(0, 255, (8, 1, 4, 4), dtype=torch.uint8), length, ("cat", "dog", "owl"))


def test_a_class_that_was_there_and_is_gone_twice_is_told_with_its_name_once() -> None:
    watch = collapse()
    assert watch.evaluated(10_000, evaluation(0.4, 0.3, 0.3)) is None
    assert watch.evaluated(20_000, evaluation(0.6, 0.4, 0.0)) is None
    alarm = watch.evaluated(30_000, evaluation(0.6, 0.39, 0.01))
    assert alarm is not None
    assert (alarm.kind, alarm.since, alarm.at) == ("collapse", 20_000, 30_000)
    assert alarm.seen == "hardly any of 600 evaluated samples are of the class owl (1.0%)"
    assert watch.evaluated(40_000, evaluation(0.6, 0.4, 0.0)) is None
    assert watch.evaluated(50_000, evaluation(0.3, 0.4, 0.3)) is None
    assert watch.evaluated(60_000, evaluation(0.6, 0.4, 0.0)) is None
    assert watch.evaluated(70_000, evaluation(0.6, 0.4, 0.0)) is not None


def test_a_class_that_has_not_come_yet_is_not_gone_before_the_run_s_second_half() -> None:
    watch = collapse()
    for seen in range(10_000, 50_000, 10_000):
        assert watch.evaluated(seen, evaluation(0.6, 0.4, 0.0)) is None
    assert watch.evaluated(50_000, evaluation(0.6, 0.4, 0.0)) is None
    assert watch.evaluated(60_000, evaluation(0.6, 0.4, 0.0)) is not None
    watch = collapse()
    for seen in (50_000, 60_000, 70_000):  # What an unreliable classifier says is no reason to warn.
        assert watch.evaluated(seen, evaluation(0.6, 0.4, 0.0, unreliable=True)) is None


def test_exploding_gradients_are_told_before_they_are_not_finite(
    tmp_path: Path, train: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Real lines, and then such in which the norm doubles at each log point."""
    run = tmp_path / "run"
    options = ("width=8", "sample_every=100")
    train(*options, variant="vanilla", batch=64, kimg=3, out=run, log_every=0.064, **SMALL)
    assert alarms_of(run) == []
    lines = metrics(run)
    watch = ExplodingGradients()
    assert [alarm for line in lines if (alarm := watch.log(line))] == []
    usual, seen = lines[-1]["generator/gradient norm"], lines[-1]["images_seen"]
    largest = max(line["generator/gradient norm"] for line in lines)
    grown = [lines[-1] | {"images_seen": seen + at, "generator/gradient norm": usual * 2.0**at} for at in range(1, 25)]
    alarms = [alarm for line in grown if (alarm := watch.log(line))]
    assert [alarm.kind for alarm in alarms] == ["exploding gradients"]
    (alarm,) = alarms
    first = next(line["images_seen"] for line in grown if line["generator/gradient norm"] > 20 * largest)
    assert (alarm.since, alarm.at) == (first, first + 2)
    assert "the generator's gradient norm is" in alarm.seen


def test_exploding_gradients_of_a_run_are_told(
    tmp_path: Path, train: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generator's loss grows from the 25th update on by half an octave in each, as one does that diverges."""

    class Growing(Logistic):
        updates = 0

        def generator(self, D: Discriminator, real: torch.Tensor, fake: torch.Tensor) -> Terms:
            self.updates += 1
            terms = super().generator(D, real, fake)
            return {name: term * 2.0 ** max(0.0, (self.updates - 25) / 2) for name, term in terms.items()}

    monkeypatch.setattr("gan_core_vanilla.VanillaOptions.make_loss", lambda options: Growing())
    run = tmp_path / "run"
    train("width=8", "sample_every=100", variant="vanilla", batch=64, kimg=3, out=run, log_every=0.064, **SMALL)
    assert [alarm["kind"] for alarm in alarms_of(run)] == ["exploding gradients"]


def test_gradients_that_recover_or_are_large_from_the_start_do_not_explode() -> None:
    watch = ExplodingGradients()
    for at in range(100):
        # From saturation, where they are tiny, to the size that they had at first.
        norm = 5.0 if at < 20 or at > 80 else 1e-5
        assert watch.log({"images_seen": at, "critic/gradient norm": norm}) is None
    single = ExplodingGradients()
    for at in range(100):
        norm = 1000.0 if at % 10 == 9 and at > 40 else 1.0
        assert single.log({"images_seen": at, "critic/gradient norm": norm}) is None


def test_a_critic_s_scores_are_not_saturated_probabilities() -> None:
    watch = Saturation()
    for at in range(1, 100):
        line = {"images_seen": 1000 * at, "critic/D(real)": 3.0, "critic/D(fake)": -3.0}
        assert watch.log(line) is None


def test_a_discriminator_that_is_ahead_for_a_while_is_not_saturated() -> None:
    watch = Saturation()
    for at in range(1, 100):
        fake = 0.02 if at % 19 == 0 else 0.0
        assert watch.log({"images_seen": 1000 * at, "d/D(real)": 1.0, "d/D(fake)": fake}) is None


def test_an_alarm_says_what_was_seen_since_when_and_two_things_to_try(tmp_path: Path) -> None:
    heard: list[Alarm] = []

    class Hears(Listener):
        def warned(self, alarm: Alarm) -> None:
            heard.append(alarm)

    folder = RunFolder(tmp_path)
    alarms = Alarms([Slowdown(0)], folder, [Hears()])
    for seen, rate in enumerate([1000.0] * 6 + [10.0] * 2, 1):
        alarms.log({"images_seen": 1000 * seen, "images_per_second": rate})
    (alarm,) = heard
    assert (alarm.since, alarm.at) == (6000, 7000)
    assert alarm.text == (
        "slow since 6 kimg: 10 images/s after 1,000 before. Other programs may need the same cores. Try: stop them; or "
        "interrupt this run and repeat its command with --threads 1, or with OMP_WAIT_POLICY=passive set"
    )
    assert [entry["kind"] for entry in alarms_of(tmp_path)] == ["slow"]


@pytest.mark.parametrize("recipe", ["vanilla-digits", pytest.param("dcgan-digits", marks=pytest.mark.slow)])
def test_recipes_give_no_alarm(recipe: str, tmp_path: Path, train: Callable[..., str]) -> None:
    short = {"kimg": 24, "sample_every": 4, "threads": 1, "batch": 256}
    assert train(config=Path("configs") / f"{recipe}.yaml", out=tmp_path / "run", **short) == "finished"
    assert [alarm for alarm in alarms_of(tmp_path / "run") if alarm["kind"] != "slow"] == []
