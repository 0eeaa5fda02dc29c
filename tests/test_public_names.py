"""What `from gan_core import ...` gives, and the version that everything agrees on."""

import re
from importlib.metadata import version

import pytest

import gan_core
from tests.conftest import ROOT


def test_every_public_name_is_there_for_people_and_for_type_checkers() -> None:
    for name in gan_core.__all__:
        assert getattr(gan_core, name) is not None
    source = (ROOT / "gan_core" / "__init__.py").read_text()
    for_checkers = set(re.findall(r"^    from \S+ import (\w+) as \1$", source, flags=re.MULTILINE))
    assert for_checkers == set(gan_core.__all__) - {"__version__"}


def test_there_is_one_version() -> None:
    assert version("gan-core") == gan_core.__version__
    assert gan_core.__version__ in (ROOT / "CHANGELOG.md").read_text()


def test_first_party_plugins_use_public_names_only() -> None:
    for module in (ROOT / "plugins").glob("*/gan_core_*.py"):
        imports = re.findall(r"^(?:from|import) (gan_core\S*)", module.read_text(), flags=re.MULTILINE)
        assert set(imports) <= {"gan_core", "gan_core_dcgan"}


def test_plugins_of_interface_1_may_use_former_names() -> None:
    former = {"build_stack": gan_core.build_layers, "squared_slope": gan_core.squared_gradient_norm}
    former |= {"slope_penalties": gan_core.gradient_penalties, "StackOptions": gan_core.LayerListOptions}
    former |= {"StackedGenerator": gan_core.LayerListGenerator}
    former |= {"StackedDiscriminator": gan_core.LayerListDiscriminator}
    for name, now in former.items():
        assert getattr(gan_core, name) is now
    with pytest.raises(AttributeError, match="has no attribute 'build_stacks'"):
        _ = gan_core.build_stacks
