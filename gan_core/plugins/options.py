"""The fields of a model, such as a variant's options, as rows of a table."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypedDict, Union, get_args, get_origin

from annotated_types import BaseMetadata
from pydantic import BaseModel
from pydantic.fields import FieldInfo


class OptionRow(TypedDict):
    """One field, as `gan_core show` and `--help` print it."""

    name: str
    type: str
    default: object
    bounds: str
    help: str


_SIGNS = {
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
    "multiple_of": "a multiple of",
    "min_length": "at least",
    "max_length": "at most",
}


def option_rows(options: type[BaseModel]) -> list[OptionRow]:
    """Returns a row for each field of the model, in the order of the class."""
    return [
        OptionRow(
            name=name,
            type=_type_name(field.annotation),
            default=field.get_default(call_default_factory=True),
            bounds=_bounds(field),
            help=" ".join((field.description or "").split()),
        )
        for name, field in options.model_fields.items()
    ]


def _type_name(annotation: Any) -> str:
    """Returns a short name of a type: "float", "adam | sgd", "list | none"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, UnionType):
        return " | ".join(map(_type_name, arguments))
    if annotation is NoneType:
        return "none"
    return getattr(origin or annotation, "__name__", str(annotation))


def _bounds(field: FieldInfo) -> str:
    return ", ".join(
        f"{sign} {getattr(bound, key)}"
        for bound in field.metadata
        if isinstance(bound, BaseMetadata)
        for key, sign in _SIGNS.items()
        if getattr(bound, key, None) is not None
    )
