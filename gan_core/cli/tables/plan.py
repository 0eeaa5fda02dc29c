"""The plan of a run, printed before training."""

from collections.abc import Collection

import yaml
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text
from torch import nn

from gan_core.app.job import Job, check_evaluation, check_job
from gan_core.console import printable
from gan_core.data.dataset import Dataset
from gan_core.data.pixels import treatment
from gan_core.distributed.invariance import depends_on_processes, with_batchnorm
from gan_core.distributed.launcher import started_processes
from gan_core.game.data_spec import LabelField, Table
from gan_core.game.game import Game
from gan_core.game.variant import Options
from gan_core.settings.settings import Settings


def plan_rows(job: Job, game: Game, length: int) -> dict[str, str]:
    """Returns the rows of the plan: a label and its text."""
    settings, spec, plugin = job.settings, job.dataset.spec, job.loaded.plugin
    step_images = settings.batch * game.batches_per_step
    schedule = "" if settings.lr_schedule == "constant" else f", {settings.lr_schedule} learning rate decay"
    micro = "" if settings.accumulate == 1 else f" in {settings.accumulate} micro-batches"
    if micro and (normalised := with_batchnorm(game.networks)):
        micro += f", with separate batch statistics in {' and '.join(normalised)}"
    varies = depends_on_processes(game.networks, local_batchnorm=settings.batchnorm == "local")
    return {
        "variant": f"{plugin.name} ({plugin.distribution} {plugin.version}, {plugin.source})",
        "options": changed_options(job.options),
        "settings": _origins(job),
        "data": f"{spec.name}: " + "; ".join(_table(name, table) for name, table in spec.tables.items()),
        **_images(job.dataset, settings),
        "networks": ", ".join(f"{name} {parameters(network):,}" for name, network in game.networks.items())
        + " parameters",
        "phases": ", ".join(
            phase.name
            + (f" ({phase.repeats} updates)" if phase.repeats > 1 else "")
            + (f" (every {phase.every} steps)" if phase.every > 1 else "")
            + (f" (by the optimizer of {phase.optimizer})" if isinstance(phase.optimizer, str) else "")
            for phase in game.phases
        ),
        "precision": _precision(settings),
        "batch": f"{settings.batch}{micro}",
        "result": _result(game, varies),
        "length": f"{length / 1000:g} kimg = {length / spec.count:.4g} epochs = "
        f"{length // step_images:,} steps{schedule}",
        "folder": str(settings.folder),
    }


def _images(dataset: Dataset, settings: Settings) -> dict[str, str]:
    """Says where images are kept, and what is done with files that are no plain images of the right shape."""
    rows = {} if dataset.residency is None else {"images": str(dataset.residency)}
    if dataset.converted:
        rows["converted"] = ", ".join(treatment(dataset.converted, settings.background, settings.crop))
    if dataset.skipped:
        rows["skipped"] = f"{dataset.skipped:,} files: " + "; ".join(dataset.left_out)
    return rows


def _origins(job: Job) -> str:
    """Returns the settings whose value is not everyone's default, or was another in the variant, and their origins."""
    values = job.settings.model_dump()
    shown = {
        key: origin
        for key, origin in job.origins.items()
        if key in job.loaded.variant.defaults or values[key] != Settings.model_fields[key].default
    }
    named = ("variant", "dataset", "out")  # They have rows of their own.
    texts = {key: ",".join(value) if isinstance(value := values[key], tuple) else value for key in shown}
    return ", ".join(f"{key} {texts[key]} ({shown[key]})" for key in shown if key not in named) or "all defaults"


def _table(name: str, table: Table) -> str:
    """Describes a table: "60,000 images, 28 x 28 grey, 10 classes"."""
    parts = []
    for key, field in table.fields.items():
        if isinstance(field, LabelField):
            parts.append(f"{field.classes} classes")
        else:
            what = "" if key == "images" else f"{key}: "
            parts.append(f"{what}{field.width} x {field.height} {'grey' if field.channels == 1 else 'RGB'}")
    if "images" in table.fields and len(parts) == 1:
        parts.append("no labels")
    return f"{table.count:,} {'images' if len(table.fields) == 1 or 'images' in table.fields else name}, " + ", ".join(
        parts
    )


def _precision(settings: Settings) -> str:
    """Says how the networks are computed."""
    said: list[str] = [settings.precision]
    if settings.precision != "fp64":
        said.append("TF32 except in penalties" if settings.tf32 else "no TF32")
    if settings.deterministic:
        said.append("deterministic algorithms")
    if settings.compile:
        said.append("compiled")
    return ", ".join([*said, f"{settings.batchnorm} batch normalisation"])


def _result(game: Game, varies: list[str]) -> str:
    """Says what is known of the result on another number of processes."""
    if varies:
        return f"depends on the number of processes: {', '.join(varies)}"
    state = f", or from its own state ({', '.join(game.state)})" if game.state else ""
    return f"the same on any number of processes, unless a loss or network draws random numbers itself{state}"


def changed_options(options: Options) -> str:
    """Returns the options that differ from the variant's defaults."""
    changed = {
        name: value
        for name, value in options.model_dump().items()
        if value != type(options).model_fields[name].get_default(call_default_factory=True)
    }
    shown = (f"{name} {f'{len(v)} layers' if isinstance(v, list) else v}" for name, v in changed.items())
    return ", ".join(shown) or "the variant's defaults"


def print_plan(job: Job, game: Game, length: int, console: Console) -> None:
    """Prints the plan, in two columns: on a terminal folded to its width, elsewhere a line for each row."""
    rows = plan_rows(job, game, length)
    if console.is_terminal:
        table = RichTable.grid(padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for key, value in rows.items():
            table.add_row(key, printable(value))
        console.print(table)
        return
    for key, value in rows.items():
        console.print(Text.assemble((f"{key:<9}", "bold"), "  ", printable(value)), soft_wrap=True)


def parameters(network: nn.Module) -> int:
    """Counts a network's trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def show_dry_run(job: Job, allowed: Collection[str], console: Console) -> None:
    """Checks the job, then prints all resolved settings and the plan. Reads no data and writes nothing."""
    check_job(job, started_processes(), allowed)
    game = job.build()
    check_evaluation(job, game)
    length = job.length(job.settings.batch * game.batches_per_step)
    console.print(yaml.safe_dump(job.config(), sort_keys=False, allow_unicode=True), soft_wrap=True)
    print_plan(job, game, length, console)
