"""`gan_core list`, `gan_core show` and `gan_core new`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gan_core.errors import UserError
from gan_core.game.data_spec import ImageField
from gan_core.plugins.describe import described
from gan_core.plugins.find import DATASETS, FEATURES, VARIANTS, find_plugins, status
from gan_core.plugins.options import OptionRow, option_rows

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_variants(
    *,
    features: Annotated[bool, typer.Option("--features", help="List feature spaces, for `gan_core evaluate`.")] = False,
    datasets: Annotated[bool, typer.Option("--datasets", help="List data sets, for `gan_core train`.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the installed variants, feature spaces or data sets, without importing them."""
    if features and datasets:
        raise UserError("list: choose one of --features and --datasets")
    plugins = find_plugins(FEATURES if features else DATASETS if datasets else VARIANTS)
    rows = [
        {
            "name": plugin.name,
            "summary": described(plugin),
            "distribution": plugin.distribution,
            "version": plugin.version,
            "source": plugin.source,
            "status": status(plugin, plugins),
        }
        for plugin in plugins
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
    elif not rows:
        print("None installed. In a checkout, run: pip install -r requirements.txt")
    else:
        _print_table(rows)


def show(
    name: Annotated[str, typer.Argument(help="A variant, as shown by `gan_core list`.")],
    *,
    dataset: Annotated[
        str | None, typer.Option(help="Count the networks' parameters for this data set; by default digits.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Resize images to this many pixels per side.")] = None,
    channels: Annotated[int | None, typer.Option(help="Convert images to grey (1) or RGB (3).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Describe a variant: summary, paper, options for training and for sampling, and networks."""
    from gan_core.cli.tables.plan import parameters
    from gan_core.data.catalog import open_dataset
    from gan_core.plugins.load import load_variant
    from gan_core.settings.resolve import validated
    from gan_core.settings.settings import Settings

    loaded = load_variant(name)
    requested = {"variant": name, "dataset": dataset or "digits", "image_size": image_size, "channels": channels}
    settings = validated(Settings, requested)
    spec = open_dataset(settings.dataset, image_size=settings.image_size, channels=settings.channels).spec
    needs = [list(names) for names in loaded.variant.tables()]
    # Digits has no fields of other names; a data set that is given is checked by `build`.
    fits = dataset is not None or {field for names in needs for field in names} <= set(spec.fields)
    networks = loaded.build(None, spec).networks if fits else {}
    counts = {key: parameters(network) for key, network in networks.items()}
    plugin, options = loaded.plugin, option_rows(loaded.variant.options)
    sampling = option_rows(loaded.variant.sampling)
    if as_json:
        described = {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "source": plugin.source,
            "doc": loaded.doc,
            "paper": loaded.variant.paper,
            "needs": needs,
            "options": options,
            "sampling": sampling,
            "parameters": counts,
        }
        print(json.dumps(described, indent=2, default=str))
        return
    from gan_core.console import PlainConsole

    console = PlainConsole()
    title = f"{plugin.name} ({plugin.distribution} {plugin.version}, {plugin.source})"
    console.print(f"{title}\n\n{loaded.doc.strip()}\n\nPaper: {loaded.variant.paper or 'none'}\n", soft_wrap=True)
    _print_options(options)
    if sampling:
        console.print("\nSampling options, for `sample --set` and `evaluate --set`:", soft_wrap=True)
        _print_options(sampling)
    if not fits:
        wanted = ", ".join(" with ".join(names) for names in needs)
        console.print(f"\nNetworks: pass --dataset NAME, which needs the fields {wanted}.", soft_wrap=True)
        return
    sizes = [field for field in spec.fields.values() if isinstance(field, ImageField)]
    shape = ", ".join(" x ".join(map(str, field.shape)) for field in sizes)
    console.print(f"\nNetworks for {spec.name} ({shape}), trainable parameters:", soft_wrap=True)
    for network, count in counts.items():
        console.print(f"  {network}: {count:,}", soft_wrap=True)


def new(
    name: Annotated[str, typer.Argument(help="The name of the new variant or data set.")],
    *,
    dataset: Annotated[bool, typer.Option("--dataset", help="Create a data set instead of a variant.")] = False,
    folder: Annotated[Path, typer.Option("--dir", help="Parent of the plugin's folder.")] = Path(),
) -> None:
    """Create a plugin that can be used at once, as a starting point.

    A variant is a copy of the vanilla GAN under a new name, and a data set one of the coloured shapes.
    """
    from gan_core.plugins.scaffold import write_plugin

    created = write_plugin(name, folder, DATASETS if dataset else VARIANTS)
    print(f"Created {created}. Describe it where it says EDIT. Next:")
    print(f"  pip install -e {created}")
    print(f"  python -m gan_core check {'--dataset ' if dataset else ''}{name}")
    use = f"--variant dcgan --dataset {name}" if dataset else f"--variant {name}"
    print(f"  accelerate launch -m gan_core train {use} --kimg 100")


def _print_options(rows: Sequence[OptionRow]) -> None:
    if not rows:
        print("No options.")
        return
    _print_table(
        [
            {
                "option": row["name"],
                "type": row["type"],
                "default": str(row["default"]),
                "allowed": row["bounds"],
                "": row["help"],
            }
            for row in rows
        ]
    )


def _print_table(rows: list[dict[str, str]]) -> None:
    from rich.table import Table

    from gan_core.console import PlainConsole

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    PlainConsole(table=True).print(table)
