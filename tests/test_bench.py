"""`gan_core bench`: what it measures, and the plain loop that training is compared with."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gan_core import Game, Output, Phase, normal_latents, sgd, squared_gradient_norm
from gan_core.app.setup import build_state, make_batch_source, read_tables
from gan_core.bench import measure, plain, stopwatch
from gan_core.bench.parts import PartsObserver
from gan_core.bench.processes import ask
from gan_core.bench.scaling import Communication
from gan_core.cli import main
from tests import forked
from tests.conftest import ROOT, make_job

WIDTH, LATENT, BATCH, PIXELS = 24, 5, 8, 64
PARAMETERS = (LATENT + 1) * WIDTH + (WIDTH + 1) * PIXELS + (PIXELS + 1) * WIDTH + (WIDTH + 1)


OPTIONS = (f"width={WIDTH}", "layers=1", f"latent={LATENT}")
"""Of two fully connected networks of one hidden layer."""


def measured(*words: object) -> dict[str, Any]:
    """Returns what a short measurement prints."""
    chosen = [word for option in OPTIONS for word in ("--set", option)]
    words = ("bench", "--variant", "vanilla", "--batch", BATCH, *chosen, "--rounds", 1, "--seconds", 0.01, *words)
    line = [forked.stand_ins() / "python", "-m", "gan_core", *words, "--json"]  # Its processes are forked, too.
    done = subprocess.run(list(map(str, line)), cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """What is measured beside the plain loop."""
    return measured("--threads", 1, "--against", "plain")


def test_every_figure_is_there(result: dict[str, Any]) -> None:
    rates = [result["images_per_second"], result["against"]["plain"]["images_per_second"]]
    assert all(0 < rate["lowest"] <= rate["median"] <= rate["highest"] for rate in rates)
    rate = result["images_per_second"]["median"]
    assert result["ms_per_step"] == pytest.approx(1000 * BATCH / rate)
    assert result["seconds_per_kimg"] == pytest.approx(1000 / rate)
    for name, other in result["against"].items():
        assert other["ratio"] == pytest.approx(rate / other["images_per_second"]["median"]), name
    assert result["peak_memory"] > 50e6  # torch alone
    assert set(result["peak"]) == {"matrix product", "convolution"}
    assert all(0 < share < 1 for share in result["share_of_peak"].values())
    assert all(share >= 0 for share in result["default_cadence"].values())
    assert result["imports"]["median"] > 0
    assert result["start_up"]["lowest"] <= result["start_up"]["highest"]


def test_the_parts_of_a_step_are_the_whole_of_it(result: dict[str, Any]) -> None:
    phases = [f"{phase} {part}" for phase in ("discriminator", "generator") for part in ("forward", "backward", "step")]
    assert set(result["parts"]) == {"data", *phases, "averages", "bookkeeping"}
    assert all(share > 0 for share in result["parts"].values())
    assert sum(result["parts"].values()) == pytest.approx(1)


def test_the_operations_of_a_step_are_those_counted_by_hand(result: dict[str, Any]) -> None:
    """A product of (n, m) and (m, k) has 2 n m k operations. Layers: latent -> width -> pixels -> width -> 1.

    The generator runs forward once, for both updates.
    """
    generator, first, last = LATENT * WIDTH + WIDTH * PIXELS, PIXELS * WIDTH, WIDTH
    discriminator = first + last
    # On real and on generated images; backward to all weights, and to the input of the last layer.
    of_discriminator = generator + 2 * (discriminator + discriminator + last)
    # Backward through the frozen discriminator to the images, then to all weights and the input of the last layer.
    of_generator = discriminator + discriminator + generator + WIDTH * PIXELS
    assert result["flop_per_step"] == 2 * BATCH * (of_discriminator + of_generator)


def test_the_operations_of_a_gradient_penalty_are_counted() -> None:
    """Forward, the gradient by the images, and its gradient by the weights: three products of 2 images, 16 pixels."""
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0))
    images = torch.randn(2, 1, 4, 4).requires_grad_()
    flops = PartsObserver(1, 2, 1, 2, torch.device("cpu")).flops
    with flops:
        squared_gradient_norm(discriminator, images, discriminator(images)).backward()
    assert flops.get_total_flops() == 3 * (2 * 2 * 16)


def test_processes_exchange_the_gradients_and_hardly_more(monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(*OPTIONS, variant="vanilla", batch=BATCH, threads=1)
    monkeypatch.setattr(sys, "executable", str(forked.stand_ins() / "python"))
    found = ask(job, "parts", window=4, processes=2)
    assert found["gradients"] == 4 * PARAMETERS
    assert found["statistics"] == 0
    assert 4 * PARAMETERS <= found["bytes"] < 4 * PARAMETERS + 100
    assert found["collectives"] >= 2


@pytest.mark.slow
def test_two_processes_are_compared_with_one() -> None:
    found = measured("--threads", 2, "--processes", 2)["scaling"]
    assert (found["processes"], found["threads_each"]) == (2, 1)
    one, two = found["against_one_process"], found["images_per_second"]
    assert one["ratio"] == pytest.approx(two["median"] / one["images_per_second"]["median"])
    assert found["least_bytes_per_step"] == 4 * PARAMETERS


def test_what_is_printed(result: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    from gan_core.cli.tables.bench import print_bench, print_suite
    from gan_core.console import PlainConsole

    print_bench(result, PlainConsole(table=True))
    print_suite([{"name": "tiny", "batch": 8, **result}], PlainConsole(table=True))
    output = capsys.readouterr().out
    ratio = f"{result['against']['plain']['ratio']:.2f}x"
    assert output.count(ratio) >= 2
    assert f"{result['images_per_second']['median']:,.0f} [" in output
    assert "share of discriminator backward" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variant", "dcgan", "--against", "plane"], "against: 'plane' is not allowed. Did you mean 'plain'?"),
        (["--variant", "dcgan", "--against", "plain", "--mirror"], "mirror: True is not allowed with --against"),
        (["--variant", "dcgan", "--against", "tensor", "--batch", "4096"], "batch: 4096 is not allowed with --against"),
        (
            ["--variant", "dcgan", "--threads", "1", "--processes", "2"],
            "processes: 2 is not allowed with 1 threads in all",
        ),
        (["--variant", "dcgam"], "no variant named 'dcgam' is installed. Did you mean 'dcgan'?"),
        (["--suite", "--variant", "dcgan"], "suite: variant is not allowed with --suite"),
        (["--suite", "--against", "plain"], "suite: against is not allowed with --suite"),
        ([], "variant: missing"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(words, monkeypatch, capsys)


def test_bench_starts_its_processes_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "run python -m gan_core bench --processes N" in refusal(["--variant", "dcgan"], monkeypatch, capsys)


def test_the_suite_needs_the_recipes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "suite: 'configs/tutorial-acgan-mnist.yaml' is not here" in refusal(["--suite"], monkeypatch, capsys)


def refusal(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns the error with which the command ends before it measures anything."""
    monkeypatch.setattr(sys, "argv", ["gan_core", "bench", *words])
    monkeypatch.setattr(measure, "ask", None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    return capsys.readouterr().err


VARIANTS = [
    ("vanilla", "width=8", "r1=1"),
    ("dcgan", "width=4"),
    ("acgan", "width=2", "maps=4", "generator_fakes=2"),
    ("wgan", "width=4", "critic_steps=2"),
    ("began", "width=2", "latent=4", "lambda_k=0.1"),
]


@pytest.mark.parametrize("words", VARIANTS, ids=lambda words: words[0])
def test_the_plain_loop_computes_what_training_computes(words: tuple[str, ...]) -> None:
    """The terms and the gradients of every update of one step, on the same batches, in float64."""
    name, *assignments = words
    job = make_job(*assignments, variant=name, precision="fp64", batch=8)
    accelerator = Accelerator(cpu=True)
    (game, source), (other, same) = (sourced(job, accelerator) for _ in range(2))
    state = build_state(job, accelerator, game, source, job.length(8))
    loop = plain.PlainLoop(other, 8, job.length(8), torch.device("cpu"), torch.float64)
    for optimizer in loop.optimizers.values():  # The plain loop has torch's default, which rounds differently.
        for group in optimizer.param_groups:
            group["fused"] = True
    phases = {phase.name: phase for phase in other.phases}
    updates, made = 0, dict[str, Any]()
    for (phase, batches), (_, copies) in zip(source.step(0), same.step(0), strict=True):
        terms = state.trainers[phase.name].update(batches, 0).terms
        twin = phases[phase.name]
        if twin.make_fake is not None:
            made[phase.name] = twin.make_fake(other.networks, copies[0])
        found = loop.update(twin, replace(copies[0], fake=made.get(phase.on or phase.name, {})))
        for key, value in found.items():
            assert value == pytest.approx(float(terms[key.partition("/")[2]]), abs=1e-12), key
        ours, theirs = gradients(game, phase), gradients(other, phase)
        assert ours
        assert max(float(gradient.abs().max()) for gradient in ours) > 0
        for one, two in zip(ours, theirs, strict=True):
            assert torch.allclose(one, two, rtol=0, atol=1e-12)
        if updates == 0 and phase.make_fake is not None:  # Its fakes are detached.
            others = [net for key, net in other.networks.items() if key not in phase.trains]
            assert all(p.grad is None for net in others for p in net.parameters())
        updates += 1
    assert updates == sum(phase.repeats for phase in game.phases)
    for mine, its in zip(weights_of(game), weights_of(other), strict=True):
        assert torch.allclose(mine, its, rtol=0, atol=1e-12)


def sourced(job: Any, accelerator: Accelerator) -> tuple[Game, Any]:
    """Returns the job's game with its initial weights, and the source of its batches."""
    game = job.build()
    return game, make_batch_source(job, accelerator, game, read_tables(job, accelerator), job.length(8))


def gradients(game: Game, phase: Phase) -> list[Tensor]:
    parameters = [p for name in phase.trains for p in game.networks[name].parameters()]
    return [p.grad for p in parameters if p.grad is not None]


def weights_of(game: Game) -> list[Tensor]:
    return [parameter for network in game.networks.values() for parameter in network.parameters()]


def test_the_plain_loop_repeats_skips_and_shares_as_the_game_says() -> None:
    seen: list[tuple[str, Any]] = []
    network = nn.Linear(3, 1)

    def loss(name: str) -> Any:
        def play(networks: Mapping[str, nn.Module], batch: Any) -> dict[str, Tensor]:
            seen.append((name, batch))
            return {"term": networks["generator"](**batch.inputs).mean()}

        return play

    game = Game(
        networks={"generator": Named(network)},
        phases=[
            Phase(name="critic", trains=("generator",), loss=loss("critic"), optimizer=sgd(0.1), repeats=2),
            Phase(
                name="shared", trains=("generator",), loss=loss("shared"), optimizer="critic", repeats=2, on="critic"
            ),
            Phase(name="lazy", trains=("generator",), loss=loss("lazy"), optimizer=sgd(0.1), every=2, fakes=3),
        ],
        draw=normal_latents(3),
        outputs={"images": Output(generate=lambda networks, inputs, options: inputs["z"])},
    )
    loop = plain.PlainLoop(game, 4, 1000, torch.device("cpu"), torch.float32)
    real = plain.tensor({"images": torch.arange(20.0)}, 4)
    terms = loop.step(real)
    assert [name for name, _ in seen] == ["critic", "critic", "shared", "shared", "lazy"]
    assert set(terms) == {"critic/term", "shared/term", "lazy/term"}
    batches = [batch for _, batch in seen]
    assert batches[2] is batches[0]
    assert batches[3] is batches[1]
    assert batches[0] is not batches[1]
    assert not set(batches[0].images.tolist()) & set(batches[1].images.tolist())
    assert [len(batch.inputs["z"]) for batch in batches] == [4, 4, 4, 4, 12]
    loop.step(real)
    assert [name for name, _ in seen[5:]] == ["critic", "critic", "shared", "shared"]
    assert seen[5][1].moment.images_seen == 8


class Named(nn.Module):
    """A network that is called with a latent by name."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> Tensor:
        found: Tensor = self.network(z)
        return found


@pytest.mark.parametrize("source", [plain.loader, plain.tensor])
def test_the_plain_loop_shows_every_row_once_an_epoch(source: Any) -> None:
    columns = {"images": torch.arange(11.0), "labels": torch.arange(11)}
    stream: Iterator[Mapping[str, Tensor]] = source(columns, 4)
    first, second = (torch.cat([next(stream)["labels"] for _ in range(2)]).tolist() for _ in range(2))
    assert len(set(first)) == len(set(second)) == 8  # The last three rows are no whole batch.
    assert sorted(first) != first or sorted(second) != second
    rows = next(stream)
    assert torch.equal(rows["images"], rows["labels"].float())


def test_the_stopwatch_leaves_out_what_is_not_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 4 steps of 8 images; a step takes 1 s, a log point 10 s, a grid 20 s, a checkpoint 40 s."""
    time = 100.0
    monkeypatch.setattr(stopwatch, "now", lambda device: time)
    watch = stopwatch.Stopwatch(4, 8, torch.device("cpu"))
    watch.sample(0, None)  # The grid of the untrained networks.
    for step in range(1, 13):
        time += 7.0 if step <= 4 else 1.0  # The first window is slow.
        watch.advance(8 * step)
        if step % 4 == 0:
            time += 10
            watch.log({})
            time += 20
            watch.sample(8 * step, None)
            time += 40
    assert watch.seconds() == {"step": 1.0, "log": 10.0, "sample": 20.0, "checkpoint": 40.0}


def test_the_model_of_weak_scaling_by_hand() -> None:
    """10 MB of gradients, 2 MB of statistics, 3 collectives of 5 us messages, at 1 GB/s."""
    model = Communication(10e6, 2e6, 3, 5e-6, 1e9)
    assert model.seconds(1) == 0
    assert model.seconds(2) == pytest.approx(30e-6 + 11e-3 + 1e-3)
    assert model.seconds(4) == pytest.approx(60e-6 + 1.5 * 11e-3 + 3e-3)
    assert model.seconds(5) == pytest.approx(90e-6 + 1.6 * 11e-3 + 4e-3)
    assert model.efficiency(2, 12.03e-3) == pytest.approx(0.5)


def test_the_table_of_weak_scaling_is_what_the_command_beside_it_prints() -> None:
    text = (ROOT / "launch" / "README.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("python -m gan_core.bench.scaling "))
    done = subprocess.run(
        [forked.PYTHON, *line.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert len(done.stdout.splitlines()) == 13
    assert done.stdout in text


def test_the_plain_loop_is_one_short_file() -> None:
    assert len(Path(plain.__file__).read_text().splitlines()) <= 130
