"""JSON text on its way into a column and out of it.

A trace is turned into text once, for its hash; the same text is what is stored. `Encoded` marks such text, so that the
column's serializer lets it through. `text_of` sorts keys and writes floats as Python does - the shortest digits that
read back as the same double - which makes equal values equal texts. It is not RFC 8785: writing floats as ECMAScript
does costs eight times as much, and both texts that a hash here ever compares are written by this function.
"""

from __future__ import annotations

import json
from typing import Any

from belljar.rpc.jsontext import JsonError

__all__ = ["Encoded", "decoded", "encoded", "text_of"]

_SORTED = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)


class Encoded(str):
    """JSON text."""

    __slots__ = ()


def text_of(value: Any) -> Encoded:
    """The value as JSON text, the same for equal values.

    Raises:
        JsonError: not a JSON value, NaN or Infinity, a cycle, nested too deep. Holds nothing of the value.
    """
    try:
        return Encoded(_SORTED.encode(value))
    except RecursionError:
        raise JsonError("nested too deep") from None
    except TypeError:
        raise JsonError("holds something that is not a JSON value") from None
    except ValueError as error:
        reason = "a value that contains itself" if "Circular" in str(error) else "a number that JSON cannot hold"
        raise JsonError(reason) from None


def encoded(value: Any) -> str:
    """Serializer of JSON columns."""
    return value if type(value) is Encoded else text_of(value)


def decoded(text: str | bytes) -> Any:
    """Deserializer of JSON columns. What is stored was checked on the way in; a number may be long."""
    return json.loads(text)
