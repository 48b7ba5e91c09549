"""A capability's name without its hash: what all texts published under it, and all traces of them, have in common."""

from __future__ import annotations

from dataclasses import replace

from belljar.fqdn import Fqdn

__all__ = ["base_name"]


def base_name(name: Fqdn) -> str:
    """`org.project.namespace.action`."""
    return str(replace(name, hash=""))
