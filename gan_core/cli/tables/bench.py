"""What `gan_core bench` prints."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

_LOOPS = {"plain": "the plain loop with its DataLoader", "tensor": "the plain loop over images in a tensor"}


def print_bench(result: dict[str, Any], console: Console) -> None:
    """Prints the result of `gan_core.bench.measure.bench`."""
    rows = [
        ("images/s", _range(result["images_per_second"], "{:,.0f}")),
        ("ms a step", f"{result['ms_per_step']:.3g}"),
        ("s a kimg", f"{result['seconds_per_kimg']:.3g}"),
        ("peak memory", f"{result['peak_memory'] / 2**20:,.0f} MiB"),
        ("FLOP a step", f"{result['flop_per_step'] / 1e9:.3g} G, {_speed(result['flop_per_second'])}"),
        *(
            (f"peak of a {name}", f"{_speed(result['peak'][name])}, of which training reaches {share:.0%}")
            for name, share in result["share_of_peak"].items()
        ),
        *((f"share of {name}", f"{share:.1%}") for name, share in result["parts"].items()),
        ("at the default cadence", _cadence(result["default_cadence"])),
        ("start-up", _start_up(result)),
        *((f"against {_LOOPS[name]}", _ratio(other)) for name, other in result["against"].items()),
        *(_scaling(result["scaling"]) if "scaling" in result else ()),
    ]  # fmt: skip
    console.print(
        f"{result['variant']} on {result['data']}: {result['device']}, {result['threads']} threads, "
        f"{result['rounds']} rounds of 2 x {result['window']} steps"
    )
    _print(("", ""), rows, console)


def print_suite(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Prints the result of `gan_core.bench.suite.suite`."""
    lines = [
        (
            row["name"],
            str(row["batch"]),
            _range(row["images_per_second"], "{:,.0f}"),
            *(_ratio(row["against"][name]) if name in row["against"] else "" for name in _LOOPS),
        )
        for row in rows
    ]
    _print(("", "batch", "images/s", *(f"of {text}" for text in _LOOPS.values())), lines, console)


def _scaling(found: dict[str, Any]) -> list[tuple[str, str]]:
    each, processes = found["threads_each"], found["processes"]
    carried, least = found["bytes_per_step"], found["least_bytes_per_step"]
    return [
        (
            f"{processes} processes x {each} threads",
            f"{_range(found['images_per_second'], '{:,.0f}')} images/s, {_ratio(found['against_one_process'])} of "
            f"1 x {each * processes}",
        ),
        (
            "between processes",
            f"{carried / 1e6:.3g} MB a step in {found['collectives_per_step']:.3g} collectives, {carried / least:.2f} "
            f"of the least (gradients {found['gradient_bytes'] / 1e6:.3g} MB, statistics of batch normalisation "
            f"{found['statistics_bytes'] / 1e6:.3g} MB)",
        ),
    ]


def _start_up(result: dict[str, Any]) -> str:
    seconds = _range(result["start_up"], "{:.2f}")
    imports = result["imports"]["median"]
    return f"{seconds} s to the end of the first step, beyond {imports:.2f} s of importing the libraries"


def _cadence(shares: dict[str, float]) -> str:
    named = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    return f"{sum(shares.values()):.1%} on top of the bare steps: {named}"


def _ratio(one: dict[str, float]) -> str:
    return f"{one['ratio']:.2f}x [{one['lowest']:.2f}-{one['highest']:.2f}]"


def _range(values: dict[str, float], form: str) -> str:
    return f"{form.format(values['median'])} [{form.format(values['lowest'])}-{form.format(values['highest'])}]"


def _speed(operations: float) -> str:
    return f"{operations / 1e9:,.1f} GFLOP/s"


def _print(header: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(header))
    for title in header:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
