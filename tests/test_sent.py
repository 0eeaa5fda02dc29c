"""What goes to worker processes: plain values and arrays, without pickle."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan_core.data.residency import choose_residency
from gan_core.data.sent import decode, encode
from gan_core.data.streaming import read_rows
from gan_core.errors import UserError
from tests.numbered import Numbered


@dataclass(frozen=True)
class Inner:
    values: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    values: Any
    other: Any = None
    opened: list[int] = field(default_factory=list, init=False)


class Bare:
    """No dataclass."""


class Reduced(Inner):
    """No dataclass of its own, and with a way to be pickled."""

    def __reduce__(self) -> tuple[object, ...]:
        raise AssertionError("it was pickled")


@dataclass(frozen=True)
class Sneaky:
    """Notices when it is pickled."""

    values: Any

    def __reduce__(self) -> tuple[object, ...]:
        raise AssertionError("it was pickled")


def sent(value: Any) -> Any:
    return decode(memoryview(bytearray(b"".join(encode(value)))))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 7, -(10**30), 0.1, math.inf, "", "caf\udce9 日本", b"", b"\x00\xff", Path("/a/b")),
        *((1, (2.5, "x"), ()), [1, [None]], {"a": 1, 2: (3,), (4, 5): {}}, np.float32(0.1), np.int64(2**62)),
        Outer(values=Inner([Inner(1), {"a": Inner((2,))}]), other=Path("relative")),
    ],
)
def test_values_arrive_as_they_were(value: Any) -> None:
    found = sent(Inner(value)).values
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "array",
    [
        *(np.arange(5), np.zeros((0, 3), np.float32), np.array(2.5), np.array([True, False]), np.array(["a", "日本"])),
        *(
            np.arange(12).reshape(3, 4).T,
            np.arange(10)[::3],
            np.array([1, 2], ">i4"),
            np.array(["2020-01-01"], "M8[D]"),
        ),
    ],
)
def test_arrays_arrive_as_they_were_and_are_read_only(array: Any) -> None:
    found = sent(Inner(array)).values
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert np.array_equal(found, array)
    assert type(found) is np.ndarray
    assert not found.flags.writeable


def test_arrays_are_shared_and_not_written_as_text() -> None:
    array = np.arange(100_000)
    content = bytearray(b"".join(encode(Outer(values=array, other={"again": (array, array)}))))
    assert len(content) < array.nbytes + 1000
    found = decode(memoryview(content))
    assert np.shares_memory(found.values, np.frombuffer(content, np.uint8))
    assert np.shares_memory(found.values, found.other["again"][1])


def test_what_the_constructor_makes_is_not_sent() -> None:
    value = Outer(values=1)
    value.opened.append(7)
    assert sent(value).opened == []


def test_nothing_is_pickled() -> None:
    assert sent(Sneaky(Sneaky(3))) == Sneaky(Sneaky(3))


def local() -> Any:
    @dataclass
    class Local:
        values: int = 0

    return Local()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Bare(), r"Bare is a tests\.test_sent\.Bare, which is no dataclass"),
        (Reduced(1), r"Reduced is a tests\.test_sent\.Reduced, which is no dataclass"),
        (Inner(Path), r"Inner\.values is a builtins\.type, which is no dataclass"),
        (Outer(values=[Inner({"file": torch.zeros(1)})]), r"Outer\.values\[0\]\.values\['file'\] is a torch\.Tensor"),
        (Inner({1, 2}), r"Inner\.values is a builtins\.set"),
        (Inner(np.array([None])), r"Inner\.values is an array of object"),
        (Inner({Bare: 1}), r"a key of Inner\.values is a builtins\.type"),
        (
            local(),
            r"local\.<locals>\.Local is a local\.<locals>\.Local, which cannot be imported from tests\.test_sent",
        ),
    ],
)
def test_what_cannot_be_sent_is_named(value: Any, message: str) -> None:
    with pytest.raises(
        UserError, match=f"its decoder cannot be sent to worker processes: .*{message}.*Allowed: None, "
    ):
        encode(value)


class Opened(Numbered):
    """A decoder that is no dataclass of its own."""


def test_a_decoder_that_cannot_be_sent_is_an_error_before_training_unless_this_process_decodes() -> None:
    with pytest.raises(UserError, match=r"Opened is a tests\.test_sent\.Opened, which is no dataclass"):
        read_rows(Opened(5), {}, choose_residency("no", 1, 1))
    with pytest.raises(UserError, match="Opened"):
        read_rows(Opened(2500), {}, choose_residency("yes", 1, 1))
    for asked in ("yes", "no"):
        (batch,) = read_rows(Opened(2500), {}, choose_residency(asked, 1, 0)).batches([[3]])
        assert batch["images"].reshape(-1).tolist() == [3, 0, 0, 0]
