"""`gan_core compare`: groups, means, spreads and differences against hand computations, and its errors."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gan_core.cli.compare import compare
from gan_core.errors import UserError
from gan_core.evaluation.compare import differences, group, read_runs


def evaluated(folder: Path, name: str, seed: int, fid: float, coverage: float | None = None, **changes: Any) -> Path:
    """Writes the folder of an evaluated run."""
    run = folder / f"{name}-{seed}"
    run.mkdir()
    variant = changes.pop("variant", "dcgan")
    settings = {"variant": variant, "dataset": "mnist", "seed": seed, "out": str(run), "kimg": 500.0}
    options = {"width": changes.pop("width", 64)}
    (run / "config.yaml").write_text(yaml.safe_dump(settings | {"options": options}))
    protocol = {"dataset": "mnist", "samples": 10_000, "features": "classifier", "features_hash": "ab" * 32, "k": 5}
    metrics = {
        "fid": {"value": fid, "samples": 10_000, "floor": {"value": 0.8, "samples": 10_000}},
        "histogram": {"value": [0.5, 0.5], "samples": 10_000},
        "coverage": {"skipped": "why not"} if coverage is None else {"value": coverage, "samples": 10_000},
    }
    written = {"images_seen": 500_000, "seed": 0, "protocol": protocol | changes, "metrics": metrics, "notes": []}
    (run / "evaluation.json").write_text(json.dumps(written))
    return run


def test_means_spreads_and_paired_differences_by_hand(tmp_path: Path) -> None:
    narrow = [evaluated(tmp_path, "narrow", s, fid, 0.5, width=16) for s, fid in ((0, 10.0), (1, 14.0), (2, 12.0))]
    wide = [evaluated(tmp_path, "wide", s, fid, 0.5) for s, fid in ((0, 8.0), (1, 11.0), (2, 9.5), (7, 100.0))]
    groups = group(read_runs([*narrow, *wide]))
    assert {name: len(runs) for name, runs in groups.items()} == {
        "dcgan options.width=16": 3,
        "dcgan options.width=64": 4,
    }
    fid, coverage = differences(groups)
    # By seed: 2, 3, 2.5. The run with seed 7 is unpaired.
    assert (fid.metric, fid.seeds) == ("fid", (0, 1, 2))
    assert (fid.difference, fid.spread) == (pytest.approx(2.5), pytest.approx(0.5))
    assert fid.larger
    assert (coverage.difference, coverage.spread, coverage.larger) == (0.0, 0.0, False)


def test_a_variant_with_one_group_names_it_without_settings(tmp_path: Path) -> None:
    runs = [evaluated(tmp_path, "narrow", 0, 10.0, width=16), evaluated(tmp_path, "wide", 0, 8.0)]
    runs += [evaluated(tmp_path, "other", seed, 9.0, variant="vanilla", width=512) for seed in (0, 1)]
    sizes = {name: len(members) for name, members in group(read_runs(runs)).items()}
    assert sizes == {"dcgan options.width=16": 1, "dcgan options.width=64": 1, "vanilla": 2}


def test_without_shared_seeds_the_variances_add_up(tmp_path: Path) -> None:
    one = [evaluated(tmp_path, "one", s, fid, width=16) for s, fid in ((0, 10.0), (1, 14.0))]
    other = [evaluated(tmp_path, "other", s, fid) for s, fid in ((2, 8.0), (3, 11.0))]
    (fid,) = differences(group(read_runs([*one, *other])))
    # Means 12 and 9.5; variances 8 and 4.5.
    assert (fid.difference, fid.spread, fid.seeds) == (pytest.approx(2.5), pytest.approx(12.5**0.5), ())
    assert not fid.larger


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    runs = [evaluated(tmp_path, "one", 0, 10.0, width=16), evaluated(tmp_path, "other", 0, 90.0)]
    (fid,) = differences(group(read_runs(runs)))
    assert (fid.difference, fid.spread, fid.larger) == (-80.0, None, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 2000}, "different protocols.*\n  samples: 10000 and 2000\nEvaluate one of them again"),
        ({"features_hash": "cd" * 32}, f"features_hash: '{'ab' * 32}' and '{'cd' * 32}'"),
        ({"dataset": "digits", "k": 3}, "  dataset: 'mnist' and 'digits'\n  k: 5 and 3"),
    ],
)
def test_different_protocols_are_not_compared(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    runs = [evaluated(tmp_path, "one", 0, 1.0), evaluated(tmp_path, "other", 1, 1.0, **changes)]
    with pytest.raises(UserError, match=message):
        read_runs(runs)


def test_invalid_runs_are_refused(tmp_path: Path) -> None:
    run = evaluated(tmp_path, "one", 0, 1.0)
    with pytest.raises(UserError, match="compare: a run is given twice"):
        read_runs([run, tmp_path / "." / run.name])
    with pytest.raises(UserError, match="two runs of 'dcgan' have seed 0"):
        group(read_runs([run, evaluated(tmp_path, "again", 0, 1.0)]))
    (tmp_path / "one-0" / "evaluation.json").write_text("{")
    with pytest.raises(UserError, match=r"is damaged \(.*\)\. Evaluate the run again"):
        read_runs([run])
    (tmp_path / "one-0" / "evaluation.json").unlink()
    with pytest.raises(UserError, match=r"has not been evaluated\. Run: gan_core evaluate .*one-0"):
        read_runs([run])
    with pytest.raises(UserError, match=r"compare: only one run is given\. Pass two or more"):
        compare([run])


def test_table_and_json_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [evaluated(tmp_path, f"w{width}", s, 10.0 + s + width, width=width) for width in (16, 64) for s in (0, 1)]
    compare(runs, as_json=True)
    described = json.loads(capsys.readouterr().out)
    narrow = described["groups"]["dcgan options.width=16"]
    assert narrow["seeds"] == [0, 1]
    assert narrow["metrics"]["fid"] == {"mean": 26.5, "spread": pytest.approx(0.5**0.5)}
    (difference,) = described["differences"]
    assert (difference["difference"], difference["spread"], difference["larger"]) == (-48.0, 0.0, True)
    compare(runs)
    output = capsys.readouterr().out
    assert "dcgan options.width=16 minus dcgan options.width=64, paired by 2 seeds" in output
    assert [line.split() for line in output.splitlines() if line.startswith("FID")] == [
        ["FID", "26.5", "±", "0.71", "74.5", "±", "0.71"],
        ["FID", "-48", "0", "larger", "than", "the", "spread"],
    ]
