"""A trace as JSON text, in the parts that are looked at one by one, and as the one text that may leave.

Arguments and results are JSON text when they cross the border, in the ledger, in the spool and on the wire. So a trace
is text, too: its parts are put together around those texts and never parsed, unless something in them has to be masked.
What the host alone writes is kept apart: to scan random digits costs ten times what words cost, and finds nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

__all__ = ["MaskedTrace", "Part", "TraceTexts", "decode", "encode", "encode_json"]

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_LONG_NUMBER = re.compile("[0-9]{18}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(value: Any) -> str:
    """Compact JSON text of any value.

    Raises:
        ValueError, TypeError, RecursionError: a cycle, NaN, depth, what is no JSON. Lone surrogates pass.
    """
    try:
        data = orjson.dumps(value)
    except TypeError:
        return _encode(value)
    # It takes more for JSON than we do, and writes NaN as null; what does not come back as it was, is such a thing.
    return data.decode() if orjson.loads(data) == value else _encode(value)


def encode_json(value: Any) -> str:
    """Compact JSON text of what was read from JSON, or is made of plain values of ours."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers beyond 64 bits, lone surrogates
        return _encode(value)


def decode(text: str) -> Any:
    """The value of a text that `encode_json` or `jsontext` wrote."""
    # orjson reads integers beyond 64 bits as floats, and no lone surrogates at all.
    if _LONG_NUMBER.search(text) is None and _SURROGATE.search(text) is None:
        return orjson.loads(text)
    return json.loads(text)


class Part(NamedTuple):
    """One object of a trace."""

    foreign: str
    """What others may have written into it: an object, compact, with something in it."""
    host: str
    """Its other fields, each after a comma: ids, hashes, times, counts and words of ours, that nobody else chooses."""

    def __str__(self) -> str:
        return f"{self.foreign[:-1]}{self.host}}}"


@dataclass(frozen=True, slots=True)
class TraceTexts:
    """A trace in parts: what has to be looked at, and what the host made and is not."""

    head: Part
    """All but the calls and the metadata."""
    tasks: Sequence[Part]
    """The calls."""
    metadata: str
    """An object, the host's own."""
    redactions: Mapping[str, int] = field(default_factory=dict[str, int])
    truncated: Mapping[str, int] = field(default_factory=dict[str, int])

    def joined(self) -> str:
        """The wire form."""
        notes = f'"redactions":{encode_json(self.redactions)},"truncated":{encode_json(self.truncated)}'
        tasks = f'"taskResults":[{",".join(map(str, self.tasks))}]'
        return f'{str(self.head)[:-1]},{tasks},"metadata":{self.metadata[:-1]},{notes}}}}}'


@dataclass(frozen=True, slots=True)
class MaskedTrace:
    """One trace that may be seen: made by `masked`, and by nothing else."""

    trace_id: str
    parent_id: str | None
    text: str
    """Its wire form, compact JSON that is UTF-8."""

    def wire(self) -> dict[str, Any]:
        """Its wire form, parsed."""
        return decode(self.text)
