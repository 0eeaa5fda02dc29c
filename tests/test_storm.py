"""The storm: random faults, each followed by the same command.

Then either the run equals the undisturbed one bit for bit, or one clear error was printed, nothing that is good has
changed, and when the fault is mended the same command ends like the undisturbed run. A short form in the default suite;
100 faults in `make test-faults`. The environment variable GAN_CORE_STORM_SEED chooses them, and is printed with the
count of each kind; GAN_CORE_STORM_ONLY=NAME takes three of one kind.
"""

import os
import random
import re
import secrets
import shutil
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import pytest

from gan_core.app.load import load_run
from gan_core.errors import UserError
from gan_core.runs.listing import list_runs
from tests.faults import KINDS, Kind
from tests.faults.compare import assert_nothing_is_lost, put_back
from tests.faults.scene import HALF, KEPT, STEPS, Scene, begin, content, do, lines, one_error, result, train, wait_until

VARIANTS = sorted(KEPT)
_NOISE = re.compile(r"nanobind| - |See https|\w+  ")
"""Lines that are left out of what is shown of a command that failed."""


class Undisturbed:
    """Runs without faults, each trained when it is first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.whole = cache(self._whole)
        self.half = cache(self._half)

    def _whole(self, variant: str, processes: int | None) -> dict[str, object]:
        run = self.root / f"{variant}-{processes or 1}"
        done = do(train(variant, run), processes)
        assert done.returncode == 0, done.stderr
        return result(run)

    def _half(self, variant: str, processes: int | None, seed: int = 0) -> Path:
        """Returns a run that was killed half-way."""
        run = self.root / f"{variant}-{processes or 1}-half-{seed}"
        process = begin(train(variant, run, "--seed", seed), processes)
        log = run / "metrics.jsonl"
        assert wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") >= HALF, process)
        process.kill()
        process.communicate()
        assert len(lines(run)) < STEPS
        return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("undisturbed"))


def chosen(count: int, chance: random.Random) -> list[Kind]:
    """Returns so many kinds in random order.

    Few are taken from all groups in turn; many are all of them once, and the others of those that take no seconds.
    """
    often = [kind for kind in KINDS if not kind.rare]
    if count >= len(KINDS):
        kinds = KINDS + chance.choices(often, k=count - len(KINDS))
    else:
        groups = sorted({kind.group for kind in often})
        decks = {name: [kind for kind in often if kind.group == name] for name in groups}
        for deck in decks.values():
            chance.shuffle(deck)
        kinds = [decks[groups[at % len(groups)]].pop() for at in range(count)]
    return chance.sample(kinds, len(kinds))


def weather(kind: Kind, undisturbed: Undisturbed, folder: Path, chance: random.Random) -> str:
    """Disturbs a run, repeats its command, and checks what is promised; returns "equal" or "error"."""
    variant, processes = chance.choice(VARIANTS), chance.choice(kind.processes)
    other = VARIANTS[1 - VARIANTS.index(variant)]
    half = undisturbed.half(variant, processes)
    run = folder / "run"
    shutil.copytree(half, run)
    scene = Scene(
        run=run,
        words=train(variant, run),
        variant=variant,
        processes=processes,
        other=partial(undisturbed.half, other, None),
        twin=partial(undisturbed.half, variant, None, 1),
        chance=chance,
    )
    try:
        kind.act(scene)
        return _after(scene, kind, undisturbed.whole(variant, processes), half)
    finally:
        for leave in (*reversed(scene.undo), *reversed(scene.leave)):
            leave()


def _after(scene: Scene, kind: Kind, expected: dict[str, object], half: Path) -> str:
    disturbed = content(scene.run) if scene.run.exists() else {}
    beside = [content(folder) for folder in scene.beside]
    _read(scene.run)
    done = do(scene.words, scene.processes)
    output = done.stdout + done.stderr
    try:
        assert "Traceback" not in output
        outcome = "equal" if done.returncode == 0 else "error"
        if outcome == "error":
            error = one_error(done.returncode, output)
            if str(scene.run) not in error + output[output.index(error) :]:
                pytest.fail("the error names no file")
        assert_nothing_is_lost(disturbed, scene.run, variant=scene.variant, refused=done.returncode == 2)
        if kind.promise not in ("either", outcome):
            pytest.fail(f"{outcome}, but promised is {kind.promise}")
        if outcome == "error":
            while scene.undo:
                scene.undo.pop()()
            if kind.group != "processes":
                put_back(scene.run, content(half), disturbed, half)
            again = do(scene.words, scene.processes)
            output += "\n--- after the fault was mended ---\n" + again.stdout + again.stderr
            assert again.returncode == 0, "the mended run does not go on"
        found = result(scene.run)
        for what, value in expected.items():
            if found[what] != value:
                pytest.fail(f"other {what} than those of the undisturbed run")
        assert [content(folder) for folder in scene.beside] == beside
    except (Exception, pytest.fail.Exception) as error:
        output = "".join(line for line in output.splitlines(keepends=True) if not _NOISE.match(line))
        error.add_note(f"variant {scene.variant}, processes {scene.processes}\n{output}")
        raise
    return outcome


def _read(run: Path) -> None:
    """What reads a run while it is disturbed ends with its result or with one error."""
    list_runs(run.parent)
    with suppress(UserError):
        load_run(run, 0)


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_after_a_fault_the_run_goes_on_or_one_error_is_printed(
    count: int, undisturbed: Undisturbed, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    given = os.environ.get("GAN_CORE_STORM_SEED")
    seed = int(given) if given else 4 if count < len(KINDS) else secrets.randbelow(10**6)
    only = os.environ.get("GAN_CORE_STORM_ONLY")
    kinds = [k for k in KINDS if only in k.name] * 3 if only else chosen(count, random.Random(seed))
    outcomes: Counter[tuple[str, str]] = Counter()
    failures = []
    for number, kind in enumerate(kinds):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            outcome = weather(kind, undisturbed, folder, random.Random(f"{seed} {number}"))
        except pytest.skip.Exception as reason:
            outcome = f"skipped: {reason}"
        except (Exception, pytest.fail.Exception) as error:
            outcome = "FAILED"
            text = "".join(traceback.format_exception(error, limit=-2))
            failures.append(f"fault {number}, {kind.name}:\n{text}")
        else:
            shutil.rmtree(folder)
        outcomes[kind.name, outcome] += 1
    rows = [f"{count:4}  {name:38} {outcome}" for (name, outcome), count in sorted(outcomes.items())]
    table = "\n".join([f"storm: {len(kinds)} faults of {len({k.name for k in kinds})} kinds, seed {seed}", *rows])
    record_property("table", table)
    assert not failures, table + "\n\n" + "\n\n".join(failures)
