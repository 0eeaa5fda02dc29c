"""The checks: each raises AssertionError with the fault, and its docstring is the line that `gan_core check` prints."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from gan_core.game.batch import Batch
from gan_core.game.game import Game
from gan_core.game.phase import Phase
from gan_core.plugins.options import option_rows
from gan_core.testing.subject import Subject, accepted_shapes
from gan_core.training.phase_module import PhaseModule


def declares_its_bound(subject: Subject) -> None:
    """The distribution declares which versions of gan-core it supports."""
    bound = subject.loaded.plugin.bound
    assert bound, (
        f"add a requirement such as gan-core>=0.1,<0.2 to the pyproject.toml of {subject.loaded.plugin.distribution}"
    )


def documents_its_options(subject: Subject) -> None:
    """Every option has a default and a description, and its value can be written to a file and read back."""
    kind = subject.loaded.variant.options
    undocumented = [row["name"] for row in option_rows(kind) if not row["help"]]
    assert not undocumented, f"these options have no docstring below them: {', '.join(undocumented)}"
    assert kind.model_validate(kind().model_dump(mode="json")) == kind(), "the options change in a file"


def imports_quietly(subject: Subject) -> None:
    """Importing the plugin draws no random numbers and does not initialise CUDA."""
    code = (
        "import random, numpy, torch\n"
        "state = lambda: (random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist())\n"
        f"before = state(); import {subject.loaded.plugin.entry_point.module}\n"
        "assert state() == before, 'importing it draws random numbers'\n"
        "assert not torch.cuda.is_initialized(), 'importing it initialises CUDA'\n"
    )
    _run([sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"])


def draws_images(subject: Subject) -> None:
    """Images have the data's shape and lie in [-1, 1], for every accepted size and number of channels."""
    for data in accepted_shapes(subject.loaded):
        game = subject.build(data)
        networks = {name: network.eval() for name, network in game.networks.items()}
        for count in (1, 5):
            labels = torch.arange(count) % game.classes if game.classes else None
            inputs = game.draw(np.random.default_rng(0), count, labels)
            with torch.no_grad():
                images = game.generate({name: networks[name] for name in game.ema}, inputs)
            shape = (count, data.channels, data.image_size, data.image_size)
            assert images.shape == shape, f"images have the shape {tuple(images.shape)} instead of {shape}"
            assert images.is_floating_point(), f"images are {images.dtype}, which is no floating-point type"
            assert torch.isfinite(images).all(), "images are not finite"
            assert images.abs().max() <= 1, f"images reach {float(images.abs().max()):.3g}, beyond [-1, 1]"


def draws_by_the_given_generator(subject: Subject) -> None:
    """`draw` returns one input per image, and uses no source of randomness but the given generator."""
    game = subject.build()
    first, second, other = (game.draw(np.random.default_rng(seed), 4, None) for seed in (0, 0, 1))
    for name, tensor in first.items():
        assert len(tensor) == 4, f"the input {name!r} has {len(tensor)} rows instead of 4"
        assert torch.equal(tensor, second[name]), f"the input {name!r} differs between two generators of one seed"
    assert any(not torch.equal(first[name], other[name]) for name in first), "another seed gives the same inputs"


def learns_what_it_names(subject: Subject) -> None:
    """In each phase every trained parameter gets a gradient, and no other parameter does.

    Of the phases that share an optimizer, one is enough.
    """
    game = subject.build()
    owners: dict[str, PhaseModule] = {}
    reached: dict[str, set[int]] = {}
    for module, terms in _backward(subject, game):
        phase = module.phase
        names = {id(p): f"{n}.{k}" for n, network in game.networks.items() for k, p in network.named_parameters()}
        trained = {id(parameter) for parameter in module.trained}
        parameters = list(module.networks.parameters())
        owner = phase.optimizer if isinstance(phase.optimizer, str) else phase.name
        if owner == phase.name:
            owners[owner] = module
        reached.setdefault(owner, set()).update(id(p) for p in module.trained if p.grad is not None)
        leaked = [names[id(p)] for p in parameters if id(p) not in trained and p.grad is not None]
        assert not leaked, (
            f"phase {phase.name!r} gives gradients to parameters that it does not train: {', '.join(leaked)}"
        )
        assert all(torch.isfinite(p.grad).all() for p in module.trained if p.grad is not None), (
            "a gradient is not finite"
        )
        bad = [name for name, term in terms.items() if not torch.isfinite(term)]
        assert not bad, f"phase {phase.name!r} has terms that are not finite: {', '.join(bad)}"
        again = module(_later_batch(subject, game, phase))[1]
        assert list(again) == list(terms), f"phase {phase.name!r} returns other terms in its second update"
    for owner, module in owners.items():
        silent = [names[id(p)] for p in module.trained if id(p) not in reached[owner]]
        assert not silent, f"phase {owner!r} has unused parameters: {', '.join(silent)}"


def needs_labels_only_if_declared(subject: Subject) -> None:
    """The variant trains without labels, or declares `needs_labels`."""
    if subject.loaded.variant.needs_labels:
        return
    unlabelled = replace(subject, data=replace(subject.data, classes=0))
    game = unlabelled.build()
    assert not game.classes, "the game has classes although the data has none"
    list(_backward(unlabelled, game, labels=False))


def builds_the_same_twice(subject: Subject) -> None:
    """The same seed gives the same initial weights and the same terms."""
    one, two = subject.build(), subject.build()
    for name, network in one.networks.items():
        _assert_equal(network.state_dict(), two.networks[name].state_dict(), f"initial weights of {name}")
    for (module, terms), (_, others) in zip(_backward(subject, one), _backward(subject, two), strict=True):
        _assert_equal(terms, others, f"terms of phase {module.phase.name!r}")


def returns_its_state(subject: Subject) -> None:
    """Networks and extra state are restored from their state_dict bit for bit."""
    game, other = subject.build(), subject.build()
    list(_backward(subject, game))
    owners = {**game.networks, **game.state}
    for name, twin in {**other.networks, **other.state}.items():
        twin.load_state_dict(owners[name].state_dict())
        _assert_equal(owners[name].state_dict(), twin.state_dict(), f"state of {name}")


def trains_the_same_anywhere(subject: Subject) -> None:
    """A resumed run equals an uninterrupted one bit for bit; two processes equal one to 1e-9 (float64, no dropout)."""
    data = subject.data
    with tempfile.TemporaryDirectory() as folder:
        runs = [f"{folder}/{run}" for run in ("two=6@2", "initial=0", "straight=6", "resumed=3", "resumed=6")]
        words = [subject.loaded.plugin.full_name, str(data.image_size), str(data.channels), *runs]
        # One process makes all runs, because each start imports torch again. It forks, so it must have no threads
        # before, and OpenBLAS would start some on import. Each run sets its own number of threads. On CPUs, because
        # there may be one GPU only, or one without float64.
        alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
        _run([sys.executable, "-m", "gan_core.testing.runs", *words], **alone)
        initial = torch.load(Path(folder) / "initial" / "initial.pt", weights_only=True)
        straight, resumed, two = (_weights(Path(folder) / name) for name in ("straight", "resumed", "two"))
    # That process has another hash seed, so sets of strings have another order in it.
    for name, network in subject.build().networks.items():
        what = f"initial weights of {name}, made in another process,"
        assert list(network.state_dict()) == list(initial[name]), f"{what} come in another order"
        _assert_equal(network.state_dict(), initial[name], what)
    _assert_equal(straight, resumed, "a resumed run's weights")
    worst = max(straight, key=lambda name: float((straight[name].double() - two[name].double()).abs().max()))
    gap = float((straight[worst].double() - two[worst].double()).abs().max())
    hint = ". Is its state the same on every process?" if subject.build().state else ""
    assert gap < 1e-9, f"two processes differ from one by {gap:.1e} in {worst} after 6 steps{hint}"


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__: check
    for check in (
        declares_its_bound,
        documents_its_options,
        imports_quietly,
        draws_images,
        draws_by_the_given_generator,
        learns_what_it_names,
        needs_labels_only_if_declared,
        builds_the_same_twice,
        returns_its_state,
        trains_the_same_anywhere,
    )
}


def _backward(subject: Subject, game: Game, *, labels: bool = True) -> Iterator[tuple[PhaseModule, dict[str, Tensor]]]:
    """Runs one forward and one backward of every phase in order, from cleared gradients, without an optimizer step."""
    modules = {phase.name: PhaseModule(phase, game.networks) for phase in game.phases}
    for phase, batches in subject.batch_source(game, labels=labels).step(0):
        if (module := modules.pop(phase.name, None)) is None:
            continue
        module.zero_grad()
        module.freeze_others()
        total, terms = module(batches[0])
        total.backward()
        yield module, terms


def _later_batch(subject: Subject, game: Game, phase: Phase) -> Batch:
    """Returns the phase's first batch in the second step in which it is updated."""
    source = subject.batch_source(game)
    return next(batches[0] for other, batches in source.step(phase.every * source.step_images) if other is phase)


def _assert_equal(one: dict[str, Tensor], other: dict[str, Tensor], what: str) -> None:
    assert one.keys() == other.keys(), f"{what}: other names"
    for name, value in one.items():
        same = torch.equal(value, other[name]) if isinstance(value, Tensor) else value == other[name]
        assert same, f"{what} differ: {name}"


def _weights(run: Path) -> dict[str, Tensor]:
    newest = max((run / "checkpoints").iterdir())
    return {f"{file.stem}/{name}": t for file in newest.glob("*.safetensors") for name, t in load_file(file).items()}


def _run(command: list[str], **environment: str) -> None:
    done = subprocess.run(  # noqa: S603
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    # The cause stands first.
    assert done.returncode == 0, f"{' '.join(command[1:4])} failed: {done.stdout.strip()[:4000]}"
