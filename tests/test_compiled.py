"""`--compile`: each phase is one graph that is compiled once, with the numbers of an uncompiled run."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from gan_core.errors import UserError
from gan_core.training.compiled import compiled
from tests.conftest import difference, weights

Train = Callable[..., str]


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are captured and differentiated, but not translated to C++, which takes long."""
    monkeypatch.setattr("gan_core.app.training.compiled", partial(compiled, backend="aot_eager"))


GRAPHS = {
    ("dcgan", "width=4"): 3,  # The fakes, and the losses of both phases.
    ("vanilla", "width=8", "fresh_latents=true"): 4,
    ("acgan", "width=2", "maps=4", "dropout=0.3"): 3,
}


@pytest.mark.usefixtures("captured")
@pytest.mark.parametrize("options", GRAPHS, ids=" ".join)
def test_each_phase_is_one_graph(options: tuple[str, ...], tmp_path: Path, train: Train) -> None:
    variant, *assignments = options
    for on in (False, True):
        flags = {"variant": variant, "batch": 16, "steps": 5, "precision": "fp64", "compile": on}
        train(*assignments, **flags, out=tmp_path / str(on))
    assert counters["stats"]["unique_graphs"] == GRAPHS[options]
    assert not counters["graph_break"]
    assert not counters["recompiles"]
    assert difference(weights(tmp_path / "False"), weights(tmp_path / "True")) < 1e-9


@pytest.mark.slow
@pytest.mark.usefixtures("captured")
def test_a_compiled_run_resumes_exactly(tmp_path: Path, train: Train) -> None:
    flags = {"variant": "acgan", "batch": 16, "compile": True, "checkpoint_every": 0.032}
    options = ("width=2", "maps=4", "dropout=0.3")
    train(*options, **flags, steps=4, out=tmp_path / "straight")
    for steps in (2, 4):
        train(*options, **flags, steps=steps, out=tmp_path / "resumed")
    assert difference(weights(tmp_path / "straight"), weights(tmp_path / "resumed")) == 0


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("wgan", "width=4", "penalty=gradient"), "the loss of phase 'critic'"),
        (("dcgan", "width=4", "r1=1", "discriminator_norm=none"), "the loss of phase 'discriminator'"),
    ],
    ids=["wgan-gp", "r1"],
)
@pytest.mark.usefixtures("captured")
def test_what_is_not_one_graph_is_refused_by_name(
    options: tuple[str, ...], what: str, tmp_path: Path, train: Train
) -> None:
    variant, *assignments = options
    with pytest.raises(UserError, match=f"compile: {what} cannot be one graph"):
        train(*assignments, variant=variant, batch=16, steps=2, compile=True, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("options", [("acgan", "width=2", "maps=4"), ("dcgan", "width=4")], ids=" ".join)
def test_what_is_translated_to_cpp_trains_alike(options: tuple[str, ...], tmp_path: Path, train: Train) -> None:
    variant, *assignments = options
    for on in (False, True):
        flags = {"variant": variant, "batch": 16, "steps": 5, "precision": "fp64", "compile": on}
        train(*assignments, **flags, out=tmp_path / str(on))
    assert not counters["recompiles"]
    assert difference(weights(tmp_path / "False"), weights(tmp_path / "True")) < 1e-9
