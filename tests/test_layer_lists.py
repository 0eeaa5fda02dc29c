"""Layer lists, and the recipes that reproduce five tutorials with them, to the exact number of parameters."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from gan_core import Options, Request
from gan_core.app.job import check_job
from gan_core.blocks.layer_list import build_layers, initialise, parse
from gan_core.cli.tables.plan import parameters
from gan_core.errors import UserError
from gan_core.settings.resolve import resolve
from tests.conftest import ROOT, make_job

TUTORIALS = {
    "tutorial-vanilla-mnist": (1_164_289, 40_705),
    "tutorial-smoothing-mnist": (840_321, 212_865),
    "tutorial-dcgan-sgd-mnist": (6_751_233, 3_485_441),
    "tutorial-acgan-mnist": (3_756_792, 526_731),
    "tutorial-dcgan-fashion": (4_404_160, 212_865),
}


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_recipes_have_the_tutorials_numbers_of_parameters(name: str) -> None:
    job = make_job(config=ROOT / "configs" / f"{name}.yaml")
    networks = job.build().networks
    assert (parameters(networks["generator"]), parameters(networks["discriminator"])) == TUTORIALS[name]


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_recipes_generate_images(name: str) -> None:
    job = make_job(config=ROOT / "configs" / f"{name}.yaml")
    game = job.build()
    inputs = game.draw(np.random.default_rng(0), Request(count=2))
    images = game.outputs["images"].generate(game.networks, inputs, Options())
    assert images.shape == (2, 1, 28, 28)
    assert float(images.detach().abs().max()) <= 1


FOLDERS = {"unpaired": ("trainA", "trainB"), "pairs": ("A/train", "B/train")}
"""Folders with the training images of data sets that recipes name by a path."""


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_named_after_its_data_set(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, _, name = yaml.safe_load(path.read_text())["dataset"].rpartition(":")
    for folder in FOLDERS[kind] if kind else ():
        (tmp_path / name / folder).mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(tmp_path / name / folder / "1.png")
    if kind:
        monkeypatch.chdir(tmp_path)
    job = make_job(config=path)
    assert any(network.startswith("generator") for network in job.build().networks)
    assert path.read_text().startswith("# ")
    assert name in path.stem or path.stem.startswith("tutorial-")
    assert job.length(job.settings.batch) > 0


GPU_RECIPES = sorted((ROOT / "configs").glob("*-gpu.yaml"))


@pytest.mark.parametrize("path", GPU_RECIPES, ids=lambda path: path.stem)
def test_the_gpu_recipes_evaluate_while_they_train(path: Path) -> None:
    job = make_job(config=path, out="nowhere")
    every = job.settings.evaluate_every
    assert every is not None
    assert 5 <= job.length(job.settings.batch) / 1000 / every <= 20
    check_job(job, 1, ())


def test_one_gpu_recipe_is_large_enough_to_fill_a_gpu() -> None:
    job = make_job(config=ROOT / "configs" / "dcgan-cifar10-gpu.yaml")
    spec = job.dataset.spec
    assert (spec.image_size, spec.channels, job.settings.precision) == (64, 3, "bf16")
    with torch.device("meta"):
        networks = job.loaded.build(job.options, spec).networks
    for network in networks.values():
        # 4 x 4 kernels between 256, 512, 1024 and 2048 feature maps.
        assert sum(p.numel() for p in network.parameters()) > 16 * (256 * 512 + 512 * 1024 + 1024 * 2048)


def test_the_vanilla_tutorial_s_discriminator_receives_images_in_0_1() -> None:
    game = make_job(config=ROOT / "configs" / "tutorial-vanilla-mnist.yaml").build()
    first = next(iter(game.networks["discriminator"].get_submodule("layers").children()))
    assert first(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0.0, 0.5, 1.0]
    layers = list(game.networks["generator"].get_submodule("layers").children())
    assert isinstance(layers[-2], nn.Sigmoid)
    assert layers[-1](torch.tensor([0.0, 0.5, 1.0])).tolist() == [-1.0, 0.0, 1.0]


def test_pixel_shuffle_moves_channels_to_neighbouring_pixels() -> None:
    network, shape = build_layers(["pixel_shuffle"], (8, 1, 2), "torch")
    assert shape == (2, 2, 4)
    shuffled = network(torch.arange(16.0).view(1, 8, 1, 2))  # Channel c has the values 2 c and 2 c + 1.
    assert shuffled[0].tolist() == [[[0, 2, 1, 3], [4, 6, 5, 7]], [[8, 10, 9, 11], [12, 14, 13, 15]]]
    with pytest.raises(ValueError, match=r"layer 1, 'pixel_shuffle', does not fit an input of shape \(3, 7, 7\)"):
        build_layers(["pixel_shuffle"], (3, 7, 7), "torch")


@pytest.mark.parametrize(
    ("kernel", "stride", "side", "after"),
    [(3, 1, 7, 7), (3, 2, 28, 14), (5, 2, 28, 14), (4, 2, 14, 7), (5, 2, 7, 4), (1, 2, 8, 4)],
)
def test_same_padding_is_tensorflow_s(kernel: int, stride: int, side: int, after: int) -> None:
    network, shape = build_layers(
        [{"conv": {"channels": 1, "kernel": kernel, "stride": stride}}], (1, side, side), "torch"
    )
    assert shape == (1, after, after)
    # TensorFlow's rule: out = ceil(in / stride), and the smaller half of the padding comes first.
    needed = max(0, (after - 1) * stride + kernel - side)
    convolution = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    nn.init.ones_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    # A square of ones in the corner, as large as the part of the image in the first window.
    corner = torch.zeros(1, 1, side, side)
    corner[0, 0, : kernel - needed // 2, : kernel - needed // 2] = 1.0
    assert float(network(corner).detach()[0, 0, 0, 0]) == (kernel - needed // 2) ** 2


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (5, 2), (5, 1), (2, 1), (3, 2), (2, 2), (3, 3), (2, 3)])
def test_a_transposed_convolution_is_the_adjoint_of_the_convolution(kernel: int, stride: int) -> None:
    settings = {"kernel": kernel, "stride": stride, "bias": False}
    side = 6 * stride
    down, small = build_layers([{"conv": {"channels": 2, **settings}}], (3, side, side), "torch")
    up, large = build_layers([{"conv_transpose": {"channels": 3, **settings}}], small, "torch")
    assert (small, large) == ((2, 6, 6), (3, side, side))
    up.load_state_dict(dict(zip(up.state_dict(), down.state_dict().values(), strict=True)))
    x, y = torch.randn(1, *large), torch.randn(1, *small)
    assert float((down(x) * y).sum().detach()) == pytest.approx(float((x * up(y)).sum().detach()), abs=1e-4)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("tahn", "no layer is named 'tahn'. Did you mean 'tanh'? Allowed: dense, conv"),
        ({"dense": {"unit": 3}}, "dense: units: Field required"),
        ({"conv": {"channels": 3, "kernel": 0}}, "conv: kernel: Input should be greater than or equal to 1"),
        ({"leaky_relu": [0.2, 3]}, "leaky_relu: 2 settings given, too many"),
        ({"dense": 3, "tanh": None}, "no layer is named"),
        (7, "no layer is named 7"),
    ],
)
def test_errors_for_invalid_entries(entry: object, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(entry)
    assert message in str(error.value)


def test_an_invalid_layer_list_is_reported_as_an_invalid_option() -> None:
    from gan_core.plugins.load import load_variant

    resolved = resolve({"variant": "vanilla"}, ["generator=[{dense: 64}, tahn]"])
    with pytest.raises(UserError, match=r"generator: .* is not allowed.*Entry 2: no layer is named 'tahn'"):
        resolved.options_as(load_variant("vanilla").variant.options)


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        ("[{dense: 64}, {reshape: [1, 8, 9]}]", r"layer 2, .*, does not fit an input of shape \(64,\)"),
        ("[{dense: 49}, {reshape: [1, 7, 7]}]", r"return the shape \(1, 7, 7\), but the images have \(1, 8, 8\)"),
        ("[{conv: [3, 3]}]", r"layer 1, .*, does not fit an input of shape \(64,\)"),
    ],
)
def test_errors_for_layers_that_do_not_fit_give_their_position(generator: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_job(f"generator={generator}", variant="vanilla").build()


def test_glorot_and_normal_initialisation() -> None:
    layer = nn.Linear(600, 400)
    initialise(layer, "glorot")
    assert float(layer.weight.detach().abs().max()) == pytest.approx((6 / 1000) ** 0.5, rel=1e-3)
    assert float(layer.weight.detach().std()) == pytest.approx((2 / 1000) ** 0.5, rel=1e-2)
    assert not layer.bias.detach().any()
    initialise(layer, "normal")
    assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=1e-2)


def test_recipes_are_plain_yaml() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict)
