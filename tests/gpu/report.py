"""The report of `make test-gpu`: one JSON file and one table, named after the card."""

import json
import re
from pathlib import Path
from typing import Any


def write(folder: Path, report: dict[str, Any]) -> list[Path]:
    """Writes gpu-CARD.json and gpu-CARD.md, and returns their paths.

    Args:
        folder: Where; it is created.
        report: "device" with the card's "name", and "steps" by name: "outcome", "seconds", and "result" or "error".
    """
    folder.mkdir(parents=True, exist_ok=True)
    card = re.sub(r"[^a-z0-9]+", "-", report["device"]["name"].lower()).strip("-")
    paths = [folder / f"gpu-{card}.json", folder / f"gpu-{card}.md"]
    for path, text in zip(paths, (json.dumps(report, indent=2) + "\n", table(report)), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def table(report: dict[str, Any]) -> str:
    """Returns the report as a Markdown table, a row for each number."""
    lines = [
        f"# {report['device']['name']}",
        "",
        ", ".join(f"{key} {value}" for key, value in report["device"].items()),
    ]
    lines += ["", "| step | outcome | what | value |", "|---|---|---|---|"]
    for name, step in report["steps"].items():
        values = _flat(step["result"]) if "result" in step else {"error": step.get("error", "")}
        for number, (key, value) in enumerate(values.items()):
            head = (name, f"{step['outcome']}, {step['seconds']:.0f} s") if number == 0 else ("", "")
            lines.append("| " + " | ".join(map(_cell, (*head, key, value))) + " |")
    return "\n".join(lines) + "\n"


def _flat(result: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for key, value in result.items():
        if isinstance(value, dict):
            rows |= _flat(value, f"{prefix}{key}: ")
        else:
            rows[f"{prefix}{key}"] = value
    return rows


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else str(value)
    return " ".join(text.replace("|", "\\|").split())
