"""The checks: each raises AssertionError with the fault, and its docstring is the line that `gan_core check` prints."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from gan_core.game.batch import Batch
from gan_core.game.game import Game
from gan_core.game.output import Request
from gan_core.plugins.options import option_rows
from gan_core.sampling.given import BLOCK, given_rows
from gan_core.sampling.sampler import Sampler
from gan_core.testing.invariance import assert_equal, trains_the_same_anywhere
from gan_core.testing.plugin_checks import check_bound, check_quiet_import
from gan_core.testing.subject import Subject
from gan_core.training.phase_module import PhaseModule
from gan_core.training.shared_fakes import SharedFakes, layers_of


def declares_its_bound(subject: Subject) -> None:
    """The distribution declares which versions of gan-core it supports."""
    check_bound(subject.loaded.plugin)


def documents_its_options(subject: Subject) -> None:
    """Every option has a default and a description, and its value can be written to a file and read back."""
    kind = subject.loaded.variant.options
    undocumented = [row["name"] for row in option_rows(kind) if not row["help"]]
    assert not undocumented, f"these options have no docstring below them: {', '.join(undocumented)}"
    assert kind.model_validate(kind().model_dump(mode="json")) == kind(), "the options change in a file"


def imports_quietly(subject: Subject) -> None:
    """Importing the plugin draws no random numbers and does not initialise CUDA."""
    check_quiet_import(subject.loaded.plugin)


def draws_images(subject: Subject) -> None:
    """Images have the data's shape and lie in [-1, 1], for every accepted size and number of channels."""
    for other in (*subject.shapes(), *subject.smallest()):
        _draw_images(other)


def trains_on_the_smallest_images(subject: Subject) -> None:
    """Every phase can be updated on the smallest images that the variant accepts, and on the next larger ones."""
    for other in subject.smallest():
        try:
            list(_updates(other, other.build()))
        except Exception as error:
            raise AssertionError(
                f"images of {other.image_size} pixels are accepted, but {type(error).__name__}: {error}"
            ) from error


def trains_with_two_classes(subject: Subject) -> None:
    """Every phase can be updated on data of two classes, and samples of both can be drawn."""
    two = subject.on(classes=2)
    game = two.build()
    _draw_images(two)
    list(_updates(two, game))


def draws_by_the_given_generator(subject: Subject) -> None:
    """`draw` returns one input per image, and uses no source of randomness but the given generator."""
    game = subject.build()
    for_samples = (sampler.request(0, sampler.labels(4), count=4) for sampler in _samplers(subject, game))
    for request in (Request(count=4), *for_samples):
        first, second, other = (game.draw(np.random.default_rng(seed), request) for seed in (0, 0, 1))
        for name, tensor in first.items():
            assert len(tensor) == 4, f"the input {name!r} has {len(tensor)} rows instead of 4"
            assert torch.equal(tensor, second[name]), f"the input {name!r} differs between two generators of one seed"
        if first and not request.given:  # Inputs may be no more than the rows that are given.
            same = all(torch.equal(first[name], other[name]) for name in first)
            assert not same, "another seed gives the same inputs"


def learns_what_it_names(subject: Subject) -> None:
    """In each phase every trained parameter gets a gradient and is in the optimizer once; no other parameter is.

    Of the phases that share an optimizer, one gradient is enough.
    """
    game = subject.build()
    names = {id(p): f"{n}.{k}" for n, network in game.networks.items() for k, p in network.named_parameters()}
    owners: dict[str, PhaseModule] = {}
    reached: dict[str, set[int]] = {}
    for module, terms in _updates(subject, game):
        phase = module.phase
        trained = {id(parameter) for parameter in module.trained}
        owner = phase.optimizer if isinstance(phase.optimizer, str) else phase.name
        if owner == phase.name:
            owners[owner] = module
        reached.setdefault(owner, set()).update(id(p) for p in module.trained if p.grad is not None)
        leaked = [names[id(p)] for p in module.networks.parameters() if id(p) not in trained and p.grad is not None]
        assert not leaked, (
            f"phase {phase.name!r} gives gradients to parameters that it does not train: {', '.join(leaked)}"
        )
        assert all(torch.isfinite(p.grad).all() for p in module.trained if p.grad is not None), (
            "a gradient is not finite"
        )
        bad = [name for name, term in terms.items() if not torch.isfinite(term)]
        assert not bad, f"phase {phase.name!r} has terms that are not finite: {', '.join(bad)}"
        again = module(_later_batch(subject, game, module))[1]
        assert list(again) == list(terms), f"phase {phase.name!r} returns other terms in its second update"
    for owner, module in owners.items():
        silent = [names[id(p)] for p in module.trained if id(p) not in reached[owner]]
        assert not silent, f"phase {owner!r} has unused parameters: {', '.join(silent)}"
        _check_optimizer(module, names)


def _check_optimizer(module: PhaseModule, names: dict[int, str]) -> None:
    make = module.phase.optimizer
    assert not isinstance(make, str)
    held = Counter(id(parameter) for group in make(module.trained).param_groups for parameter in group["params"])
    for parameter in module.trained:
        times = held.pop(id(parameter), 0)
        assert times == 1, f"the optimizer of phase {module.phase.name!r} has {names[id(parameter)]} {times} times"
    assert not held, f"the optimizer of phase {module.phase.name!r} has {len(held)} parameters that it is not given"


def needs_labels_only_if_declared(subject: Subject) -> None:
    """The variant trains without labels, or declares that it needs them."""
    if any("labels" in names for names in subject.loaded.variant.tables()):
        return
    unlabelled = subject.on(classes=0)
    game = unlabelled.build()
    _draw_images(unlabelled)
    list(_updates(unlabelled, game))


def builds_the_same_twice(subject: Subject) -> None:
    """The same seed gives the same initial weights and the same terms."""
    one, two = subject.build(), subject.build()
    for name, network in one.networks.items():
        assert_equal(network.state_dict(), two.networks[name].state_dict(), f"initial weights of {name}")
    for (module, terms), (_, others) in zip(_updates(subject, one), _updates(subject, two), strict=True):
        assert_equal(terms, others, f"terms of phase {module.phase.name!r}")


def returns_its_state(subject: Subject) -> None:
    """Networks and extra state are restored from their state_dict bit for bit."""
    game, other = subject.build(), subject.build()
    list(_updates(subject, game))
    owners = {**game.networks, **game.state}
    for name, twin in {**other.networks, **other.state}.items():
        twin.load_state_dict(owners[name].state_dict())
        assert_equal(owners[name].state_dict(), twin.state_dict(), f"state of {name}")


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__: check
    for check in (
        declares_its_bound,
        documents_its_options,
        imports_quietly,
        draws_images,
        draws_by_the_given_generator,
        trains_on_the_smallest_images,
        trains_with_two_classes,
        learns_what_it_names,
        needs_labels_only_if_declared,
        builds_the_same_twice,
        returns_its_state,
        trains_the_same_anywhere,
    )
}


def _draw_images(subject: Subject) -> None:
    for sampler in _samplers(subject, subject.build()):
        sampler.prepare()
        name, output = sampler.name, sampler.output
        image = sampler.data.image(output.like)
        for count in (1, 5):
            labels = sampler.labels(count)
            images = sampler.generated(0, labels, count=count)[name]
            shape = (count, *image.shape)
            assert images.shape == shape, f"images have the shape {tuple(images.shape)} instead of {shape}"
            assert images.is_floating_point(), f"images are {images.dtype}, which is no floating-point type"
            assert torch.isfinite(images).all(), "images are not finite"
            assert images.abs().max() <= 1, f"images reach {float(images.abs().max()):.3g}, beyond [-1, 1]"
        shown = sampler.drawn(0, sampler.labels(BLOCK), grid=8)
        missing = set(output.columns) - set(shown)
        assert not missing, f"output {name!r} shows the columns {', '.join(sorted(missing))}, which do not exist"


def _samplers(subject: Subject, game: Game) -> Iterator[Sampler]:
    """Yields a sampler of each output, from the networks as they are."""
    dataset, options, device = subject.dataset, subject.loaded.variant.sampling(), torch.device("cpu")
    networks = {name: game.networks[name].eval() for name in game.ema}
    for name, output in game.outputs.items():
        rows = given_rows(dataset, output)
        yield Sampler(game, dataset.spec, networks, 0, device, torch.float32, output=name, options=options, rows=rows)


def _updates(subject: Subject, game: Game) -> Iterator[tuple[PhaseModule, dict[str, Tensor]]]:
    """Runs one forward and backward and `after` of every phase in order, without an optimizer step.

    Yields after the backward pass, with no gradient but that of this phase.
    """
    modules = {phase.name: PhaseModule(phase, game.networks) for phase in game.phases}
    fakes = SharedFakes(list(modules.values()), nullcontext)
    for phase, batches in subject.batch_source(game).step(0):
        if (module := modules.pop(phase.name, None)) is None:
            continue
        batch = fakes.filled(phase, batches[0])
        module.zero_grad()
        module.freeze_others()
        with layers_of(batch):
            total, terms = module(batch)
        total.backward()
        fakes.stepped(phase)
        yield module, terms
        if phase.after is not None:
            with torch.no_grad():
                phase.after(dict(game.networks), terms, batch)


def _later_batch(subject: Subject, game: Game, module: PhaseModule) -> Batch:
    """Returns the phase's first batch in the second step in which it is updated."""
    source, phase = subject.batch_source(game), module.phase
    fakes = SharedFakes([PhaseModule(each, game.networks) for each in game.phases], nullcontext)
    later = next(batches[0] for other, batches in source.step(phase.every * source.step_images) if other is phase)
    batch = fakes.filled(phase, later)
    module.freeze_others()
    return batch
