"""`gan_core report`: one page that opens from disk in a real Chromium, whatever stands in the runs."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

from gan_core.app.training import start
from gan_core.cli.report import report
from gan_core.errors import UserError
from gan_core.report.curves import curves
from gan_core.report.pictures import interpolation
from gan_core.report.read import RunReport, read_run
from gan_core.report.render import differing
from tests.conftest import make_job

HOSTILE = '</script><img src=x onerror="window.owned=1"><script>window.owned=1</script>'
METRICS = {
    "kid": {"value": 0.25, "samples": 64, "error": 0.01, "floor": {"value": 0.125, "samples": 64}},
    "histogram": {"value": [0.1] * 10, "samples": 64, "floor": {"value": [0.05, 0.15] * 5, "samples": 64}},
    "fid": {"skipped": "too few"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with three grids, an evaluation, closest images, and names that a page must not read as code."""
    out = tmp_path_factory.mktemp("report") / "a<b>x"
    cadence = ("checkpoint_every=0.032", "sample_every=0.016", "log_every=0.016")
    start(make_job("width=2", "maps=4", *cadence, variant="acgan", steps=2, batch=16, out=out), (), Console(quiet=True))
    with (out / "metrics.jsonl").open("a") as file:
        for images in range(48, 48 + 40 * 16, 16):
            line = {"images_seen": images, "discriminator/real": 1 / images, f"p/{HOSTILE}": 1.0}
            file.write(json.dumps(line | {"evaluation@64/kid": 0.3}) + "\n")
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(out / "evaluation-closest.png")
    protocol = {"name": HOSTILE, "samples": 64, "features": "random"}
    (out / "evaluation.json").write_text(
        json.dumps({"images_seen": 32, "protocol": protocol, "metrics": METRICS, "notes": []})
    )
    metadata = json.loads((out / "run.json").read_text())
    metadata["data"]["images"]["fields"]["labels"]["names"] = [HOSTILE, *map(str, range(1, 10))]
    (out / "run.json").write_text(json.dumps(metadata | {HOSTILE: HOSTILE}))
    return out


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Debian's Chromium, driven by selenium."""
    browser, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if browser is None or driver is None:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    profile = tmp_path_factory.mktemp("chromium")
    flags = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
    for flag in ("headless", *flags, "disable-dev-shm-usage", f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


def resized(chromium: Any, width: int, scheme: str) -> None:
    """Sets the width of the page and the colours that its reader prefers."""
    sizes = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def luminance(colour: str) -> float:
    """Returns the relative luminance of "rgb(r, g, b)" (WCAG 2.1)."""
    channels = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_page_in_a_real_browser(run: Path, tmp_path: Path, chromium: Any) -> None:
    page = tmp_path / "report.html"
    report([run], out=page)
    for width, scheme in ((400, "dark"), (1400, "light")):
        resized(chromium, width, scheme)
        chromium.get(page.as_uri())
        script = chromium.execute_script
        assert script("return document.documentElement.scrollWidth") <= width  # Nothing runs over the edge.
        back, text = script("const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]")
        lighter, darker = sorted((luminance(back), luminance(text)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) > 7  # WCAG 2.1, level AAA.
        assert (luminance(back) < 0.1) == (scheme == "dark")
        assert script("return document.querySelectorAll('.plot').length") > 10
        assert script("return [...document.querySelectorAll('.plot')].every(p => p.querySelector('svg.main-svg'))")
        assert script("return [...document.images].every(image => image.complete && image.naturalWidth > 0)")

        shown = "return [...document.querySelectorAll('.frames img')].filter(i => !i.hidden).map(i => [i.alt, i.src])"
        slide = (
            "const s = document.querySelector('input[type=range]'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('input'))"
        )
        pictures = []
        for place, images in enumerate(("0", "0.016", "0.032")):
            script(slide, place)
            ((name, source),) = script(shown)
            assert name == f"{images} thousand images" == script("return document.querySelector('output').textContent")
            pictures.append(source)
        assert len(set(pictures)) == 3
    assert script("return window.owned") is None
    assert chromium.get_log("browser") == []
    asked = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    addresses = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in addresses
    assert not [
        address for address in addresses if not address.startswith(("file:", "data:", "chrome:"))
    ]  # No network.


def test_what_stands_in_runs_is_text(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    report([run], out=page)
    text = page.read_text()
    assert "window.owned" in text
    assert "<img src=x" not in text
    assert "<script>window" not in text
    assert "a<b>x" not in text
    assert text.count("</script>") == text.count("<script")
    assert re.search(r"default-src 'none'; img-src data: blob:; .*script-src 'nonce-[\w-]{20,}'", text)


def test_several_runs_have_a_table_and_curves_over_each_other(run: Path, tmp_path: Path, chromium: Any) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["options"]["lr"] = 0.5
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="out: missing"):
        report([run, other])
    report([run, other], out=tmp_path / "both.html")
    resized(chromium, 1400, "light")
    chromium.get((tmp_path / "both.html").as_uri())
    headers = chromium.execute_script(
        "return [...document.querySelectorAll('table')[0].rows[0].cells].map(c => c.textContent)"
    )
    assert headers == ["run", "status", "images", "variant", "data", "options.lr"]
    lines = chromium.execute_script(
        "const f = [...document.querySelectorAll('.figure')].find(f => f.querySelector('h4').textContent === 'real');"
        "return [...new Set(f.querySelector('.plot').data.map(d => d.line.color))]"
    )
    assert len(lines) == 2
    assert chromium.get_log("browser") == []


def no_interpolation(_: Path) -> str:
    return ""


def test_the_curves_are_smoothed_with_the_raw_ones_behind_and_the_floor_as_a_line(run: Path) -> None:
    read = read_run(run, no_interpolation)
    figures = {(figure.section, figure.title): figure.drawn["data"] for figure in curves([read])}
    raw, smooth = figures["discriminator", "real"]
    logged = [line["discriminator/real"] for line in read.metrics if "discriminator/real" in line]
    assert list(raw["y"]) == logged
    assert raw["opacity"] < 0.5
    assert len(smooth["y"]) == len(logged)
    assert np.abs(np.diff(smooth["y"])).max() < np.abs(np.diff(logged)).max()
    kid = figures["evaluation@64", "KID"]
    assert set(kid[-1]["y"]) == {0.125}
    assert kid[-1]["line"]["dash"] == "dash"


def test_parts_that_cannot_be_read_are_said_and_the_rest_is_shown(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    shutil.rmtree(broken / "checkpoints")
    (broken / "evaluation.json").write_text("{")
    (broken / "evaluation-closest.png").write_bytes(b"no picture")
    (broken / "samples" / "000000016.png").write_bytes(b"no picture")
    report([broken])
    heard, text = capsys.readouterr().err, (broken / "report.html").read_text()
    for problem in ("evaluation.json", "evaluation-closest.png", "000000016.png", "contains no intact checkpoint yet"):
        assert problem in heard
        assert problem in text
    found = read_run(broken, no_interpolation)
    assert [images for images, _ in found.frames] == [0, 32]
    assert found.metrics
    for name in ("config.yaml", "run.json"):
        (broken / name).write_text("[")
    assert len(read_run(broken, no_interpolation).problems) >= 5
    report([broken])
    with pytest.raises(UserError, match="is not a run"):
        report([tmp_path / "nowhere"])


def test_an_interpolation_and_the_settings_that_differ(run: Path) -> None:
    assert interpolation(run).startswith("data:image/png;base64,")
    one, other = (
        RunReport(
            name=name,
            status="",
            images_seen=None,
            settings={"out": name, "lr": name, "batch": 3},
            metadata={},
            metrics=[],
            evaluation={},
            floors={},
            frames=[],
            grid="",
            closest="",
            interpolation="",
        )
        for name in "ab"
    )
    assert differing([one, other]) == ["lr"]


def test_the_evaluation_while_training_gives_floors(tmp_path: Path, train: Callable[..., str]) -> None:
    flags = {"evaluate_every": 0.032, "evaluate_samples": 64, "evaluate_features": "random"}
    train("width=4", variant="dcgan", steps=2, batch=16, out=tmp_path / "run", **flags)
    read = read_run(tmp_path / "run", no_interpolation)
    written = json.loads((tmp_path / "run" / "evaluation-in-training.json").read_text())
    assert written["images_seen"] == 32
    assert read.floors["evaluation@64/kid"] == written["metrics"]["kid"]["floor"]["value"]
    assert read.metrics[-1]["evaluation@64/kid"] == written["metrics"]["kid"]["value"]
    assert not (tmp_path / "run" / "evaluation.json").exists()
