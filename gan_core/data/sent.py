"""Dataclasses as JSON and arrays, which go to worker processes without pickle. Nothing here imports torch.

The content is the size of the JSON (8 bytes, little-endian), the JSON, and the arrays and bytes that it refers to by
offset and size, each at a multiple of 64 bytes. Arrays are read where they lie, so workers share them.
"""

import importlib
import json
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_core.errors import UserError

_ALLOWED = (
    "None, bool, int, float, str, bytes, Path, tuples, lists, dicts, numpy's scalars and arrays of numbers or text, "
    "and dataclasses of these"
)
_ALIGNED = 64
_KINDS = "biufcSUMm"
"""The kinds of numpy's dtypes whose values are plain bytes."""

Content = list[bytes | memoryview]


def encode(decoder: Any) -> Content:
    """Returns the content of a dataclass, in pieces that are written one after the other.

    Fields with `init=False` are left out: the dataclass's own constructor makes them anew.

    Raises:
        UserError: It, or a part of it, is not of a kind that can be sent; the message names the class and the field.
    """
    encoder = _Encoder()
    try:
        tree = encoder.tree(decoder, type(decoder).__qualname__)
    except TypeError as error:
        raise UserError(
            f"dataset: its decoder cannot be sent to worker processes: {error}. Allowed: {_ALLOWED}. With --workers 0, "
            "the process that trains decodes"
        ) from None
    header = json.dumps(tree).encode()
    header += b" " * (aligned(8 + len(header)) - 8 - len(header))
    return [len(header).to_bytes(8, "little"), header, *encoder.parts]


def decode(content: memoryview) -> Any:
    """Returns the dataclass whose content this is; its arrays are read-only, and lie in `content`."""
    start = 8 + int.from_bytes(content[:8], "little")
    return _decoded(json.loads(bytes(content[8:start])), content[start:].toreadonly())


def aligned(size: int) -> int:
    """Returns the next multiple of 64 bytes."""
    return -(-size // _ALIGNED) * _ALIGNED


class _Encoder:
    """Collects the arrays of a tree.

    Attributes:
        parts: Their bytes, and what aligns them.
        size: The bytes of all parts.
    """

    def __init__(self) -> None:
        self.parts: Content = []
        self.size = 0
        self._known: dict[int, tuple[Any, list[int]]] = {}

    def tree(self, value: Any, where: str) -> Any:
        """Returns a value as JSON has it. Raises TypeError with `where` it lies if that is not possible."""
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if kind in (tuple, list):
            return {kind.__name__: [self.tree(one, f"{where}[{at}]") for at, one in enumerate(value)]}
        if kind is dict:
            pairs = [[self.tree(key, f"a key of {where}"), self.tree(one, f"{where}[{key!r}]")]
                for key, one in value.items()]  # fmt: skip
            return {"dict": pairs}
        if isinstance(value, Path):
            return {"path": str(value)}
        if kind is bytes:
            return {"bytes": self._part(value, memoryview(value))}
        if kind is np.ndarray or (isinstance(value, np.generic) and value.dtype.kind in _KINDS):
            return self._array(value, where)
        return {"dataclass": [kind.__module__, kind.__qualname__, self._fields(value, where)]}

    def _array(self, value: Any, where: str) -> Any:
        if value.dtype.kind not in _KINDS:
            raise TypeError(f"{where} is an array of {value.dtype}")
        plain = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        kind = "array" if type(value) is np.ndarray else "scalar"
        return {kind: [value.dtype.str, list(value.shape), *self._part(value, plain.data)]}

    def _part(self, value: Any, content: memoryview) -> list[int]:
        """Returns the offset and the size of an array's bytes; what several fields share is kept once."""
        if id(value) not in self._known:
            self._known[id(value)] = value, [self.size, content.nbytes]  # Kept, so that no other value gets its id.
            self.parts += [content, bytes(aligned(content.nbytes) - content.nbytes)]
            self.size += aligned(content.nbytes)
        return self._known[id(value)][1]

    def _fields(self, value: Any, where: str) -> dict[str, Any]:
        kind = type(value)
        if not is_dataclass(value) or "__dataclass_fields__" not in vars(kind):
            raise TypeError(f"{where} is a {kind.__module__}.{kind.__qualname__}, which is no dataclass")
        if kind.__module__ == "__main__" or _named(kind.__module__, kind.__qualname__) is not kind:
            raise TypeError(f"{where} is a {kind.__qualname__}, which cannot be imported from {kind.__module__}")
        sent = [field.name for field in fields(value) if field.init]
        return {name: self.tree(getattr(value, name), f"{where}.{name}") for name in sent}


def _named(module: str, name: str) -> Any:
    """Returns the class that a module has under a dotted name, or None."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _decoded(tree: Any, parts: memoryview) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, found),) = tree.items()
    match kind:
        case "tuple" | "list":
            values = [_decoded(one, parts) for one in found]
            return tuple(values) if kind == "tuple" else values
        case "dict":
            return {_decoded(key, parts): _decoded(value, parts) for key, value in found}
        case "path":
            return Path(found)
        case "bytes":
            return bytes(parts[found[0] : sum(found)])
        case "array" | "scalar":
            array = _array(*found, parts=parts)
            return array if kind == "array" else array[()]
        case "dataclass":
            module, name, values = found
            importlib.import_module(module)
            return _named(module, name)(**{key: _decoded(value, parts) for key, value in values.items()})
    raise ValueError(kind)


def _array(dtype: str, shape: list[int], start: int, size: int, *, parts: memoryview) -> NDArray[Any]:
    return np.frombuffer(parts[start : start + size], dtype).reshape(shape)
