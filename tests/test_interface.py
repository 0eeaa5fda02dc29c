"""The interface for variants stays short, and the core knows no particular GAN: neither domains, cycles nor pairs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

KNOWING = {"blocks", "data", "testing"}
"""Packages that may: building blocks for variants, the data sets that are included, the kit's made data."""

WORDS = re.compile(
    r"(?i:cycle_?gan|pix2pix|began|unpaired|pairs:|(?<![a-z])domains?(?![a-z]))|^(?:cycle|pair|b|ab|ba)$"
)


def code_of(file: Path) -> Iterator[str]:
    """Yields the identifiers and the strings of a file, without those of comments and docstrings."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""
        yield from (
            getattr(node, field) for field in ("attr", "arg", "name") if isinstance(getattr(node, field, 0), str)
        )
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_core_knows_no_domain_cycle_or_pair() -> None:
    files = [file for file in (ROOT / "gan_core").rglob("*.py") if file.parent.name not in KNOWING]
    assert len(files) > 80
    found = {(file.name, text) for file in files for text in code_of(file) if WORDS.search(text)}
    assert not found


@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
def test_the_words_are_those_of_such_a_variant(name: str) -> None:
    assert any(map(WORDS.search, code_of(ROOT / "plugins" / f"gan-core-{name}" / f"gan_core_{name}.py")))


def test_the_interface_is_a_five_minute_read() -> None:
    files = list((ROOT / "gan_core" / "game").glob("*.py"))
    assert len(files) == 7
    assert sum(len(file.read_text().splitlines()) for file in files) <= 500
