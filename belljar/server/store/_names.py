"""A capability's name without its hash: what all texts published under it, and all traces of them, have in common."""

from __future__ import annotations

from belljar.fqdn import Fqdn, name_of

__all__ = ["base_name", "name_of"]


def base_name(name: Fqdn) -> str:
    """`org.project.namespace.action`."""
    return name.family
