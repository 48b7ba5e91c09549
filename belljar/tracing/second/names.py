"""Names of people and places, by a spaCy model that the user installed and named. Nothing is downloaded.

A model reads prose and guesses; on ids, code and JSON it guesses wrong. So it is asked about texts that have words, and
believed only where what it found is made of words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import spacy
from spacy.util import is_package

from belljar import show
from belljar.errors import ConfigError
from belljar.tracing.masking.ruleset import Span

__all__ = ["Names"]

_KINDS = {"PERSON": "PERSON", "PER": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "FAC": "LOCATION"}
_NOT_NEEDED = ("parser", "lemmatizer", "attribute_ruler", "textcat")
# A word with a capital, or of a script without capitals.
_PROSE = re.compile(r"[^\W\d_]{2,}")
_NAME = re.compile(r"[^\W\d_][^\d_@/\\<>{}()\[\]=:;|\"#$%&*+\x00]{1,80}")


class Names:
    """Finds names.

    Raises:
        ConfigError: if the model is not installed, or cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        # A folder of that name in the working directory is not what is meant: only a package, or a whole path.
        path = Path(model)
        if not is_package(model) and not (path.is_absolute() and path.is_dir()):
            shown = show.text(model)
            raise ConfigError(
                f"spaCy model {shown} is not installed; install it with: python -m spacy download {shown}"
            )
        try:
            self._model = spacy.load(model, exclude=_NOT_NEEDED)
        except (OSError, ValueError, ImportError) as exc:
            raise ConfigError(f"spaCy model {show.text(model)} cannot be loaded: {type(exc).__name__}") from exc

    def spans(self, text: str) -> Iterator[Span]:
        """Where names stand."""
        if _PROSE.search(text) is None:
            return
        for entity in cast("Any", self._model(text)).ents:
            kind = _KINDS.get(entity.label_)
            if kind is not None and _NAME.fullmatch(entity.text):
                yield entity.start_char, entity.end_char, kind
