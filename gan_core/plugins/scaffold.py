"""Writes a new plugin: a renamed copy of the vanilla plugin, so that the template is always tested code.

What describes the copy is left to its author, in places marked EDIT.
"""

import re
from pathlib import Path

from gan_core.errors import UserError
from gan_core.plugins.find import find_plugins

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_FILES = ("pyproject.toml", "gan_core_vanilla.py", "tests/test_conformance.py")
# What describes the vanilla plugin: its docstring and its paper, and its description in pyproject.toml.
_DESCRIPTIONS = {
    re.compile(r'\A"""The original GAN: .*?"""', re.DOTALL): '"""EDIT: say here what this GAN is.\n\n'
    'Until then it has two fully connected networks and the logistic loss. `gan_core show` prints this text.\n"""',
    re.compile(r'paper="[^"]*"'): 'paper="EDIT: authors, year, title, address"',
    re.compile(r'description = "[^"]*"'): 'description = "EDIT: say here what this GAN is; gan_core list prints it."',
}
_README = """# gan-core-{name}

EDIT: say here what this GAN is.

    accelerate launch -m gan_core train --variant {name} --kimg 500
    python -m gan_core show {name}
"""


def write_plugin(name: str, parent: Path) -> Path:
    """Writes a distribution that installs, trains and passes its tests unchanged, and returns its folder.

    Args:
        name: The variant's name, the value of `--variant`.
        parent: The folder in which `gan-core-NAME` is created.

    Raises:
        UserError: The name is not allowed or taken, or the folder exists or cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"name: {name!r} is not allowed. Use a-z, 0-9 and single dashes, beginning with a letter")
    for plugin in find_plugins():
        if plugin.name == name:
            raise UserError(f"name: {name!r} is taken by {plugin.distribution} {plugin.version}. Choose another")
    folder = parent / f"gan-core-{name}"
    if folder.exists():
        raise UserError(f"dir: {str(folder)!r} exists already. Move it away, or choose another --dir")
    for file in _FILES:
        text = (_template() / file).read_text(encoding="utf-8")
        target = folder / _renamed(file, name)
        for pattern, description in _DESCRIPTIONS.items():
            text = pattern.sub(description, text)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_renamed(text, name), encoding="utf-8")
        except OSError as error:
            raise UserError(f"dir: {str(parent)!r} cannot be written: {error}") from None
    (folder / "README.md").write_text(_README.format(name=name), encoding="utf-8")
    return folder


def _renamed(text: str, name: str) -> str:
    identifier, camel = name.replace("-", "_"), "".join(part.capitalize() for part in name.split("-"))
    text = text.replace("gan_core_vanilla", f"gan_core_{identifier}")
    return text.replace("Vanilla", camel).replace("vanilla", name)


def _template() -> Path:
    """Returns the vanilla plugin's folder: in the package if installed from a wheel, else in the checkout."""
    package = Path(__file__).parent.parent
    packaged = package / "template"
    return packaged if packaged.is_dir() else package.parent / "plugins" / "gan-core-vanilla"
