"""What `gan_core bench` measures, put together: each contender in processes of its own, which take turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from gan_core.app.job import Job
from gan_core.bench.processes import ask
from gan_core.bench.startup import start_up
from gan_core.cores import threads_of_process
from gan_core.errors import UserError

Told = Callable[[str], object]
"""Is called with what is measured next."""

_FEWEST, _MOST, _PROBE = 4, 20_000, 8


@dataclass(frozen=True)
class Contender:
    """Something whose rate is measured: a kind of process, and how many of them work together."""

    job: Job
    kind: str = "training"
    processes: int = 1


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns the median, the lowest and the highest of some values."""
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def parts(job: Job, seconds: float, processes: int = 1) -> tuple[dict[str, Any], int]:
    """Returns the parts of a step, and how many steps take about so many seconds."""
    found = ask(job, "parts", window=_PROBE, processes=processes)
    window = min(_MOST, max(_FEWEST, round(seconds / found["step"])))
    if window > 4 * _PROBE:
        found = ask(job, "parts", window=window, processes=processes)
    return found, window


def rates(contenders: dict[str, Contender], window: int, rounds: int, told: Told) -> dict[str, list[dict[str, Any]]]:
    """Measures all contenders once in each round, in turn; every second round in the reverse order."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for number in range(rounds):
        names = list(contenders)
        for name in names if number % 2 == 0 else reversed(names):
            told(f"round {number + 1} of {rounds}: {name}")
            one = contenders[name]
            found[name].append(ask(one.job, one.kind, window=window, processes=one.processes))
    return found


def images_per_second(one: dict[str, Any]) -> float:
    """Returns the rate of one process, with its share of log points, grids and checkpoints."""
    step = one["step"] + sum(one.get(key, 0.0) for key in ("logging", "sampling", "checkpoints"))
    return float(one["step_images"] / step)


def ratio(mine: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Returns the ratio of the median rates, and the lowest and highest ratio in one round."""
    a, b = ([images_per_second(one) for one in each] for each in (mine, other))
    single = [x / y for x, y in zip(a, b, strict=True)]
    return {"ratio": median(a) / median(b), "lowest": min(single), "highest": max(single)}


def compared(
    contenders: dict[str, Contender], window: int, rounds: int, told: Told
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns what the first contender measured, and for each other one its rate and its ratio to the first."""
    found = rates(contenders, window, rounds, told)
    mine = found.pop(next(iter(contenders)))
    others = {
        name: {"images_per_second": spread(list(map(images_per_second, other))), **ratio(mine, other)}
        | {"peak_memory": max(one["peak_memory"] for one in other)}
        for name, other in found.items()
    }
    return mine, others


def bench(
    job: Job, *, rounds: int, seconds: float, against: Sequence[str], processes: int, told: Told
) -> dict[str, Any]:
    """Measures training, and what it is compared with.

    Args:
        job: What to train.
        rounds: How often each contender is measured.
        seconds: About how long a window of steps takes; a process takes three, of which two count.
        against: "plain" or "tensor": the plain loops to compare with.
        processes: If greater than 1, also compares this many processes with one, on the same number of cores.
        told: Is called with what is measured next.

    Raises:
        UserError: The plain loop has no such setting, or there are fewer threads than processes.
    """
    if against:
        check_plain(job)
    _threads_each(job, processes)
    told("parts of a step")
    profile, window = parts(job, seconds)
    contenders = {"training": Contender(job)} | {name: Contender(job, name) for name in against}
    mine, others = compared(contenders, window, rounds, told)
    starts = []
    for number in range(rounds):
        told(f"start-up {number + 1} of {rounds}")
        starts.append(start_up(job))
    result = described(mine, profile) | {"against": others}
    result["start_up"] = spread([first - imports for first, imports in starts])
    result["imports"] = spread([imports for _, imports in starts])
    if processes > 1:
        result["scaling"] = scaling(job, processes, window, rounds, told)
    return {"variant": job.settings.variant, "data": job.settings.dataset, "rounds": rounds, "window": window, **result}


def described(mine: Sequence[dict[str, Any]], profile: dict[str, Any]) -> dict[str, Any]:
    """Returns the figures of training by name, from the answers of its processes."""
    rate = spread(list(map(images_per_second, mine)))
    step = median(one["step"] for one in mine)
    shares = profile["shares"]
    periodic = {key: median(one[key] for one in mine) / step for key in ("logging", "sampling", "checkpoints")}
    every_step = {key: shares.get(key, 0.0) for key in ("averages", "bookkeeping")}
    bare = 1.0 - sum(every_step.values())
    speed = profile["flop"] / step
    return {
        "device": profile["device"],
        "threads": profile["threads"],
        "images_per_second": rate,
        "ms_per_step": 1000 * mine[0]["step_images"] / rate["median"],
        "seconds_per_kimg": 1000 / rate["median"],
        "peak_memory": max(one["peak_memory"] for one in mine),
        "parts": shares,
        "default_cadence": {key: value / bare for key, value in (every_step | periodic).items()},
        "flop_per_step": profile["flop"],
        "flop_per_second": speed,
        "peak": profile["peak"],
        "share_of_peak": {name: speed / value for name, value in profile["peak"].items()},
    }


def scaling(job: Job, processes: int, window: int, rounds: int, told: Told) -> dict[str, Any]:
    """Compares several processes with one that has as many threads as all of them together, at equal global batch."""
    each = _threads_each(job, processes)
    one = Contender(_with_threads(job, each * processes))
    several = Contender(_with_threads(job, each), processes=processes)
    names = (f"{processes} x {each} threads", f"1 x {each * processes} threads")
    mine, others = compared(dict(zip(names, (several, one), strict=True)), window, rounds, told)
    told("bytes between processes")
    traffic = ask(several.job, "parts", window=_PROBE, processes=processes)
    least = traffic["gradients"] + traffic["statistics"]
    return {
        "processes": processes,
        "threads_each": each,
        "images_per_second": spread(list(map(images_per_second, mine))),
        "against_one_process": others[names[1]],
        "collectives_per_step": traffic["collectives"],
        "bytes_per_step": traffic["bytes"],
        "least_bytes_per_step": least,
        "gradient_bytes": traffic["gradients"],
        "statistics_bytes": traffic["statistics"],
    }


def _threads_each(job: Job, processes: int) -> int:
    """Returns the threads of each of several processes that together have those of one."""
    total = threads_of_process(job.settings.threads)
    if total < processes:
        raise UserError(f"processes: {processes} is not allowed with {total} threads in all: use at most {total}")
    return total // processes


def _with_threads(job: Job, threads: int) -> Job:
    return replace(job, settings=job.settings.model_copy(update={"threads": threads}))


def check_plain(job: Job) -> None:
    """Checks that the plain loops can play the game with these settings.

    Raises:
        UserError: They have no such setting, or the data set is smaller than a batch.
    """
    allowed = {"accumulate": (1,), "mirror": (False,), "clip_norm": (None,), "precision": ("fp32", "fp64")}
    for key, values in allowed.items():
        if (value := getattr(job.settings, key)) not in values:
            names = " or ".join(map(repr, values))
            raise UserError(f"{key}: {value!r} is not allowed with --against: the plain loops have only {names}")
    for name, table in job.dataset.spec.tables.items():
        if table.count < job.settings.batch:
            raise UserError(
                f"batch: {job.settings.batch} is not allowed with --against: the table {name!r} has only "
                f"{table.count} rows"
            )
