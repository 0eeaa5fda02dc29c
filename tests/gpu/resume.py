"""Repeating and resuming a run: bit for bit with deterministic algorithms, and how far off without."""

import torch

from tests.gpu.lab import QUIET, Lab, Result, images
from tests.runs import difference, weights

GAMES = {
    "dcgan": ("dcgan", ()),
    "wgan-gp": ("wgan", ("penalty=gradient", "critic_steps=2")),
    "acgan": ("acgan", ("r1=0.5",)),
}


def default_algorithms(lab: Lab) -> Result:
    """Reports differences without --deterministic. On CPUs they are 0; on GPUs nothing is promised."""
    found = _differences(lab, deterministic=False)
    if not lab.on_gpu:
        assert set(found.values()) == {0.0}, found
    return found


def deterministic_algorithms(lab: Lab) -> Result:
    """A repeated and a resumed run with --deterministic equal the first one bit for bit."""
    found = _differences(lab, deterministic=True)
    assert set(found.values()) == {0.0}, found
    return found


def _differences(lab: Lab, *, deterministic: bool) -> Result:
    found = {}
    steps = 4 if lab.short else 30
    for name in list(GAMES)[:1] if lab.short else GAMES:
        variant, assignments = GAMES[name]
        given = {"variant": variant, "batch": 32, "deterministic": deterministic}
        words = (*images(lab), *QUIET, *assignments, "maps=32" if variant == "acgan" else "width=16")

        def train(run: str, count: int, name: str = name, words: tuple[str, ...] = words, **given: object) -> None:
            lab.train(f"{name}-{run}", *words, steps=count, **given)

        train("first", steps, **given)
        train("repeated", steps, **given)
        train("resumed", steps // 2, **given)
        train("resumed", steps, **given)
        first, repeated, resumed = (weights(lab.folder / f"{name}-{run}") for run in ("first", "repeated", "resumed"))
        assert all(bool(tensor.isfinite().all()) for tensor in first.values() if tensor.is_floating_point())
        assert difference(first, {key: torch.zeros_like(tensor) for key, tensor in first.items()}) > 1e-3
        found |= {f"{name}: repeated": difference(first, repeated), f"{name}: resumed": difference(first, resumed)}
    return found
