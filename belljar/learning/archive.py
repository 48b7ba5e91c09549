"""Named arrays as bytes and back, where the bytes may be anybody's.

The form is that of `numpy.savez_compressed`, and NumPy reads it. NumPy's own reader is not used the other way: it
believes the sizes a file declares. Here each is looked at before anything is unpacked, no more is unpacked than was
declared, and only arrays of plain numbers come out; pickle cannot. The same arrays make the same bytes.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "pack", "unpack"]

Array = NDArray[Any]

_SUFFIX = ".npy"
_MOST_ARRAYS = 64
# What `pack` writes before the numbers. NumPy would evaluate it as Python.
_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<f2|<f4|\|u1)', 'fortran_order': False, "
    rb"'shape': \(((?:[0-9]{1,9}(?:, ?)?){0,3})\), \} *\n",
    re.DOTALL,
)
# The first date a zip can hold: when something was packed makes no difference to what it is.
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


def pack(arrays: Mapping[str, Array]) -> bytes:
    """Arrays of float16, float32 or uint8, in this order."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            raw = io.BytesIO()
            np.lib.format.write_array(raw, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(name + _SUFFIX, _LONG_AGO), raw.getvalue(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def unpack(data: bytes, max_bytes: int) -> dict[str, Array]:
    """What `pack` packed, as arrays that cannot be written to.

    Raises:
        ValueError: it is not that, or larger than `max_bytes`, packed or not.
    """
    if len(data) > max_bytes:
        raise ValueError(f"an archive of {len(data)} bytes, where {max_bytes} are allowed")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check(entries, max_bytes)
            return {entry.filename.removesuffix(_SUFFIX): _array(archive, entry) for entry in entries}
    except _BROKEN as exc:
        raise ValueError(f"not an archive of arrays: {exc}") from exc


def _check(entries: list[zipfile.ZipInfo], max_bytes: int) -> None:
    names = {entry.filename for entry in entries}
    if len(entries) > _MOST_ARRAYS or len(names) < len(entries) or not all(n.endswith(_SUFFIX) for n in names):
        raise ValueError("an archive holds other things than arrays, each once")
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
        raise ValueError("an archive is packed in no way that is read here")
    if sum(entry.file_size for entry in entries) > max_bytes:
        raise ValueError(f"an archive unpacks to more than {max_bytes} bytes")


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    with archive.open(entry) as stream:
        # One more than was declared, to notice if there is.
        raw = stream.read(entry.file_size + 1)
    head = _HEAD.match(raw)
    if head is None:
        raise ValueError("an array is no plain one of small numbers")
    dtype, shape = np.dtype(head[1].decode()), tuple(int(side) for side in head[2].split(b",") if side.strip())
    if len(raw) - head.end() != math.prod(shape) * dtype.itemsize:
        raise ValueError("an array is not as long as it says")
    return np.frombuffer(raw, dtype, offset=head.end()).reshape(shape)
