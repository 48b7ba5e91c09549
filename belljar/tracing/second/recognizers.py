"""Presidio itself, which takes a second to import: nobody imports this but to look at a candidate, or ahead of time."""

from __future__ import annotations

from functools import cache
from typing import Any

import phonenumbers
import tldextract
from presidio_analyzer import predefined_recognizers as presidio

__all__ = ["is_number_of", "phones", "recognizer"]


class _Email(presidio.EmailRecognizer):
    """Asks the list of public suffixes that is installed; the original downloads a newer one."""

    _suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    def validate_result(self, pattern_text: str) -> bool:
        return self._suffixes.extract_str(pattern_text).fqdn != ""


@cache
def recognizer(name: str) -> Any:
    """One of Presidio's recognizers, by the name of its class. They keep nothing of what they see."""
    return _Email() if name == "EmailRecognizer" else getattr(presidio, name)()


@cache
def phones(region: str) -> Any:
    """The one for telephone numbers, as they are written in a country; leniency 0: whatever can be dialled."""
    return presidio.PhoneRecognizer(supported_regions=(region,), leniency=0)


def is_number_of(region: str, found: str) -> bool:
    """Whether it is a number of that country's, and not only as long as one."""
    try:
        number = phonenumbers.parse(found, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number_for_region(number, region)
