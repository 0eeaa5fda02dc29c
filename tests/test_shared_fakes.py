"""Fakes that phases share: made once a step, equal to a loop written by hand, and made anew only where they must be."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from gan_core import Batch, Game, Networks, Phase, Terms, adam, normal_latents, two_player
from gan_core.app.setup import build_state
from gan_core.blocks.losses import Logistic
from gan_core.errors import UserError
from gan_core.game.output import Output
from gan_core.training.state import TrainingState
from tests.conftest import make_job
from tests.test_batch_source import make_source
from tests.toys import Scale, toy_game, toy_phase

LATENT, PIXELS = 3, 4


class Generator(nn.Module):
    """Counts its calls in training."""

    def __init__(self, *, norm: bool = True) -> None:
        super().__init__()
        # The gradient of a bias before batch normalisation is rounding only, which Adam enlarges.
        self.layers = nn.Sequential(
            nn.Linear(LATENT, 8, bias=not norm),
            nn.BatchNorm1d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Linear(8, PIXELS),
        )
        self.calls = 0

    def forward(self, z: Tensor) -> Tensor:
        self.calls += self.training
        return self.layers(z).tanh().view(-1, 1, 2, 2)


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).squeeze(1)


def make_game(*, norm: bool = True, **fields: object) -> Game:
    torch.manual_seed(0)
    optimizer = adam(0.01, betas=(0.5, 0.9))
    return two_player(
        generator=Generator(norm=norm),
        discriminator=Discriminator(),
        loss=Logistic(),
        draw=normal_latents(LATENT),
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        **fields,  # type: ignore[arg-type]
    )


def played(game: Game, *, steps: int, accumulate: int = 1, precision: str = "fp64") -> TrainingState:
    """Plays a few steps, as the loop does."""
    dtype = torch.float64 if precision == "fp64" else torch.float32
    job = make_job("batch=8", variant="vanilla")
    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if precision == "bf16" else "no")
    source = make_source(batch=8, accumulate=accumulate, game=game)
    source.dtype = dtype
    state = build_state(job, accelerator, game, source, 1000)
    for step in range(steps):
        for phase, batches in source.step(step * source.step_images):
            state.trainers[phase.name].update(batches, step * source.step_images)
    return state


def by_hand(game: Game, *, steps: int, precision: str = "fp64") -> dict[str, nn.Module]:
    """The loop of PyTorch's DCGAN example, with the batches of `played`."""
    dtype = torch.float64 if precision == "fp64" else torch.float32
    source = make_source(batch=8, game=game)
    source.dtype = dtype
    G, D = (deepcopy(game.networks[name]).to(dtype) for name in ("generator", "discriminator"))
    of_d, of_g = (torch.optim.Adam(network.parameters(), lr=0.01, betas=(0.5, 0.9)) for network in (D, G))
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")
    for step in range(steps):
        (_, (batch,)), _ = source.step(step * source.step_images)
        D.zero_grad()
        with autocast:
            fake = G(**batch.inputs)
            loss = F.softplus(-D(batch.images)).float().mean() + F.softplus(D(fake.detach())).float().mean()
        loss.backward()
        of_d.step()
        G.zero_grad()
        with autocast:
            loss = F.softplus(-D(fake)).float().mean()
        loss.backward()
        of_g.step()
    return {"generator": G, "discriminator": D}


@pytest.mark.parametrize(("precision", "limit"), [("fp64", 1e-12), ("bf16", 1e-6)])
def test_training_equals_the_usual_loop_with_one_forward_of_the_generator(precision: str, limit: float) -> None:
    game = make_game()
    reference = by_hand(game, steps=5, precision=precision)
    state = played(game, steps=5, precision=precision)
    for name, network in reference.items():
        for key, tensor in network.state_dict().items():
            assert (state.networks[name].state_dict()[key] - tensor).abs().max() <= limit, f"{name}: {key}"
    generator = game.networks["generator"]
    assert isinstance(generator, Generator)
    assert generator.calls == 1 + 5  # One for the probe.


def test_micro_batches_have_fakes_of_their_own() -> None:
    whole, halves = (played(make_game(norm=False), steps=3, accumulate=parts) for parts in (1, 2))
    for name, network in whole.networks.items():
        for key, tensor in network.state_dict().items():
            assert (halves.networks[name].state_dict()[key] - tensor).abs().max() < 1e-12, f"{name}: {key}"


@pytest.mark.parametrize("fields", [{"fresh_latents": True}, {"discriminator_steps": 2}, {"generator_fakes": 2}])
def test_the_generator_has_fakes_of_its_own_where_it_must_or_shall(fields: Mapping[str, object]) -> None:
    game = make_game(**fields)
    discriminator, generator = game.phases
    assert (discriminator.on, generator.on) == (None, None)
    played(game, steps=2)
    network = game.networks["generator"]
    assert isinstance(network, Generator)
    assert network.calls == (1 + discriminator.repeats) * 2 + 2


class Seen:
    """What each phase is shown, and the weight of the generator then."""

    def __init__(self) -> None:
        self.fakes: list[tuple[str, float, bool, float]] = []

    def game(self, *phases: tuple[str, str, str | None]) -> Game:
        """Returns a game of phases (name, trained network, on), whose fakes are the generator's weight."""

        def loss_of(name: str, network: str) -> object:
            def loss(networks: Networks, batch: Batch) -> Terms:
                fake, weight = batch.fake["images"], networks["generator"].get_parameter("weight").item()
                self.fakes.append((name, round(fake.mean().item(), 6), fake.requires_grad, round(weight, 6)))
                if network == "generator":
                    return {"term": fake.mean()}
                return {"term": networks["discriminator"](fake).mean()}

            return loss

        def make_fake(networks: Networks, batch: Batch) -> dict[str, Tensor]:
            return {"images": networks["generator"](**batch.inputs)}

        made = [
            toy_phase(name, loss_of(name, network), trains=(network,), on=on, make_fake=None if on else make_fake)  # type: ignore[arg-type]
            for name, network, on in phases
        ]
        return toy_game(*made)


def test_a_phase_that_trains_nothing_of_it_sees_what_was_made_before_the_update() -> None:
    seen = Seen()
    played(seen.game(("g", "generator", None), ("d", "discriminator", "g")), steps=1)
    # Inputs are ones, and the gradient of the weight is 1: an update moves it from 1 to 0.9.
    assert seen.fakes[-2:] == [("g", 1.0, True, 1.0), ("d", 1.0, False, 0.9)]


def test_a_second_phase_that_trains_the_generator_gets_fakes_of_the_weights_as_they_are() -> None:
    seen = Seen()
    phases = (
        ("d", "discriminator", None),
        ("g", "generator", "d"),
        ("again", "generator", "d"),
        ("e", "discriminator", "d"),
    )
    played(seen.game(*phases), steps=1)
    assert seen.fakes[-4:] == [
        ("d", 1.0, False, 1.0),
        ("g", 1.0, True, 1.0),
        ("again", 0.9, True, 0.9),
        ("e", 0.9, False, 0.8),
    ]


def test_a_phase_elsewhere_that_trains_the_generator_makes_graphs_outdated() -> None:
    seen = Seen()
    played(seen.game(("d", "discriminator", None), ("own", "generator", None), ("g", "generator", "d")), steps=1)
    assert seen.fakes[-3:] == [("d", 1.0, False, 1.0), ("own", 1.0, True, 1.0), ("g", 0.9, True, 0.9)]


def test_fakes_that_a_loss_has_changed_in_place_are_made_anew() -> None:
    seen = Seen()
    game = seen.game(("d", "discriminator", None), ("g", "generator", "d"))
    first = game.phases[0]

    def changing(networks: Networks, batch: Batch) -> Terms:
        terms = first.loss(networks, batch)
        with torch.no_grad():
            batch.fake["images"].add_(5)
        return terms

    # The discriminator's output does not depend on its input, which the backward pass would need.
    constant = {**game.networks, "discriminator": Constant()}
    changed = replace(game, networks=constant, phases=[replace(first, loss=changing), game.phases[1]])
    played(changed, steps=1)
    assert seen.fakes[-1] == ("g", 1.0, True, 1.0)


class Constant(Scale):
    def forward(self, z: Tensor) -> Tensor:
        return self.weight.expand(len(z))


def test_make_fake_must_return_tensors_by_name() -> None:
    phase = toy_phase("discriminator", lambda n, b: {}, make_fake=lambda n, b: b.images)  # type: ignore[arg-type,return-value]
    with pytest.raises(UserError, match="phase 'discriminator': make_fake returned Tensor, but must return a dict"):
        played(toy_game(phase), steps=1)


def test_a_phase_on_a_batch_has_the_fakes_of_that_batch() -> None:
    phase = toy_phase("discriminator", lambda n, b: {})
    with pytest.raises(ValueError, match="phase 'generator' is on the batch of 'discriminator', so its fakes"):
        toy_game(phase, toy_phase("generator", lambda n, b: {}, on="discriminator", make_fake=lambda n, b: {}))


def test_outputs_and_phases_of_other_games_need_no_fakes() -> None:
    def loss(networks: Networks, batch: Batch) -> Terms:
        assert batch.fake == {}
        return {"term": networks["generator"](**batch.inputs).mean()}

    phase = Phase(name="generator", trains=("generator",), loss=loss, optimizer=adam(0.1))
    networks = {"generator": Scale()}
    outputs = {"images": Output(generate=lambda n, inputs, options: n["generator"](**inputs).clamp(-1, 1))}
    played(Game(networks=networks, phases=[phase], draw=toy_game(phase_stub()).draw, outputs=outputs), steps=1)


def phase_stub() -> Phase:
    return toy_phase("discriminator", lambda n, b: {})
