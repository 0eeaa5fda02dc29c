"""The formats of an exported generator: what each writes, and the lines of Python that load it."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from gan_core.errors import UserError
from gan_core.export.code import WEIGHTS, written
from gan_core.export.exportable import Exportable, quiet

INPUTS = "inputs.safetensors"
"""The inputs of 16 samples, from which the code in the card draws."""

_IN_TORCH = """\
import torch
from safetensors.torch import load_file
{imports}
generator = {load}
inputs = load_file("inputs.safetensors")
with torch.no_grad():
    images = generator({arguments})  # (N, C, H, W) in [-1, 1]
"""
_IN_ONNX = """\
from onnxruntime import InferenceSession
from safetensors.numpy import load_file

generator = InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
inputs = load_file("inputs.safetensors")
(images,) = generator.run(None, inputs)  # (N, C, H, W) in [-1, 1]
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One format.

    Attributes:
        write: Writes the generator to a folder and returns what the file draws from the example.
        needs: The packages that load it.
        code: The lines that load it, with `{arguments}` for its inputs.
        extras: The packages of `gan-core[export]` that write it.
    """

    write: Callable[[Exportable, Path], Tensor]
    needs: str
    code: str
    extras: tuple[str, ...] = ()

    def check(self) -> None:
        """Checks that what writes it is installed.

        Raises:
            UserError: It is not.
        """
        if missing := [name for name in self.extras if importlib.util.find_spec(name) is None]:
            raise UserError(f"format: needs {', '.join(missing)}: pip install gan-core[export]")

    def example(self, exported: Exportable) -> str:
        """Returns the lines that load it and draw 16 images."""
        return self.code.replace("{arguments}", ", ".join(f'inputs["{name}"]' for name in exported.inputs))


def _safetensors(exported: Exportable, folder: Path) -> Tensor:
    try:
        text, tensors = written(exported.program(), list(exported.inputs))
    except ValueError as error:
        raise UserError(f"format: this generator cannot be written as a file of Python ({error})") from error
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / "generator.py").write_text(text, encoding="utf-8")
    names: dict[str, object] = {"__name__": "generator"}
    exec(compile(text, "generator.py", "exec"), names)  # noqa: S102  # It was written three lines above.
    make = names["Generator"]
    assert callable(make)
    with torch.no_grad():
        images: Tensor = make(str(folder / WEIGHTS))(*exported.inputs.values())
    return images


def _torchscript(exported: Exportable, folder: Path) -> Tensor:
    path = str(folder / "model.torchscript.pt")
    with quiet(), torch.no_grad():
        torch.jit.save(torch.jit.trace(exported.module, tuple(exported.inputs.values())), path)
        images: Tensor = torch.jit.load(path)(*exported.inputs.values())
    return images


def _torch_export(exported: Exportable, folder: Path) -> Tensor:
    path = folder / "model.pt2"
    with quiet(), torch.no_grad():
        torch.export.save(exported.program(), path)
        images: Tensor = torch.export.load(path).module()(*exported.inputs.values())
    return images


def _onnx(exported: Exportable, folder: Path) -> Tensor:
    from onnxruntime import InferenceSession

    path, names = folder / "model.onnx", list(exported.inputs)
    with quiet():
        torch.onnx.export(
            exported.program(),
            tuple(exported.inputs.values()),
            path,
            dynamo=True,
            external_data=False,
            input_names=names,
            output_names=["images"],
            verbose=False,
        )
    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (images,) = session.run(None, {name: rows.numpy() for name, rows in exported.inputs.items()})
    return torch.from_numpy(images)


FORMATS = {
    "safetensors": Format(
        write=_safetensors,
        needs="torch, safetensors",
        code=_IN_TORCH.format(
            imports="from generator import Generator\n",
            load=f'Generator("{WEIGHTS}")',
            arguments="{arguments}",
        ),
    ),
    "torchscript": Format(
        write=_torchscript,
        needs="torch, safetensors",
        code=_IN_TORCH.format(imports="", load='torch.jit.load("model.torchscript.pt")', arguments="{arguments}"),
    ),
    "onnx": Format(
        write=_onnx,
        needs="onnxruntime, safetensors",
        code=_IN_ONNX,
        extras=("onnx", "onnxscript", "onnxruntime"),
    ),
    "torch-export": Format(
        write=_torch_export,
        needs="torch, safetensors",
        code=_IN_TORCH.format(imports="", load='torch.export.load("model.pt2").module()', arguments="{arguments}"),
    ),
}
