"""Writes a new plugin: a renamed copy of a first-party plugin, so that the template is always tested code.

What describes the copy is left to its author, in places marked EDIT.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from gan_core.errors import UserError
from gan_core.plugins.find import DATASETS, VARIANTS, Kind, find_plugins

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Template:
    """The first-party plugin that is copied.

    Attributes:
        name: Its name, which occurs only where the new one is to stand.
        what: What it is, for its author to describe.
        docstring: How the docstring of the copy goes on.
        usage: The commands in the copy's README.
    """

    name: str
    what: str
    docstring: str
    usage: tuple[str, ...]

    @property
    def descriptions(self) -> dict[str, str]:
        """What stands in the copy in place of the plugin's docstring, its paper, and its description."""
        edit = f"EDIT: say here what this {self.what} is"
        return {
            r'\A""".*?"""': f'"""{edit}.\n\n{self.docstring}\n"""',
            r'paper="[^"]*"': 'paper="EDIT: authors, year, title, address"',
            r'description = "[^"]*"': f'description = "{edit}; gan_core list prints it."',
        }

    @property
    def files(self) -> tuple[str, ...]:
        return "pyproject.toml", f"gan_core_{self.name}.py", "tests/test_conformance.py"

    @property
    def folder(self) -> Path:
        """Its folder: in the package if installed from a wheel, else in the checkout."""
        package, distribution = Path(__file__).parent.parent, f"gan-core-{self.name}"
        packaged = package / "template" / distribution
        return packaged if packaged.is_dir() else package.parent / "plugins" / distribution


_TEMPLATES = {
    VARIANTS: _Template(
        name="vanilla",
        what="GAN",
        docstring="Until then it has two fully connected networks and the logistic loss. `gan_core show` prints this.",
        usage=("accelerate launch -m gan_core train --variant {name} --kimg 500", "python -m gan_core show {name}"),
    ),
    DATASETS: _Template(
        name="shapes",
        what="data set",
        docstring="Until then it has discs, squares and triangles, drawn when they are read.",
        usage=("accelerate launch -m gan_core train --variant dcgan --dataset {name} --kimg 500",),
    ),
}


def write_plugin(name: str, parent: Path, kind: Kind = VARIANTS) -> Path:
    """Writes a distribution that installs, trains and passes its tests unchanged, and returns its folder.

    Args:
        name: The plugin's name, such as the value of `--variant`.
        parent: The folder in which `gan-core-NAME` is created.
        kind: `VARIANTS` or `DATASETS`.

    Raises:
        UserError: The name is not allowed or taken, or the folder exists or cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"name: {name!r} is not allowed. Use a-z, 0-9 and single dashes, beginning with a letter")
    for plugin in find_plugins(kind):
        if plugin.name == name:
            raise UserError(f"name: {name!r} is taken by {plugin.distribution} {plugin.version}. Choose another")
    folder = parent / f"gan-core-{name}"
    if folder.exists():
        raise UserError(f"dir: {str(folder)!r} exists already. Move it away, or choose another --dir")
    template = _TEMPLATES[kind]
    for file in template.files:
        text = (template.folder / file).read_text(encoding="utf-8")
        target = folder / _renamed(file, template.name, name)
        for pattern, description in template.descriptions.items():
            text = re.sub(pattern, description, text, flags=re.DOTALL)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_renamed(text, template.name, name), encoding="utf-8")
        except OSError as error:
            raise UserError(f"dir: {str(parent)!r} cannot be written: {error}") from None
    lines = [f"# gan-core-{name}", "", f"EDIT: say here what this {template.what} is.", ""]
    lines += [f"    {line.format(name=name)}" for line in template.usage]
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _renamed(text: str, old: str, name: str) -> str:
    identifier, camel = name.replace("-", "_"), "".join(part.capitalize() for part in name.split("-"))
    text = text.replace(f"gan_core_{old}", f"gan_core_{identifier}")
    return text.replace(old.capitalize(), camel).replace(old, name)
