"""One array of a Flower record: read without believing it, and written in the form in which it came."""

from __future__ import annotations

import io
import math
from typing import Any, Literal

import numpy as np
import torch
from flwr.app import Array
from numpy.typing import NDArray

from fedcrucible_core.config.plain_text import error_text, plain_repr, plain_text

Values = NDArray[Any]
Kind = Literal["float", "integer", "flag"]
BFLOAT16 = "bfloat16"
"""numpy has no such type: its two bytes travel as void, and only the declared name says what they are."""
STYPE = "numpy.ndarray"
LARGEST = float(np.sqrt(np.finfo(np.float32).max))
"""1.8e19: what is larger has a square that overflows float32."""
_HEADER = 10_240
"""Bytes of an array in which its header lies."""
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""Of the versions of numpy's format; 3.0 has names of fields alone, which no array of numbers has."""
_PACKED = ("uint8", "int8")


def values_of(array: Array) -> Values:
    """The values of an array, sharing its memory, read-only; bfloat16 as a new float32 array.

    Flower's own ``Array.numpy`` makes room for whatever size a header claims; here the bytes must be there.

    Raises:
        ValueError: what is declared isn't what the bytes say, or it is of a type that can't be aggregated.
    """
    if array.stype != STYPE:
        raise ValueError(f"is serialised as {plain_repr(array.stype, 40)}, not {STYPE}")
    shape, fortran, dtype, start = header(array.data)
    declared = _declared(array.dtype)
    if declared != dtype or tuple(array.shape) != shape:
        said = f"{plain_text(array.dtype, 40)} {plain_repr(tuple(array.shape))}"
        raise ValueError(f"is declared as {said}, but holds {_named(dtype)} {plain_repr(shape)}")
    kind_of(array.dtype)
    count = math.prod(shape)
    held = len(array.data) - start
    if min(shape, default=0) < 0 or held != count * dtype.itemsize:
        raise ValueError(f"holds {held} bytes, its shape {plain_repr(shape)} needs {count * dtype.itemsize}")
    flat = np.frombuffer(array.data, dtype, count, start) if count else np.empty(0, dtype)
    if array.dtype == BFLOAT16:
        flat = (flat.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return flat.reshape(shape, order="F" if fortran else "C")


def kind_of(dtype: str) -> Kind:
    """What becomes of values of a type. Raises ValueError for types that can't be aggregated, with what to do."""
    if dtype == BFLOAT16:
        return "float"
    found = _declared(dtype)
    if found.name in _PACKED:
        raise ValueError(
            f"holds {found.name}: packed or quantised numbers, or a serialised model, have no mean; leave frozen "
            "quantised weights out of the record, and aggregate XGBoost's trees by Flower's own FedXgbBagging"
        )
    if found.kind == "f" and found.itemsize <= 8:
        return "float"
    if found.kind in "iu":
        return "integer"
    if found.kind == "b":
        return "flag"
    advice = "send .float() of it" if found.kind == "V" else "send real numbers"
    raise ValueError(f"holds {_named(found)}, which can't be aggregated: {advice}")


def packed(values: Values, dtype: str) -> Array:
    """Values as an array of a type; floats are rounded to it. Values that it can't hold come out as infinity."""
    if dtype != BFLOAT16:
        with np.errstate(over="ignore"):
            return Array(np.asarray(values, dtype=np.dtype(dtype), order="C"))
    rounded = torch.from_numpy(np.array(values, dtype=np.float32)).to(torch.bfloat16)
    plain = Array(rounded.view(torch.int16).numpy().view("V2"))
    return Array(BFLOAT16, plain.shape, plain.stype, plain.data)


def header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether in Fortran's order, type, and where the values begin, as the bytes say. Raises ValueError."""
    stream = io.BytesIO(data[:_HEADER])
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _READERS:
            raise ValueError(f"format version {version[0]}.{version[1]} is unknown")
        shape, fortran, dtype = _READERS[version](stream)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ValueError(f"is no numpy array: {error_text(error, 80)}") from None
    return tuple(shape), fortran, dtype, stream.tell()


def _declared(name: object) -> np.dtype[Any]:
    if name == BFLOAT16:
        return np.dtype("V2")
    try:
        return np.dtype(name if isinstance(name, str) and len(name) <= 16 else "?!")
    except (TypeError, ValueError, SyntaxError):
        raise ValueError(f"is declared as {plain_repr(name, 40)}, which is no type of numbers") from None


def _named(dtype: np.dtype[Any]) -> str:
    return plain_text(dtype, 40)
