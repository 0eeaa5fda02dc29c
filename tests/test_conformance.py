"""The conformance kit over every variant installed, whoever wrote it, and the kit itself over variants that fail it."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from gan_core.plugins.find import find_plugins
from gan_core.testing import Check, checks_of, parametrize_with_checks
from gan_core.testing.runs import Run
from tests.conftest import ROOT, difference, gan_core, weights
from tests.test_plugin_loading import install

# The first-party plugins run the kit in tests of their own, which are part of this suite.
STRANGERS = [p.full_name for p in find_plugins() if not (ROOT / "plugins" / p.distribution).is_dir()]


@parametrize_with_checks(*STRANGERS)
def test_conformance_of_strangers(check: Check) -> None:
    check()


def test_every_first_party_plugin_runs_the_kit_without_exceptions() -> None:
    for folder in (ROOT / "plugins").glob("gan-core-*"):
        text = (folder / "tests" / "test_conformance.py").read_text()
        kit = "dataset_checks" if "gan_core.datasets" in (folder / "pyproject.toml").read_text() else "checks"
        assert f'@parametrize_with_{kit}("{folder.name.removeprefix("gan-core-")}")' in text


GOOD = """
import torch
from torch import nn
import numpy as np
from gan_core import *
{before}
class O(Options):
    width: int = 3
    {doc}
class G(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.layer = nn.Linear(5, shape[0] * shape[1] * shape[2]); self.shape = shape; {in_g}
    def forward(self, z):
        return {image}
class D(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.layer = nn.Linear(shape[0] * shape[1] * shape[2], 1)
    def forward(self, x):
        return self.layer(x.flatten(1)){d_out}
class L:
    def discriminator(self, D, real, fake):
        return {{"real": -D(real).mean(), "fake": D(fake).mean(){term}}}
    def generator(self, D, real, fake):
        return {{"adversarial": -D(fake).mean()}}
def build(options, data):
    {in_build}
    shape = (data.channels, data.image_size, data.image_size)
    game = two_player(generator=G(shape), discriminator=D(shape), loss=L(), draw={draw},
        generator_optimizer={optimizer}, discriminator_optimizer=adam(1e-3))
    {at_end}
    return game
variant = Variant(api=2, options=O, build=build{hint})
"""

PLAIN = {
    "before": "",
    "doc": '"""Does nothing."""',
    "in_g": "",
    "image": "self.layer(z).tanh().view(-1, *self.shape)",
    "d_out": "",
    "term": "",
    "in_build": "",
    "draw": "normal_latents(5)",
    "optimizer": "adam(1e-3)",
    "at_end": "",
    "hint": "",
}

COUNTER = """
class Counted:
    def __init__(self):
        self.n = 0
    def __call__(self, networks, batch):
        self.n += 1
        return {"adversarial": -self.n * networks["discriminator"](networks["generator"](**batch.inputs)).mean()}
"""
"""The 50 latest images of this process, and the sum of those swapped out of it."""
POOL = """
class Pool:
    def __init__(self):
        self.images, self.weight = [], 1.0
    def __call__(self, networks, batch):
        fake = networks["generator"](**batch.inputs)
        self.images += list(fake.detach())
        if len(self.images) > 50:
            self.weight += float(self.images[0].abs().sum())
            self.images = self.images[-50:]
        return {"adversarial": -self.weight * networks["discriminator"](fake).mean()}
    def state_dict(self): return {"images": list(self.images), "weight": self.weight}
    def load_state_dict(self, state): self.images, self.weight = list(state["images"]), state["weight"]
"""
REPLACE = """
    import dataclasses
    game = dataclasses.replace(game, {changes})
"""
PHASE = "phases=[*game.phases, Phase(name='more', trains=('generator',), {phase})]"


def _changed(changes: str) -> dict[str, str]:
    return {"at_end": REPLACE.format(changes=changes)}


BAD_STATE = """
class Forgetful(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("n", torch.zeros(()))
    def state_dict(self): return {"n": torch.rand(())}
    def load_state_dict(self, state): self.n.copy_(state["n"])
"""

FAULTS = [
    ("documents_its_options", {"doc": ""}, "these options have no docstring below them: width"),
    ("imports_quietly", {"before": "torch.rand(1)"}, "importing it draws random numbers"),
    ("draws_images", {"image": "3 * self.layer(z).view(-1, *self.shape) + 2"}, "beyond [-1, 1]"),
    (  # Odd sizes are accepted, and images of the next even size are drawn.
        "draws_images",
        {"image": "self.layer(z).tanh().view(-1, *self.shape)[..., : self.shape[-1] // 2 * 2]"},
        "images have the shape (1, 1, 5, 4) instead of (1, 1, 5, 5)",
    ),
    (
        "draws_by_the_given_generator",
        {"draw": "lambda random, request: {'z': torch.randn(request.count, 5)}"},
        "the input 'z' differs between two generators of one seed",
    ),
    (
        "draws_by_the_given_generator",
        {
            "before": "def draw(random, request):\n    z = normal_latents(5)(random, request)['z']\n"
            "    return {'z': torch.randn(request.count, 5) if request.given else z}",
            "draw": "draw",
            **_changed("outputs={'images': generated(given=('labels',))}"),
        },
        "the input 'z' differs between two generators of one seed",
    ),
    (
        "trains_on_the_smallest_images",
        {"d_out": " * torch.ones(1 if x.shape[-1] % 2 == 0 else len(x) + 1, 1)"},
        "images of 5 pixels are accepted, but RuntimeError",
    ),
    (
        "trains_with_two_classes",
        {"in_build": "assert data.classes in (0, 10), f'{data.classes} classes'"},
        "2 classes",
    ),
    ("learns_what_it_names", {"in_g": "self.idle = nn.Linear(2, 2)"}, "generator.idle.weight, generator.idle.bias"),
    (
        "learns_what_it_names",
        {"optimizer": "lambda parameters: torch.optim.SGD([*parameters][:1], lr=0.1)"},
        "the optimizer of phase 'generator' has generator.layer.bias 0 times",
    ),
    ("needs_labels_only_if_declared", {"in_build": "assert data.classes, 'labels please'"}, "labels please"),
    (
        "builds_the_same_twice",
        {"in_g": "nn.init.constant_(self.layer.bias, np.random.rand())"},
        "initial weights of generator",
    ),
    (
        "returns_its_state",
        {"before": BAD_STATE, **_changed("state={'memory': Forgetful()}")},
        "state of memory differ: n",
    ),
    (
        "returns_its_state",
        _changed("phases=[dataclasses.replace(p, after=lambda networks, terms, batch: 1 / 0) for p in game.phases]"),
        "division by zero",
    ),
    ("trains_the_same_anywhere", {"term": ', "batch": D(real).mean() ** 2'}, "two processes differ from one by"),
    (  # It counts past the resume, although its second update comes late.
        "trains_the_same_anywhere",
        {
            "before": COUNTER,
            **_changed(PHASE.format(phase="loss=Counted(), optimizer=adam(1e-3), every=16")),
        },
        "an uninterrupted and a resumed run differ",
    ),
    (
        "trains_the_same_anywhere",
        {
            "before": POOL + "\npool = Pool()\n",
            **_changed("state={'pool': pool}, " + PHASE.format(phase="loss=pool, optimizer=adam(1e-3)")),
        },
        "state-pool differs between the processes",
    ),
    (  # It is complete after a resume only where the process is the same.
        "trains_the_same_anywhere",
        {
            "before": POOL + "\npool = Pool()\n",
            **_changed(PHASE.format(phase="loss=pool, optimizer=adam(1e-3)")),
        },
        "an uninterrupted and a resumed run differ",
    ),
]


def test_a_good_plugin_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, distribution="good-gan", name="good", code=GOOD.format(**PLAIN))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for check in checks_of("good"):
        check()


@pytest.mark.parametrize(("name", "fault", "message"), FAULTS)
def test_a_fault_is_caught_by_the_check_that_looks_for_it(
    name: str, fault: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution = f"faulty-{uuid4().hex}"  # Modules stay imported.
    install(tmp_path, distribution=distribution, name=distribution, code=GOOD.format(**(PLAIN | fault)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises((AssertionError, ZeroDivisionError)) as error:
        Check(distribution, name)()
    assert message in str(error.value)


def test_networks_that_share_modules_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = "game.networks['discriminator'].head = game.networks['generator'].layer"
    loss = "lambda networks, batch: {'norm': networks['discriminator'].head.weight.square().mean()}"
    phase = "name='both', trains=('generator', 'discriminator'), optimizer=adam(1e-3)"
    code = GOOD.format(
        **PLAIN
        | {"at_end": f"{shared}\n" + REPLACE.format(changes=f"phases=[*game.phases, Phase({phase}, loss={loss})]")}
    )
    install(tmp_path, distribution="sharing-gan", name="sharing", code=code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for check in checks_of("sharing"):
        if check.name != "learns_what_it_names":
            check()


def test_checks_use_small_networks_and_options_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = GOOD.format(**PLAIN | {"hint": ", small={'width': 7}", "in_build": "print('width', options.width)"})
    install(tmp_path, distribution="small-gan", name="small", code=code)
    monkeypatch.syspath_prepend(tmp_path)
    Check("small", "draws_images")()
    assert "width 7" in capsys.readouterr().out
    environment = {"PYTHONPATH": str(tmp_path)}
    assert "width 9" in gan_core("check", "small", "--set", "width=9", **environment)
    assert "widht: no such option of small. Did you mean 'width'?" in gan_core(
        "check", "small", "--set", "widht=9", expect=2, **environment
    )


def test_a_game_in_the_order_of_a_set_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has an order of its own for the same set."""
    letters = "for letter in set('abcdefghij'): self.register_buffer(letter, torch.rand(1))"
    install(
        tmp_path, distribution="set-gan", name="set", code=GOOD.format(**(PLAIN | {"in_g": f"\n        {letters}"}))
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(AssertionError, match="initial weights of generator, made in another process, "):
        Check("set", "trains_the_same_anywhere")()


def test_check_prints_a_line_for_each_property_and_fails_where_one_does(tmp_path: Path) -> None:
    code = GOOD.format(**(PLAIN | {"doc": ""}))
    install(tmp_path, distribution="faulty-gan", name="faulty", code=code, requires=())
    output = gan_core("check", "faulty", expect=1, PYTHONPATH=str(tmp_path))
    lines = output.splitlines()
    assert len([line for line in lines if line.startswith(("ok  ", "FAIL"))]) == len(list(checks_of("x")))
    assert [line.split(":")[0] for line in lines if line.startswith("FAIL")] == [
        "FAIL  declares_its_bound",
        "FAIL  documents_its_options",
    ]
    assert lines[-1] == "2 properties do not hold."


@pytest.mark.slow
def test_processes_that_are_not_forked_train_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the platform is not Linux, the kit starts programs instead."""
    forked, started = tmp_path / "forked", tmp_path / "started"
    subprocess.run(Run("dcgan", "16", "1", '{"width": 4}', str(forked), "2@2", None).command(), check=True)
    monkeypatch.setattr(sys, "platform", "darwin")
    Run("dcgan", "16", "1", '{"width": 4}', str(started), "2", 2).launch()
    assert difference(weights(forked), weights(started)) == 0.0
    with pytest.raises(SystemExit, match="one of 2 processes failed"):
        Run("dcgan", "16", "1", '{"width": ""}', str(tmp_path / "bad"), "2", 2).launch()


def test_expected_failures_must_name_a_check() -> None:
    with pytest.raises(ValueError, match="no such checks: nonsense"):
        parametrize_with_checks("dcgan", expected_failures={"nonsense": "because"})
    mark = parametrize_with_checks("dcgan", expected_failures={"draws_images": "because"})
    marks = {parameter.id: parameter.marks for parameter in mark.args[1]}
    assert [m.kwargs for m in marks["dcgan-draws_images"]] == [{"reason": "because", "strict": True}]


def test_a_new_plugin_installs_trains_and_passes_its_own_test(tmp_path: Path) -> None:
    gan_core("new", "my-first", "--dir", tmp_path)
    made = tmp_path / "gan-core-my-first"
    assert sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()) == [
        "README.md",
        "gan_core_my_first.py",
        "pyproject.toml",
        "tests/test_conformance.py",
    ]
    texts = {path.name: path.read_text() for path in made.rglob("*") if path.is_file()}
    for word in ("vanilla", "original gan", "goodfellow"):
        assert not any(word in text.lower() for text in texts.values())
    # The author is told where to describe the plugin, and no description stands anywhere else.
    places = {name: [line.strip() for line in text.splitlines() if "EDIT" in line] for name, text in texts.items()}
    assert [line.partition("EDIT")[0] for line in places["gan_core_my_first.py"]] == ['"""', 'paper="']
    assert [line.partition("EDIT")[0] for line in places["pyproject.toml"]] == ['description = "']
    assert places["README.md"] == ["EDIT: say here what this GAN is."]
    site = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
    ]
    subprocess.run([*pip, str(made)], check=True)
    path = {"PYTHONPATH": str(site)}
    rows = {row["name"]: row for row in json.loads(gan_core("list", "--json", **path))}
    assert rows["my-first"]["status"] == "ok"
    run = tmp_path / "run"
    assert "finished" in gan_core("train", "--variant", "my-first", "--steps", 2, "--out", run, **path)
    gan_core("sample", run, "--count", 4, "--out", tmp_path / "a.png", **path)
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    subprocess.run(test, cwd=made, env={"PATH": "/usr/bin:/bin", **path}, check=True, timeout=120)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dcgan", "name: 'dcgan' is taken by gan-core-dcgan 0.1.0"),
        ("../up", "name: '../up' is not allowed. Use a-z, 0-9 and single dashes"),
        ("Upper", "is not allowed"),
        ("there", "exists already. Move it away"),
    ],
)
def test_a_new_plugin_s_name_and_place_must_be_free(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "gan-core-there").mkdir()
    assert message in gan_core("new", name, "--dir", tmp_path, expect=2)
