"""Feature spaces: how plugins provide them, the classifier that is trained once, and its minimum accuracy."""

import json
import os
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from gan_core.errors import UserError
from gan_core.features.classifier import ClassifierOptions, open_classifier
from gan_core.features.inception import InceptionOptions, open_inception
from gan_core.features.load import load_features
from gan_core.features.network import SmallCnn, jitter
from gan_core.features.real_data import RealData
from gan_core.features.space import SpaceUnavailableError
from gan_core.features.untrained import UntrainedOptions, open_untrained
from gan_core.game.data_spec import ImageField
from gan_core.plugins.find import FEATURES, find_plugins, status
from gan_core.randomness import Streams
from tests.conftest import gan_core
from tests.evaluating import QUIET, real_data
from tests.test_data import picture
from tests.test_plugin_loading import install

CPU = torch.device("cpu")

THIRD_PARTY = """
from gan_core import Embedding, Features, Options

class Pixels:
    fingerprint, provenance = "0123456789", "the pixels themselves"

    def __call__(self, images):
        return Embedding(features=images.flatten(1).float())

features = Features(api=1, options=Options, open=lambda options, data, device, console: Pixels())
"""


SPACE = {"group": "gan_core.features", "value": "pixel_space:features"}


@pytest.fixture(scope="module")
def digits() -> RealData:
    return real_data("digits")


def embedded(data: RealData, **options: object) -> torch.Tensor:
    space = open_classifier(ClassifierOptions.model_validate(options), data, CPU, QUIET)
    return space(next(iter(data.test.batches([[0, 1, 2]])))[0]).features


def cached() -> list[Path]:
    return sorted((Path(os.environ["XDG_CACHE_HOME"]) / "gan_core" / "classifiers").glob("*.safetensors"))


def test_the_subsets_of_a_data_set_share_no_image(digits: RealData) -> None:
    assert [len(subset) for subset in (digits.train, digits.held_out, digits.test)] == [1203, 297, 297]
    assert sorted([*digits.train.indices, *digits.held_out.indices]) == list(range(1500))
    assert sorted(digits.test.indices) == list(range(297))
    images, labels = next(iter(digits.held_out.batches([[5, 7]])))
    expected, expected_labels = next(iter(digits.read("train").batches([[int(digits.held_out.indices[5])]])))
    assert torch.equal(images[0], expected[0])
    assert labels is not None
    assert expected_labels is not None
    assert labels[0] == expected_labels[0] == digits.held_out.labels[5]  # type: ignore[index]


def test_a_folder_is_divided_into_three(tmp_path: Path) -> None:
    for number in range(66):
        picture(tmp_path / f"class{number % 2}" / f"{number}.png", seed=number)
    data = real_data(f"folder:{tmp_path}")
    chosen = [set(subset.indices.tolist()) for subset in (data.train, data.held_out, data.test)]
    assert [len(part) for part in chosen] == [44, 11, 11]
    assert set.union(*chosen) == set(range(66))
    for path in tmp_path.glob("class*/1*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"has 55 training images, but evaluation needs at least 60"):
        real_data(f"folder:{tmp_path}")


def test_the_classifier_is_trained_once_and_reproducibly(
    digits: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded(digits)
    (path,) = cached()
    metadata = json.loads(path.with_suffix(".json").read_text())
    assert metadata["test_accuracy"] >= 0.93
    assert metadata["images"] == 1203
    # Trained more shortly, and in a cache of its own, because other tests use the common one at the same time.
    monkeypatch.setattr("gan_core.features.training._IMAGES", 8000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = embedded(digits, min_accuracy=0.5)
    (path,) = cached()
    written, when = path.read_bytes(), path.stat().st_mtime_ns
    assert torch.equal(embedded(digits, min_accuracy=0.5), first)
    assert path.stat().st_mtime_ns == when
    path.write_bytes(written[:-4000] + bytes(4000))  # Damaged: trained again, with bit-identical weights.
    assert torch.equal(embedded(digits, min_accuracy=0.5), first)
    assert path.read_bytes() == written


def test_an_inaccurate_classifier_is_refused(digits: RealData) -> None:
    with pytest.raises(UserError, match=r"reads 9\d\.\d\d% of 297 test images, below the minimum of 99\.90%"):
        embedded(digits, min_accuracy=0.999)


@pytest.mark.parametrize("side", [4, 8, 16, 28, 32, 33, 64])
def test_the_network_takes_images_of_any_size(side: int) -> None:
    features, logits = SmallCnn(ImageField(channels=3, height=side, width=side), 7).eval()(
        torch.zeros(2, 3, side, side, dtype=torch.uint8)
    )
    assert (features.shape, logits.shape) == ((2, 128), (2, 7))


def test_jitter_slightly_moves_three_quarters_of_the_images() -> None:
    images = torch.zeros(8, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 10:18, 10:18] = 200
    moved = jitter(images, Streams(0).at("a test", 0))
    assert torch.equal(moved[6:], images[6:].float())
    rows = torch.arange(28.0)
    for before, after in zip(images[:6].float(), moved[:6], strict=True):
        assert not torch.equal(before, after)
        for dim in (1, 2):
            places = [float((image.sum(dim)[0] * rows).sum() / image.sum()) for image in (before, after)]
            assert abs(places[0] - places[1]) < 28 / 14 + 0.5
    assert torch.equal(moved, jitter(images, Streams(0).at("a test", 0)))


def test_the_untrained_space_is_the_same_every_time(digits: RealData) -> None:
    images = next(iter(digits.test.batches([[0, 1]])))[0]
    one, again, other = (open_untrained(UntrainedOptions(seed=seed), digits, CPU, QUIET) for seed in (0, 0, 1))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert torch.equal(one(images).features, again(images).features)
    assert one(images).probabilities is None


def test_inception_without_its_weights_names_what_is_missing(digits: RealData, tmp_path: Path) -> None:
    with pytest.raises(SpaceUnavailableError, match=r"needs its weights file\. Pass --set weights=FILE"):
        open_inception(InceptionOptions(), digits, CPU, QUIET)
    with pytest.raises(SpaceUnavailableError, match=r"nowhere\.pth' is not a file"):
        open_inception(InceptionOptions(weights=tmp_path / "nowhere.pth"), digits, CPU, QUIET)


def test_inception_is_torch_fidelity_s_network(digits: RealData, tmp_path: Path) -> None:
    inceptionv3 = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="gan-core[inception]")
    file = tmp_path / "weights.pth"
    shell = inceptionv3.FeatureExtractorInceptionV3.__new__(inceptionv3.FeatureExtractorInceptionV3)
    with pytest.MonkeyPatch.context() as patch:  # Random weights, because the real ones are not available here.
        patch.setattr(inceptionv3, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(inceptionv3.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        shell.__init__("shell", ["2048"])
    torch.save(shell.state_dict(), file)
    space = open_inception(InceptionOptions(weights=file), digits, CPU, QUIET)
    images = next(iter(digits.test.batches([[0, 1]])))[0]
    assert torch.equal(space(images).features, shell(images.repeat(1, 3, 1, 1))[0])
    torch.save({"weights": Executed(tmp_path / "executed")}, file)
    with pytest.raises(UserError, match="does not contain Inception's weights"):
        open_inception(InceptionOptions(weights=file), digits, CPU, QUIET)
    assert not (tmp_path / "executed").exists()


class Executed:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_listing_imports_no_feature_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, distribution="pixel-space", name="pixels", code="raise SystemExit", **SPACE)
    monkeypatch.syspath_prepend(tmp_path)
    plugins = find_plugins(FEATURES)
    assert {plugin.name for plugin in plugins} == {"classifier", "inception", "random", "pixels"}
    assert {status(plugin, plugins) for plugin in plugins} == {"ok"}
    assert "pixels" not in {plugin.name for plugin in find_plugins()}
    rows = json.loads(gan_core("list", "--features", "--json", PYTHONPATH=str(tmp_path)))
    assert [row["name"] for row in rows] == ["classifier", "inception", "pixels", "random"]


def test_a_third_party_feature_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: RealData) -> None:
    install(tmp_path, distribution="pixel-space", name="pixels", code=THIRD_PARTY, **SPACE)
    monkeypatch.syspath_prepend(tmp_path)
    loaded = load_features("pixels", {})
    images = next(iter(digits.test.batches([[0, 1]])))[0]
    space = loaded.open(digits, Accelerator(cpu=True), QUIET)
    assert torch.equal(space(images).features, images.flatten(1).float())
    assert loaded.plugin.label == "feature space 'pixels' (pixel-space 1.0)"


def test_errors_for_a_name_or_an_option_name_the_fix() -> None:
    with pytest.raises(UserError, match=r"no feature space named 'clasifier' is installed\. Did you mean 'classifier'"):
        load_features("clasifier", {})
    with pytest.raises(UserError, match=r"min_acuracy: no such option of classifier\. Did you mean 'min_accuracy'"):
        load_features("classifier", {"min_acuracy": 0.9})
    with pytest.raises(UserError, match=r"min_accuracy: 3 is not allowed\. It must be less than or equal to 1"):
        load_features("classifier", {"min_accuracy": 3})
