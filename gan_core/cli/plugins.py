"""`gan_core list`, `gan_core show` and `gan_core new`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gan_core.errors import UserError
from gan_core.plugins.describe import described
from gan_core.plugins.find import DATASETS, FEATURES, VARIANTS, find_plugins, status

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
    dataset: Annotated[str, typer.Option(help="Count the networks' parameters for this data set.")] = "digits",
    image_size: Annotated[int | None, typer.Option(help="Resize images to this many pixels per side.")] = None,
    channels: Annotated[int | None, typer.Option(help="Convert images to grey (1) or RGB (3).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Describe a variant: summary, paper, options, and networks."""
    from gan_core.cli.tables.plan import parameters
    from gan_core.data.catalog import open_dataset
    from gan_core.plugins.load import load_variant
    from gan_core.plugins.options import option_rows
    from gan_core.settings.resolve import validated
    from gan_core.settings.settings import Settings

    loaded = load_variant(name)
    requested = {"variant": name, "dataset": dataset, "image_size": image_size, "channels": channels}
    settings = validated(Settings, requested)
    spec = open_dataset(dataset, image_size=settings.image_size, channels=settings.channels).spec
    counts = {key: parameters(network) for key, network in loaded.build(None, spec).networks.items()}
    plugin, options = loaded.plugin, option_rows(loaded.variant.options)
    if as_json:
        described = {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "source": plugin.source,
            "doc": loaded.doc,
            "paper": loaded.variant.paper,
            "needs": [list(names) for names in loaded.variant.tables()],
            "options": options,
            "parameters": counts,
        }
        print(json.dumps(described, indent=2, default=str))
        return
    from gan_core.console import PlainConsole

    console = PlainConsole()
    title = f"{plugin.name} ({plugin.distribution} {plugin.version}, {plugin.source})"
    console.print(f"{title}\n\n{loaded.doc.strip()}\n\nPaper: {loaded.variant.paper or 'none'}\n", soft_wrap=True)
    _print_table(
        [
            {
                "option": row["name"],
                "type": row["type"],
                "default": str(row["default"]),
                "allowed": row["bounds"],
                "": row["help"],
            }
            for row in options
        ]
    )
    shape = f"{spec.channels} x {spec.image_size} x {spec.image_size}"
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
    print(f"Created {created}. Next:")
    print(f"  pip install -e {created}")
    print(f"  python -m gan_core check {'--dataset ' if dataset else ''}{name}")
    use = f"--variant dcgan --dataset {name}" if dataset else f"--variant {name}"
    print(f"  accelerate launch -m gan_core train {use} --kimg 100")


def _print_table(rows: list[dict[str, str]]) -> None:
    from rich.table import Table

    from gan_core.console import PlainConsole

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    PlainConsole(table=True).print(table)
