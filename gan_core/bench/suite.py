"""The rows of the README's table of speeds: networks that people know, and tiny ones, against plain loops."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gan_core.app.job import Job, check_job, make_job
from gan_core.bench.measure import Contender, Told, compared, images_per_second, parts, spread
from gan_core.errors import UserError
from gan_core.settings.resolve import resolve


@dataclass(frozen=True)
class Row:
    """One row: settings, and the plain loops with which they are compared."""

    name: str
    config: str | None = None
    flags: dict[str, object] = field(default_factory=dict)
    assignments: tuple[str, ...] = ()
    against: tuple[str, ...] = ("plain",)

    def job(self, flags: dict[str, object]) -> Job:
        """Returns the row's job, with settings of this machine.

        Raises:
            UserError: The file of settings is not there: it is part of a checkout.
        """
        path = None if self.config is None else Path(self.config)
        if path is not None and not path.exists():
            raise UserError(f"suite: {self.config!r} is not here. Run it in a checkout of the project")
        job = make_job(resolve(self.flags | flags, self.assignments, path))
        check_job(job, 1, ())
        return job


_TINY: dict[str, Any] = {"dataset": "digits", "batch": 16, "threads": 1}
_BOTH = ("plain", "tensor")
ROWS = (
    Row("tutorial-acgan-mnist", config="configs/tutorial-acgan-mnist.yaml"),
    Row("tutorial-dcgan-fashion", config="configs/tutorial-dcgan-fashion.yaml"),
    Row("vanilla of width 32", flags={"variant": "vanilla", **_TINY}, assignments=("width=32",), against=_BOTH),
    Row("dcgan of width 4", flags={"variant": "dcgan", **_TINY}, assignments=("width=4",), against=_BOTH),
)


def suite(flags: dict[str, object], *, rounds: int, seconds: float, told: Told) -> list[dict[str, Any]]:
    """Measures every row; `flags` are settings of this machine, such as `data_dir`. See `bench` for the others."""
    found = []
    for row, job in [(row, row.job(flags)) for row in ROWS]:
        _, window = parts(job, seconds)
        contenders = {"training": Contender(job)} | {name: Contender(job, name) for name in row.against}
        mine, others = compared(contenders, window, rounds, partial(_tell, told, row.name))
        rate = spread(list(map(images_per_second, mine)))
        found.append({"name": row.name, "batch": job.settings.batch, "images_per_second": rate, "against": others})
    return found


def _tell(told: Told, name: str, text: str) -> None:
    told(f"{name}, {text}")
