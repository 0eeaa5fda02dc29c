"""The check of whole trainings: the same on one and two processes, resumed or not."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from gan_core.runs.checkpoint import numbered
from gan_core.testing.processes import run_python
from gan_core.testing.subject import Subject

STEPS = 8
"""The least number of steps: on two processes, 64 images are enough for a replay pool of 50 to swap some."""


def trains_the_same_anywhere(subject: Subject) -> None:
    """A resumed run equals an uninterrupted one bit for bit; two processes equal one to 1e-9 (in float64).

    The runs are long enough for a second update of every phase, after the resume.
    """
    game = subject.build()
    steps = max(STEPS, *(phase.every + 2 for phase in game.phases))
    with tempfile.TemporaryDirectory() as folder:
        # The resumed run gets a process of its own for each part: what a plugin keeps in globals is lost, as it should.
        words = (f"two={steps}@2", f"resumed={steps // 2}@1", f"resumed={steps}@1", "initial=0", f"straight={steps}")
        # One process starts all runs, because each start imports torch again. It forks, so it must have no threads
        # before, and OpenBLAS would start some on import. Each run sets its own number of threads. On CPUs, because
        # there may be one GPU only, or one without float64.
        run_python(
            *("-m", "gan_core.testing.runs", subject.loaded.plugin.full_name),
            *(str(subject.image_size), str(subject.channels), json.dumps(subject.options.model_dump(mode="json"))),
            *(f"{folder}/{word}" for word in words),
            OMP_NUM_THREADS="1",
            OPENBLAS_NUM_THREADS="1",
            ACCELERATE_USE_CPU="1",
        )
        initial = torch.load(Path(folder) / "initial" / "initial.pt", weights_only=True)
        straight, resumed, two = (_saved(Path(folder) / name) for name in ("straight", "resumed", "two"))
    # That process has another hash seed, so sets of strings have another order in it.
    for name, network in game.networks.items():
        what = f"initial weights of {name}, made in another process,"
        assert list(network.state_dict()) == list(initial[name]), f"{what} come in another order"
        assert_equal(network.state_dict(), initial[name], what)
    assert_equal(straight, resumed, "an uninterrupted and a resumed run")
    gaps = {name: _gap(straight[name], two.get(name)) for name in straight if not name.startswith("optimizer-")}
    worst = max(gaps, key=lambda name: gaps[name])
    hint = ". Is its state the same on every process?" if game.state else ""
    assert gaps[worst] < 1e-9, (
        f"two processes differ from one by {gaps[worst]:.1e} in {worst} after {steps} steps{hint}"
    )


def assert_equal(one: Mapping[str, object], other: Mapping[str, object], what: str) -> None:
    """Compares tensors and plain values by name, bit for bit.

    Raises:
        AssertionError: They differ; the message names the first name.
    """
    assert one.keys() == other.keys(), f"{what}: other names"
    for name, value in one.items():
        twin = other[name]
        same = torch.equal(value, twin) if isinstance(value, Tensor) and isinstance(twin, Tensor) else value == twin
        assert same, f"{what} differ: {name}"


def _gap(one: object, other: object) -> float:
    """Returns the largest difference of two tensors, or infinity if they cannot be compared or other values differ."""
    if isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape:
        return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0
    return 0.0 if one == other else float("inf")


def _saved(run: Path) -> dict[str, object]:
    """Returns everything in the newest checkpoint, by file and key."""
    found: dict[str, object] = {}
    for file in sorted(numbered(run / "checkpoints")[0].iterdir()):
        if file.suffix == ".safetensors":
            found |= {f"{file.stem}/{name}": tensor for name, tensor in load_file(file).items()}
        elif file.suffix == ".pt":
            found |= _flat(file.stem, torch.load(file, weights_only=True))
    return found


def _flat(path: str, value: object) -> dict[str, object]:
    """Returns the values in nested dicts and sequences, by path."""
    items: Iterator[tuple[object, object]] | None = None
    if isinstance(value, Mapping):
        items = iter(value.items())
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    if items is None:
        return {path: value}
    return {name: inner for key, part in items for name, inner in _flat(f"{path}/{key}", part).items()}
