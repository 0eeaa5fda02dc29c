"""A generator as a Python file that needs torch and safetensors only, written from the graph of torch.export."""

import math
import re
from types import ModuleType

import torch
from torch import Tensor
from torch.export import ExportedProgram

WEIGHTS = "model.safetensors"

_FILE = '''"""The generator in plain PyTorch, as torch.export has traced it: it needs torch and safetensors only.

    generator = Generator("{weights}")
    images = generator({arguments})  # (N, C, H, W) in [-1, 1]
"""

{imports}
from safetensors.torch import load_file

WEIGHTS = {names}
"""The names of the tensors in the order in which `draw` takes them."""


class Generator(torch.nn.Module):
    """Draws images from inputs whose first dimension is the number of images."""

    def __init__(self, file):
        super().__init__()
        tensors = load_file(file)
        self.weights = torch.nn.ParameterList([torch.nn.Parameter(tensors[name], False) for name in WEIGHTS])

    def forward(self, {arguments}):
        return draw(*self.weights, {arguments})[0]


{code}'''


def written(program: ExportedProgram, arguments: list[str]) -> tuple[str, dict[str, Tensor]]:
    """Returns the text of the file and the tensors that it loads.

    Args:
        program: The generator.
        arguments: The names of its inputs.

    Raises:
        ValueError: The graph calls something that a file cannot import.
    """
    graph, signature = program.graph_module.graph, program.graph_signature
    graph.eliminate_dead_code()
    held = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    for node in [node for node in graph.nodes if node.op == "placeholder" and node.target in held and not node.users]:
        graph.erase_node(node)  # Such as the counts of batch normalisation, which only training reads.
    used = [held[node.target] for node in graph.nodes if node.op == "placeholder" and node.target in held]
    tensors = {**program.state_dict, **program.constants}
    code = graph.python_code("self")
    source = code.src.strip().replace("def forward(self, ", "def draw(", 1)
    named = {name: value for name, value in code.globals.items() if re.search(rf"\b{name}\b", source)}
    lines = [_import(name, value) for name, value in named.items() if value is not torch]
    text = _FILE.format(
        weights=WEIGHTS,
        arguments=", ".join(arguments),
        imports="\n".join(["import torch", *lines]),
        names="[\n" + "".join(f"    {name!r},\n" for name in used) + "]",
        code=re.sub(r";  (\w+ = )+None *$", "", source, flags=re.MULTILINE) + "\n",
    )
    return text, {name: tensors[name].detach().contiguous().clone() for name in used}


def _import(name: str, value: object) -> str:
    """Returns a line that gives a name of torch's generated code its value."""
    if isinstance(value, ModuleType):
        return f"import {value.__name__} as {name}"
    if isinstance(value, float):
        return f"from math import {'nan' if math.isnan(value) else 'inf'} as {name}"
    module, qualified = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if not module or "." in qualified or module.startswith("gan_core"):
        raise ValueError(f"{name} cannot be imported")
    return f"from {module} import {qualified} as {name}"
