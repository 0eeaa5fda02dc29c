"""The plugin loader: plugins are found without being imported, and each fault has its own error message.

The plugins here are real distributions: folders with dist-info on sys.path, read by importlib.metadata.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from gan_core.errors import UserError
from gan_core.plugins.describe import described
from gan_core.plugins.find import find_plugins, status
from gan_core.plugins.load import load_variant
from tests.conftest import gan_core

WORKS = """
from gan_core_vanilla import variant
"""


def install(
    folder: Path,
    *,
    distribution: str,
    name: str,
    code: str = WORKS,
    value: str | None = None,
    version: str = "1.0",
    requires: tuple[str, ...] = ("gan-core>=0.1,<0.2",),
    group: str = "gan_core.variants",
) -> None:
    """Installs a plugin into a folder, with the same files as pip."""
    module = distribution.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}", "Summary: made by hand"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {r}" for r in requires)]) + "\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value or f'{module}:variant'}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for installed distributions that is on sys.path during the test."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_third_party_plugin_is_listed_without_being_imported_and_loads(site: Path) -> None:
    install(site, distribution="third-gan", name="third", code="print('imported')" + WORKS)
    plugin = next(plugin for plugin in find_plugins() if plugin.name == "third")
    assert "third_gan" not in sys.modules
    assert (plugin.distribution, plugin.version, plugin.summary) == ("third-gan", "1.0", "made by hand")
    assert status(plugin, find_plugins()) == "ok"
    assert load_variant("third").variant.api == 2


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ('"""Third: described\nin two lines.\n\nMore."""\nraise SystemExit', "Third: described in two lines."),
        ('"""A module."""\nvariant = 1\n"""One of\nits variants.\n\nMore."""', "One of its variants."),
        ("variant = 1", "made by hand"),
        ("this is no Python", "made by hand"),
    ],
)
def test_a_variant_is_listed_with_the_first_paragraph_of_its_docstring(site: Path, code: str, line: str) -> None:
    install(site, distribution="described-gan", name="described", code=code)
    plugin = next(plugin for plugin in find_plugins() if plugin.name == "described")
    assert described(plugin) == line
    assert "described_gan" not in sys.modules


def test_an_unknown_name_gets_the_nearest_and_all_installed_names() -> None:
    with pytest.raises(
        UserError, match=r"no variant named 'dcgn' is installed\. Did you mean 'dcgan'\?\nInstalled: .*dcgan"
    ):
        load_variant("dcgn")


def test_two_distributions_with_one_name(site: Path) -> None:
    install(site, distribution="one-gan", name="twin")
    install(site, distribution="other-gan", name="twin")
    with pytest.raises(UserError) as error:
        load_variant("twin")
    assert "2 distributions provide a variant named 'twin'" in str(error.value)
    assert "one-gan:twin  (one-gan 1.0, one_gan:variant)" in str(error.value)
    assert "--variant one-gan:twin" in str(error.value)
    assert load_variant("other-gan:twin").plugin.distribution == "other-gan"
    twins = [plugin for plugin in find_plugins() if plugin.name == "twin"]
    assert {status(twin, find_plugins()) for twin in twins} == {
        "name taken twice: use one-gan:twin",
        "name taken twice: use other-gan:twin",
    }


def test_an_incompatible_version_is_rejected_before_its_import(site: Path) -> None:
    install(site, distribution="future-gan", name="future", code="raise SystemExit", requires=("gan-core>=9",))
    with pytest.raises(UserError, match=r"'future' \(future-gan 1.0\) needs gan-core>=9, but 0\.1\.0 is installed"):
        load_variant("future")


def test_the_error_names_a_missing_dependency(site: Path) -> None:
    install(site, distribution="needy-gan", name="needy", requires=("gan-core>=0.1", "gan-core-absent>=2"))
    with pytest.raises(UserError, match=r"needs gan-core-absent>=2, which is not installed"):
        load_variant("needy")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import nonexistent_dependency",
            "failed to import 'bad_gan:variant': ModuleNotFoundError: No module named 'nonex",
        ),
        ("variant = 1 / 0", "failed to import 'bad_gan:variant': ZeroDivisionError"),
        ("import sys; sys.exit(3)", "failed to import 'bad_gan:variant': SystemExit: 3"),
        ("variants = 3", "failed to import 'bad_gan:variant': AttributeError"),
        ("def variant(): ...", "'bad_gan:variant' is a function, not a gan_core.Variant"),
        ("from gan_core import Variant as variant", "is a class, not a gan_core.Variant"),
        (
            "from gan_core_vanilla import variant as v\nfrom dataclasses import replace\nvariant = replace(v, api=1)",
            "was written for plugin API 1; this gan_core supports 2",
        ),
        (
            "from gan_core_vanilla import variant as v\nimport dataclasses as d\nvariant = d.replace(v, options=dict)",
            "its `options` is a class, not a subclass of gan_core.Options",
        ),
    ],
)
def test_a_broken_plugin_is_reported_and_the_others_still_load(site: Path, code: str, message: str) -> None:
    sys.modules.pop("bad_gan", None)
    install(site, distribution="bad-gan", name="bad", code=code)
    with pytest.raises(UserError) as error:
        load_variant("bad")
    assert message in str(error.value)
    assert "bad-gan 1.0" in str(error.value)
    assert load_variant("dcgan").variant.api == 2
    assert load_variant("vanilla").variant.api == 2


def test_a_distribution_without_a_bound_or_with_invalid_metadata(site: Path) -> None:
    install(site, distribution="loose-gan", name="loose", requires=())
    install(site, distribution="invalid-gan", name="invalid", requires=("=== what?",))
    (site / "nameless-1.0.dist-info").mkdir()
    plugins = find_plugins()
    states = {plugin.name: status(plugin, plugins) for plugin in plugins}
    assert states["loose"] == "ok, but declares no gan-core bound"
    assert "unreadable requirement" in states["invalid"]
    assert states["dcgan"] == "ok"


def test_only_the_metadata_of_what_offers_something_is_read(site: Path) -> None:
    (site / "garbage-1.0.dist-info").mkdir()
    (site / "garbage-1.0.dist-info" / "METADATA").write_bytes(b"Name: garbage\xff\n")
    (site / "garbage-1.0.dist-info" / "entry_points.txt").write_text("[console_scripts]\ngarbage = garbage:main\n")
    (site / "-interrupted-1.0.dist-info").mkdir()  # What pip leaves of an uninstallation that did not end.
    with pytest.raises(UnicodeDecodeError):
        version("garbage")
    assert {"dcgan", "vanilla"} <= {plugin.name for plugin in find_plugins()}


def test_of_two_copies_the_one_that_python_would_import_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, release in (("later", "1.0"), ("first", "2.0")):
        (tmp_path / folder).mkdir()
        install(tmp_path / folder, distribution="twice-gan", name="twice", version=release)
        monkeypatch.syspath_prepend(tmp_path / folder)
    assert [plugin.version for plugin in find_plugins() if plugin.name == "twice"] == [version("twice-gan")] == ["2.0"]
    (tmp_path / "nameless").mkdir()
    (tmp_path / "nameless" / "twice_gan-3.0.dist-info").mkdir()
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path / "nameless")
        assert [plugin.version for plugin in find_plugins() if plugin.name == "twice"] == ["2.0"]
    (tmp_path / "first" / "twice_gan-2.0.dist-info" / "entry_points.txt").unlink()
    assert "twice" not in {plugin.name for plugin in find_plugins()}


def test_a_folder_whose_name_is_not_the_distribution_s(site: Path) -> None:
    install(site, distribution="moved-gan", name="moved")
    (site / "moved_gan-1.0.dist-info").rename(site / "~oved_gan-1.0.dist-info")
    assert [plugin.distribution for plugin in find_plugins() if plugin.name == "moved"] == ["moved-gan"]


def test_the_command_line_prints_only_the_message_and_exits_with_code_2(tmp_path: Path) -> None:
    install(tmp_path, distribution="bad-gan", name="bad", code="import nonexistent_dependency")
    path = {"PYTHONPATH": str(tmp_path)}
    output = gan_core("train", "--variant", "bad", "--steps", 1, expect=2, **path)
    assert output.startswith("error: variant 'bad' (bad-gan 1.0) failed to import")
    assert "Traceback" not in output
    assert "Traceback" in gan_core("--debug", "show", "bad", expect=1, **path)
    rows = {row["name"]: row for row in json.loads(gan_core("list", "--json", **path))}
    assert rows["bad"]["status"] == "ok"  # `list` imports nothing, so it cannot detect this.
    assert rows["dcgan"]["source"].startswith("editable") or rows["dcgan"]["source"] == "installed"


def test_show_describes_options_and_counts_parameters_for_a_data_set() -> None:
    shown = json.loads(gan_core("show", "dcgan", "--dataset", "mnist", "--json"))
    width = next(option for option in shown["options"] if option["name"] == "width")
    assert width == {"name": "width", "type": "int", "default": 64, "bounds": ">= 1", "help": width["help"]}
    assert "double each time the image's side is halved" in width["help"]
    # For 28 -> 14 -> 7 with 64 and 128 maps: z -> 7 x 7, BN, 128 -> 64, BN, 64 -> 1; the discriminator in reverse.
    assert shown["parameters"]["generator"] == 100 * 128 * 49 + 256 + 128 * 64 * 16 + 128 + 64 * 16 + 1
    assert shown["parameters"]["discriminator"] == 64 * 16 + 64 + 64 * 128 * 16 + 256 + 128 * 49 + 1
    text = gan_core("show", "dcgan")
    assert "DCGAN: convolutional networks" in text
    assert "https://arxiv.org/abs/1511.06434" in text
