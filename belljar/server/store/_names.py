"""A capability's name without its hash: what all texts published under it, and all traces of them, have in common."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from belljar import fqdn
from belljar.errors import ValidationError
from belljar.fqdn import Fqdn

__all__ = ["base_name", "name_of"]


def base_name(name: Fqdn) -> str:
    """`org.project.namespace.action`."""
    return str(replace(name, hash=""))


# A client runs few capabilities often.
@lru_cache(maxsize=4096)
def name_of(capability: str) -> str:
    """The FQDN without its hash: what all texts of a capability have in common. Another text as it is."""
    try:
        return base_name(fqdn.parse(capability))
    except ValidationError:
        return capability
