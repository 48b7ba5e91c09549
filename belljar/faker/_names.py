"""Names of tools as lists of words: camelCase, snake, kebab, dotted, with digits, with the prefix of a server.

Only what a person would read as a word boundary is one. Letters of another script stay inside a word, so that a name
written with look-alikes holds no verb we know and is unknown.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["words"]

# A tool's name has 128 characters at most in the protocol; what is longer is cut, and what is cut off is no verb.
_MAX_CHARS: Final = 512
_BOUNDARY: Final = re.compile(
    r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"
)
_SEPARATOR: Final = re.compile(r"[^\w]+|_+")


def words(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case, digits left out."""
    split = _BOUNDARY.sub(" ", name[:_MAX_CHARS])
    found = (word.lower() for word in _SEPARATOR.sub(" ", split).split())
    return tuple(word for word in found if not word.isdigit())
