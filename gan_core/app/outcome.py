"""What a training says of its evaluations and at its end: metrics, where everything is, and what to type next."""

import shlex

from rich.console import Console
from rich.text import Text

from gan_core.console import printable
from gan_core.evaluation.evaluation import Evaluation
from gan_core.evaluation.titles import TITLES
from gan_core.observers.history import Measured
from gan_core.observers.live import clock
from gan_core.runs.folder import RunFolder
from gan_core.runs.goal import HIGHER, LOWER
from gan_core.training.loop import Status


def measured(evaluation: Evaluation) -> list[Measured]:
    """Returns the scalar metrics of an evaluation in the order of tables, each with its floor."""
    floors = evaluation.floor.measured
    return [
        Measured(
            title=title,
            value=metric.value,
            floor=floor.value if (floor := floors.get(name)) and not isinstance(floor.value, list) else None,
            direction=-1 if name in LOWER else 1 if name in HIGHER else 0,
        )
        for name, title in TITLES.items()
        if (metric := evaluation.fakes.measured.get(name)) is not None and not isinstance(metric.value, list)
    ]


def print_outcome(
    console: Console, status: Status, images_seen: int, folder: RunFolder, *, seconds: float, first_seen: int
) -> None:
    """Prints how a run ended, the time that this start took, where everything is, and the next commands.

    Args:
        console: Where to print.
        status: How it ended.
        images_seen: Images seen.
        folder: The run's folder.
        seconds: The time of this start.
        first_seen: Images seen when it started.
    """
    seen, root = f"{images_seen / 1000:g} kimg", shlex.quote(str(folder.root))
    if status == "interrupted":
        console.print(f"interrupted at {seen}, saved. Run the same command to resume.", soft_wrap=True)
    else:
        console.print(f"finished at {seen}: {folder.samples / f'{images_seen:09d}.png'}", soft_wrap=True)
    before = f" from {first_seen / 1000:g} kimg on" if first_seen else ""
    rows = {
        "time": f"{clock(seconds)}{before}",
        "weights": str(folder.checkpoints / f"{images_seen:09d}"),
        "log": str(folder.metrics),
    }
    for key, value in rows.items():
        console.print(Text.assemble((f"{key:<7}", "bold"), "  ", printable(value)), soft_wrap=True)
    console.print(Text("next", style="bold"))
    sample = f"sample {root} --out {shlex.quote(str(folder.root / 'grid.png'))}"
    for words in (sample, f"evaluate {root}", f"report {root}"):
        console.print(Text(printable(f"  python -m gan_core {words}")), soft_wrap=True)
