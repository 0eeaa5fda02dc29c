"""Games that cannot be trained: one error that names the phase and term, or the network, before anything is written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_core import Batch, Game, Networks
from gan_core.errors import UserError
from gan_core.plugins.load import load_variant
from tests.conftest import difference, gan_core, weights
from tests.test_plugin_loading import install
from tests.toys import toy_game, toy_phase

Train = Callable[..., str]
Change = Callable[[Game], object]


def train_changed(change: Change, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> str:
    """Trains the vanilla variant with a changed game, and returns the text of the error."""
    loaded = load_variant("vanilla")
    changed = replace(loaded.variant, build=lambda options, data: change(loaded.variant.build(options, data)))  # type: ignore[arg-type,return-value]
    monkeypatch.setattr("gan_core.app.job.load_variant", lambda name: replace(loaded, variant=changed))
    with pytest.raises(UserError) as error:
        train("width=4", variant="vanilla", batch=16, steps=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    return str(error.value)


def with_loss(change: Callable[[dict[str, Tensor], Networks], object]) -> Change:
    """Changes what the generator's loss returns."""

    def apply(game: Game) -> Game:
        discriminator, generator = game.phases

        def loss(networks: Networks, batch: Batch) -> object:
            return change(dict(generator.loss(networks, batch)), networks)

        return replace(game, phases=[discriminator, replace(generator, loss=loss)])  # type: ignore[arg-type]

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda terms, _: terms | {"extra": 1.5}, "the term 'extra' is float 1.5, but must be a scalar tensor"),
        (lambda terms, _: terms | {"extra": float("nan")}, "the term 'extra' is float nan, but"),
        (lambda terms, _: terms | {"extra": float("-inf")}, "the term 'extra' is float -inf, but"),
        (lambda terms, _: terms | {"extra": 3}, "the term 'extra' is int 3, but"),
        (lambda terms, _: terms | {"extra": True}, "the term 'extra' is bool True, but"),
        (lambda terms, _: terms | {"extra": None}, "the term 'extra' is NoneType, but"),
        (lambda terms, _: terms | {"extra": tuple(terms.values())}, "the term 'extra' is tuple, but"),
        (lambda terms, _: {name: term.item() for name, term in terms.items()}, "the term 'adversarial' is float"),
        (lambda terms, _: terms | {"extra": torch.tensor(1j)}, "the term 'extra' is a tensor of torch.complex64, but"),
        (
            lambda terms, _: terms | {"extra": torch.zeros(2)},
            "the term 'extra' has the shape (2,), but must be a scalar",
        ),
        (lambda terms, _: terms | {3: torch.zeros(())}, "its loss named a term 3, but a name must be a str"),
        (lambda terms, _: None, "its loss returned NoneType, but must return a dict of scalars by name"),
        (lambda terms, _: tuple(terms.values()), "its loss returned tuple, but"),
        (lambda terms, _: terms["adversarial"], "its loss returned one tensor, but"),
        (lambda terms, _: 0.5, "its loss returned float 0.5, but"),
        (lambda terms, _: {}, "none of its terms (none) carries a gradient"),
    ],
)
def test_a_loss_that_returns_no_scalars_by_name(
    change: Callable[[dict[str, Tensor], Networks], object],
    message: str,
    tmp_path: Path,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = train_changed(with_loss(change), tmp_path, train, monkeypatch)
    assert text.startswith("phase 'generator'")
    assert message in text


def with_discriminator(network: object) -> Change:
    """Replaces the discriminator."""
    return lambda game: replace(game, networks={**game.networks, "discriminator": network})  # type: ignore[dict-item]


class Complex(nn.Module):
    """A discriminator with one complex parameter or buffer."""

    def __init__(self, *, buffer: bool = False) -> None:
        super().__init__()
        weight = torch.ones(64, dtype=torch.complex64)
        if buffer:
            self.register_buffer("kernel", weight)
        else:
            self.kernel = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1) * self.kernel).sum(1).abs()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            with_discriminator(nn.Sequential(nn.Flatten(), nn.LazyLinear(1), nn.Flatten(0))),
            "the network 'discriminator' is lazy: 1.weight has no shape before the first forward",
        ),
        (
            with_discriminator(nn.Sequential(nn.LazyBatchNorm2d(affine=False), nn.Flatten(), nn.Linear(64, 1))),
            "the network 'discriminator' is lazy: 0.running_mean has no shape",
        ),
        (with_discriminator(Complex()), "'discriminator' has complex numbers in kernel (torch.complex64)"),
        (with_discriminator(Complex(buffer=True)), "'discriminator' has complex numbers in kernel (torch.complex64)"),
        (with_discriminator(torch.tanh), "the network 'discriminator' is a builtin_function_or_method, but must be a"),
        (with_discriminator(None), "the network 'discriminator' is a NoneType, but must be a torch.nn.Module"),
        (lambda game: replace(game, networks={**game.networks, 3: nn.ReLU()}), "3 is not allowed as the name"),
        (lambda game: game.networks, "its `build` returned a dict, not a gan_core.Game"),
        (lambda game: None, "its `build` returned a NoneType, not a gan_core.Game"),
    ],
)
def test_networks_that_cannot_be_trained(
    change: Change, message: str, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = train_changed(change, tmp_path, train, monkeypatch)
    assert text.startswith("variant 'vanilla' (gan-core-vanilla 0.1.0): ")
    assert message in text


def with_generate(change: Callable[[Tensor], object]) -> Change:
    """Changes what `generate` returns."""

    def apply(game: Game) -> Game:
        output = game.outputs["images"]
        generate = lambda *arguments: change(output.generate(*arguments))  # noqa: E731
        return replace(game, outputs={"images": replace(output, generate=generate)})

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: (images,), "returned tuple, but must return images"),
        (lambda images: None, "returned NoneType, but"),
        (lambda images: images.numpy(), "returned ndarray, but"),
        (lambda images: images.mul(100).to(torch.uint8), "returned a tensor of torch.uint8, but"),
        (lambda images: images.flatten(1), "returned the shape (2, 64) for 2 images, but must return (2, 1, 8, 8)"),
        (lambda images: images.expand(-1, 3, -1, -1), "returned the shape (2, 3, 8, 8) for 2 images, but"),
        (lambda images: images[:1], "returned the shape (1, 1, 8, 8) for 2 images, but"),
    ],
)
def test_a_generate_that_returns_no_images(
    change: Callable[[Tensor], object],
    message: str,
    tmp_path: Path,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert train_changed(with_generate(change), tmp_path, train, monkeypatch).startswith(
        f"`generate` of the output 'images' {message}"
    )


SKIPPING_GAN = """
import os, torch
from dataclasses import replace
from torch import nn
from gan_core import Variant
from gan_core_vanilla import variant as vanilla

class Skipping(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.calls = nn.Linear(64, 64), nn.Linear(64, 1), 0

    def forward(self, images):
        self.calls += 1
        skips = self.calls in CALLS and os.environ.get("RANK", "0") in RANKS
        hidden = images.flatten(1) if skips else self.first(images.flatten(1)).tanh()
        return self.second(hidden).squeeze(1) + (FIX if skips else 0)

def build(options, data):
    game = vanilla.build(options, data)
    return replace(game, networks={**game.networks, "discriminator": Skipping()})

variant = Variant(api=2, options=vanilla.options, build=build)
"""


@pytest.mark.parametrize(
    ("ranks", "accumulate", "calls", "named"),
    [
        (["0", "1"], 1, "range(21, 999)", "discriminator.first.weight, discriminator.first.bias."),
        # Three calls find the unused parameters, and a step has six; these two are the second micro-batch of the fifth.
        # The other process waits for this one.
        (["1"], 2, "(30, 31)", "of the last micro-batch."),
    ],
)
def test_a_layer_that_is_skipped_in_a_later_update_is_named_on_two_processes(
    ranks: list[str], accumulate: int, calls: str, named: str, tmp_path: Path
) -> None:
    code = SKIPPING_GAN.replace("RANKS", repr(ranks)).replace("CALLS", calls).replace("FIX", "0")
    install(tmp_path, distribution="skipping-gan", name="skipping", code=code)
    flags = ("--variant", "skipping", "--batch", 16, "--accumulate", accumulate, "--deadline", 15, "--steps", 30)
    run = tmp_path / "run"
    output = gan_core("train", *flags, "--out", run, processes=2, expect=1, PYTHONPATH=str(tmp_path))
    assert "phase 'discriminator': parameters that had a gradient in the first update have none in this one" in output
    assert named in output
    assert "add 0 * parameter.sum() to a term" in output
    assert "Traceback" not in output


def test_a_skipped_layer_trains_on_one_process_and_with_the_advice_on_two(tmp_path: Path) -> None:
    advice = "0 * sum(parameter.sum() for parameter in self.first.parameters())"
    code = SKIPPING_GAN.replace("RANKS", "('0', '1')").replace("CALLS", "range(21, 999)").replace("FIX", advice)
    install(tmp_path, distribution="skipping-gan", name="skipping", code=code)
    flags = ("--variant", "skipping", "--batch", 16, "--steps", 20, "--precision", "fp64")
    path = {"PYTHONPATH": str(tmp_path)}
    gan_core("train", *flags, "--out", tmp_path / "one", **path)
    gan_core("train", *flags, "--out", tmp_path / "two", processes=2, **path)
    assert difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-9
    without = tmp_path / "without"
    without.mkdir()
    install(without, distribution="skipping-gan", name="skipping", code=code.replace(advice, "0"))
    gan_core("train", *flags, "--out", tmp_path / "free", PYTHONPATH=str(without))


def test_a_lazy_network_that_was_called_in_build_is_allowed() -> None:
    network = nn.LazyLinear(1)
    network(torch.zeros(1, 4))
    game = toy_game(toy_phase("generator", lambda networks, batch: {}))
    assert replace(game, networks={**game.networks, "head": network}).networks["head"] is network
