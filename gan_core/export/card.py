"""The model card of an exported generator, in the layout of the Hugging Face Hub: a YAML header, then Markdown."""

import html
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from gan_core.app.load import LoadedRun
from gan_core.console import printable
from gan_core.evaluation.titles import TITLES
from gan_core.export.exportable import Exportable
from gan_core.export.formats import Format

_BODY = """
# {title}

The averaged generator (EMA) of a run of gan_core, after {kimg} thousand images.

![Samples](grid.png)

| | |
|---|---|
{facts}

## Use

It needs: {needs}. `inputs.safetensors` has the inputs of 16 samples.

```python
{code}```

{inputs}

The images are float32 of the shape (N, {shape}), with values in [-1, 1].

## Evaluation

{evaluation}
"""


def card(run: LoadedRun, exported: Exportable, how: Format, evaluation: dict[str, Any] | None) -> str:
    """Returns the text of the card's README.md.

    Args:
        run: The run.
        exported: Its generator.
        how: The format in which it was written.
        evaluation: evaluation.json, or None if the run has not been evaluated.
    """
    settings, metadata = run.settings, run.metadata
    options = {key: value for key, value in run.options.items() if value is not None and not isinstance(value, list)}
    facts = {
        "Variant": f"{settings.variant} ({metadata.get('variant_distribution')} {metadata.get('variant_version')})",
        "Paper": run.variant.paper or "none",
        "Data": f"{settings.dataset}: {run.data.described()}",
        "Output": exported.name,
        "Seed, batch": f"{settings.seed}, {settings.batch}",
        "Options": ", ".join(f"{key} {value}" for key, value in options.items()),
        "Versions": f"gan_core {metadata.get('gan_core')}, torch {metadata.get('torch')}",
    }
    names = run.data.class_names if exported.labels else ()
    body = _BODY.format(
        title=plain(f"{settings.variant} on {settings.dataset}"),
        kimg=f"{run.images_seen / 1000:g}",
        facts="\n".join(f"| {key} | {plain(value)} |" for key, value in facts.items()),
        needs=how.needs,
        code=how.example(exported),
        inputs="\n".join(_inputs(exported, names)),
        shape=", ".join(map(str, exported.images.shape[1:])),
        evaluation="\n".join(_evaluation(evaluation, run.images_seen)),
    )
    header = ModelCardData(
        library_name="onnx" if "onnx" in how.needs else "pytorch",
        pipeline_tag="image-to-image" if exported.pictures else "unconditional-image-generation",
        tags=["gan", "gan_core", settings.variant],
        gan_core={
            "variant": settings.variant,
            "dataset": settings.dataset,
            "images_seen": run.images_seen,
            "metrics": _header_metrics(evaluation),
        },
    )
    return str(ModelCard(f"---\n{header.to_yaml()}\n---\n{body}"))


def plain(text: object) -> str:
    """Returns text from outside for a table of Markdown: no markup, no HTML and no new lines are read from it."""
    escaped = html.escape(printable(" ".join(str(text).split())), quote=False)
    return "".join(f"\\{character}" if character in "\\`*_[]|#~" else character for character in escaped)


def _inputs(exported: Exportable, names: tuple[str, ...]) -> list[str]:
    lines = []
    for name, rows in exported.inputs.items():
        shape = ", ".join(["N", *map(str, rows.shape[1:])])
        what = f"- `{name}`: {str(rows.dtype).removeprefix('torch.')} ({shape})"
        if name == exported.labels:
            numbers = names == tuple(map(str, range(len(names))))
            listed = ", ".join(f"{number} {plain(name)}" for number, name in enumerate(names[:50]))
            what += f", the class: {f'0 to {len(names) - 1}' if numbers else listed}"
        elif name in exported.pictures:
            what += ", images with values in [-1, 1]"
        elif rows.is_floating_point():
            what += f", in the example with mean {rows.mean():.2f} and standard deviation {rows.std():.2f}"
        lines.append(what)
    return lines


def _header_metrics(evaluation: dict[str, Any] | None) -> dict[str, Any]:
    found = {}
    for name, metric in (evaluation or {}).get("metrics", {}).items():
        if isinstance(metric, dict) and isinstance(metric.get("value"), int | float):
            floor = metric.get("floor")
            value = floor.get("value") if isinstance(floor, dict) else None
            found[str(name)] = {"value": metric["value"], **({} if value is None else {"floor": value})}
    return found


def _evaluation(evaluation: dict[str, Any] | None, images_seen: int) -> list[str]:
    if evaluation is None:
        return ["The run has not been evaluated."]
    protocol, seen = evaluation["protocol"], evaluation.get("images_seen")
    lines = [
        f"On {plain(protocol.get('samples'))} samples, protocol {plain(protocol.get('name'))}, feature space "
        f"{plain(protocol.get('features'))}. The floor is the score of real images, which a perfect generator reaches. "
        "The metrics are comparable only with those of the same protocol and features.",
    ]
    if seen != images_seen:
        lines.append(f"\nThey were measured at {plain(seen)} images, not at the {images_seen} of this generator.")
    lines += ["", "| metric | value | floor |", "|---|---|---|"]
    for name, metric in _header_metrics(evaluation).items():
        floor = f"{metric['floor']:.4g}" if isinstance(metric.get("floor"), int | float) else ""
        lines.append(f"| {plain(TITLES.get(name, name))} | {metric['value']:.4g} | {floor} |")
    return lines
