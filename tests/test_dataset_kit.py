"""The conformance kit over every data set that needs no download, and the kit itself over data sets that fail it."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from gan_core.errors import UserError
from gan_core.testing import (
    DatasetCheck,
    dataset_checks_of,
    parametrize_with_dataset_checks,
)
from tests.conftest import gan_core
from tests.test_data import picture
from tests.test_plugin_loading import install


@parametrize_with_dataset_checks("digits")
def test_conformance(check: DatasetCheck) -> None:
    check()


def files(kind: str, root: Path) -> str:
    """Writes a data set of files, with a train and a test split of different sizes, and returns its name."""
    kinds = {"folder": ["train/x", "train/y", "test/x", "test/y"], "unpaired": ["trainA", "trainB", "testA", "testB"]}
    for at, folder in enumerate(kinds.get(kind, ["train", "test"])):
        for number in range(5 - at):
            picture(root / folder / f"{number}.png", (24, 16), seed=10 * at + number)  # Larger than their headers.
    return f"{kind}:{root}"


@pytest.mark.parametrize(("kind", "limit"), [("folder", None), ("unpaired", None), ("pairs", None), ("pairs", 100)])
def test_conformance_of_files_resident_or_streamed(
    kind: str, limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit is not None:
        monkeypatch.setattr("gan_core.data.residency.RESIDENT_BYTES", limit)
    for check in dataset_checks_of(files(kind, tmp_path)):
        if check.name != "imports_quietly":  # It starts Python; a test below runs it for folders.
            check()


GOOD = """
import dataclasses
import torch
from gan_core import *
{before}
class OddRows:
    def __init__(self, rows): self.rows = rows
    labels = property(lambda self: self.rows.labels)
    fingerprint = property(lambda self: self.rows.fingerprint)
    def to(self, device): return OddRows(self.rows.to(device))
    def batches(self, indices):
        {in_batches}
        for rows in self.rows.batches(indices):
            yield {batch}
def describe(request):
    {in_open}
    classes, size = {classes}, {size}
    fields = {{
        "images": ImageField(channels=request.channels or 3, height=size, width=size),
        "labels": LabelField(classes=classes, names={names}),
    }}
    counts = {{"train": 60, "test": 20}}
    spec = DataSpec(name={name}, tables={{"images": Table(fields=fields, count={count})}})
    def read(table, split):
        random = torch.Generator().manual_seed({seed})
        images = torch.randint(256, (counts[split], 3, 16, 16), dtype=torch.uint8, generator=random)
        labels = torch.arange(counts[split]) % 4
        {in_read}
        return OddRows(resident(fields, {{"images": images, "labels": labels}}))
    return Dataset(spec=spec, splits={splits}, read=read)
source = DataSource(api=1, open=describe{path}){requires}
"""

PLAIN = {
    "before": "",
    "in_batches": "pass",
    "batch": "rows",
    "in_open": "pass",
    "classes": "4",
    "size": "request.image_size or 16",
    "names": "()",
    "name": "request.name",
    "count": "60",
    "seed": "len(split)",
    "in_read": "pass",
    "splits": "{name: {'images': count} for name, count in counts.items()}",
    "path": "",
    "requires": "",
}

FAULTS = [
    ("imports_quietly", {"before": "torch.rand(1)"}, "importing it draws random numbers"),
    (
        "opens_without_reading",
        {"in_open": "rows = torch.zeros(60, 3, 16, 16, dtype=torch.uint8); global kept; kept = rows"},
        "opening it takes 46,080 bytes, as much as all rows of 'images'",
    ),
    (
        "opens_without_reading",
        {"in_open": "import numpy; global kept; kept = numpy.ones((60, 3, 16, 16), numpy.uint8)"},
        "as much as all rows of 'images'",
    ),
    (
        "opens_without_reading",
        {"before": "import itertools\nopened = itertools.count(4)", "classes": "next(opened)"},
        "the description differs between two openings",
    ),
    ("has_the_rows_that_it_declares", {"name": "'mine'"}, "it is called 'mine': pass request.name"),
    (
        "has_the_rows_that_it_declares",
        {"count": "61"},
        "the split 'train' has {'images': 60}, but the spec has {'images': 61}",
    ),
    ("has_the_rows_that_it_declares", {"splits": "{'test': {'images': 20}}"}, "it has no split 'train'"),
    (
        "has_the_rows_that_it_declares",
        {"in_read": "images, labels = images[:-1], labels[:-1]"},
        "'labels' has 59 labels in 'train', but there are 60 rows",
    ),
    (
        "has_the_rows_that_it_declares",
        {"in_read": "images = images[:-1]"},
        "row 59, the last one of 'images' in 'train': index 59 is out of bounds",
    ),
    (
        "has_the_rows_that_it_declares",
        {"in_batches": "indices = ([at % len(self.labels['labels']) for at in one] for one in indices)"},
        "table 'images' has 60 rows in 'train', but row 60 raises no IndexError",
    ),
    (
        "has_the_fields_that_it_declares",
        {"batch": "{**rows, 'images': rows['images'].float()}"},
        "'images' is torch.float32 instead of torch.uint8",
    ),
    (
        "has_the_fields_that_it_declares",
        {"batch": "{**rows, 'images': rows['images'][:, :1]}"},
        "'images' has the shape (4, 1, 16, 16) instead of (4, 3, 16, 16)",
    ),
    (
        "has_the_fields_that_it_declares",
        {"batch": "{'images': rows['images']}"},
        "rows have the fields ['images'], but declared are ['images', 'labels']",
    ),
    ("has_the_fields_that_it_declares", {"in_read": "labels = labels + 1"}, "'labels' has a label 4, but 4 classes"),
    ("has_the_fields_that_it_declares", {"in_read": "labels = labels.int()"}, "torch.int32 instead of torch.int64"),
    ("has_the_fields_that_it_declares", {"names": "('x', 'y')"}, "'labels' has 4 classes, but 2 names"),
    (
        "has_the_fields_that_it_declares",
        {"names": "('x', 'y', 'z', 'x')"},
        "two classes of 'labels' have the same name",
    ),
    (
        "has_the_fields_that_it_declares",
        {"batch": "{**rows, 'labels': 3 - rows['labels']}"},
        "`labels` of 'labels' are not those of the rows",
    ),
    (
        "returns_the_same_rows_in_any_order",
        {"batch": "{**rows, 'images': rows['images'] + len(rows['images'])}"},
        "rows of 'images' in 'train', together and one by one, differ: images",
    ),
    (
        "returns_the_same_rows_in_any_order",
        {"before": "import itertools\ntimes = itertools.count(4)", "seed": "next(times)"},
        "together and from a second reading, differ: images",
    ),
    (
        "returns_the_same_rows_in_any_order",
        {"in_batches": "indices = (sorted(one) for one in indices)"},
        "rows of 'images' in 'train', together and one by one, differ: images",
    ),
    (
        "yields_rows_as_they_are_asked_for",
        {"in_batches": "indices = list(indices)"},
        "reads 100 lists of indices before it yields the rows of the first one",
    ),
    (
        "has_stable_fingerprints",
        {"before": "import itertools\ntimes = itertools.count(4)", "seed": "next(times)"},
        "the fingerprint of 'images' differs in each opening",
    ),
    (
        "has_stable_fingerprints",
        {"before": "CONSTANT = property(lambda self: 'mine')", "requires": "\nOddRows.fingerprint = CONSTANT"},
        "is the same for 'train' and 'test', which have other rows",
    ),
    ("has_stable_fingerprints", {"requires": "\nOddRows.fingerprint = 7"}, "is int, not a string"),
    (
        "moves_to_a_device",
        {"requires": "\nOddRows.to = lambda self, device: OddRows(self.rows.to('meta'))"},
        "'images' is on meta, moved to cpu",
    ),
    ("converts_on_request", {"size": "16"}, "image_size 12 is requested, but 'images' is declared with (16, 16)"),
    (
        "converts_on_request",
        {"batch": "{**rows, 'images': rows['images'].expand(-1, 3, -1, -1)}"},
        "channels 1 is requested, but 'images' has the shape (3, 16, 16)",
    ),
    (
        "refuses_with_value_errors",
        {"in_open": "if request.path: open(request.path)", "path": ", path='FILE'"},
        "a folder that is not there is refused by NotADirectoryError",
    ),
    ("refuses_with_value_errors", {"path": ", path='FILE'"}, "a FILE that is not there is not refused"),
]


def installed(site: Path, monkeypatch: pytest.MonkeyPatch, fault: dict[str, str]) -> str:
    """Installs a data set with a fault, and returns what stands after `--dataset`."""
    name = f"data-{uuid4().hex}"  # Modules stay imported.
    module, code = name.replace("-", "_"), GOOD.format(**(PLAIN | fault))
    install(site, distribution=name, name=name, code=code, value=f"{module}:source", group="gan_core.datasets")
    monkeypatch.syspath_prepend(site)
    (site / "data.bin").touch()
    return f"{name}:{site}/data.bin" if "path" in fault else name


def test_a_good_data_set_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for check in dataset_checks_of(installed(tmp_path, monkeypatch, {})):
        check()


@pytest.mark.parametrize(("name", "fault", "message"), FAULTS)
def test_a_fault_is_caught_by_the_check_that_looks_for_it(
    name: str, fault: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError) as error:
        DatasetCheck(installed(tmp_path, monkeypatch, fault), name)()
    assert message in str(error.value)


def test_options_are_those_of_a_data_set(tmp_path: Path) -> None:
    name = files("unpaired", tmp_path)
    for check in dataset_checks_of(name, {"image_size": 8, "channels": 1}):
        if check.name == "has_the_fields_that_it_declares":
            check()
    with pytest.raises(UserError, match=r"batch: no such option of a data set\. Allowed: data_dir, image_size"):
        DatasetCheck(name, "moves_to_a_device", {"batch": 3})()
    with pytest.raises(ValueError, match="no such checks: nonsense"):
        parametrize_with_dataset_checks("digits", expected_failures={"nonsense": "because"})


def test_check_prints_a_line_for_each_property_of_a_data_set(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (12, 8))
    picture(tmp_path / "b.png", (8, 8))
    refused = gan_core("check", "--dataset", f"folder:{tmp_path}", expect=2)
    assert "pass --image-size" in refused
    output = gan_core("check", "--dataset", f"folder:{tmp_path}", "--set", "image_size=8")
    assert [line[:4] for line in output.splitlines()] == ["ok  "] * len(list(dataset_checks_of("x")))


def test_data_sets_are_listed_with_a_line_each_and_without_an_import(tmp_path: Path) -> None:
    code = "print('imported')\nsource = None\n'''Mine: {}, in\none paragraph.\n\nAnd more.'''\n"
    fields = {"value": "my_data:source", "group": "gan_core.datasets"}
    install(tmp_path, distribution="my-data", name="mine", code=code, **fields)  # type: ignore[arg-type]
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("print('imported')")
    (tmp_path / "pack" / "deep.py").write_text("source: object = None\n")
    install(tmp_path, distribution="other-data", name="other", value="pack.deep:source", group="gan_core.datasets")
    output = gan_core("list", "--datasets", "--json", PYTHONPATH=str(tmp_path))
    rows = {row["name"]: row for row in json.loads(output)}
    assert rows["mine"]["summary"] == "Mine: {}, in one paragraph."
    assert rows["other"]["summary"] == "made by hand"  # As its distribution says.
    assert rows["mnist"]["summary"] == "Handwritten digits, 28 x 28, grey."
    assert len({rows[name]["summary"] for name in rows}) == len(rows) >= 12
    table = gan_core("list", "--datasets")
    assert "unpaired:PATH, two domains of images" in " ".join(table.split())
    assert "choose one of --features and --datasets" in gan_core("list", "--datasets", "--features", expect=2)


def test_a_new_data_set_installs_is_trained_on_and_passes_its_own_test(tmp_path: Path) -> None:
    gan_core("new", "--dataset", "my-data", "--dir", tmp_path)
    made = tmp_path / "gan-core-my-data"
    assert sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()) == [
        "README.md",
        "gan_core_my_data.py",
        "pyproject.toml",
        "tests/test_conformance.py",
    ]
    assert not any("shapes" in path.read_text().lower() for path in made.rglob("*") if path.is_file())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(made)], check=True)
    path = {"PYTHONPATH": str(tmp_path / "site")}
    flags = ("--dataset", "my-data", "--set", "width=4", "--batch", 8, "--mirror", "--out", tmp_path / "run")
    assert "finished" in gan_core("train", "--variant", "acgan", *flags, "--steps", 2, **path)
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    subprocess.run(test, cwd=made, env={"PATH": "/usr/bin:/bin", **path}, check=True, timeout=120)
    assert "name: 'digits' is taken by gan-core 0.1.0" in gan_core("new", "--dataset", "digits", expect=2)
