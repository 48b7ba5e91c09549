"""`belljar faker create` and `convert`: entries of an mcp.json that start a faker."""

from __future__ import annotations

import typer

__all__ = ["add"]


def add(faker: typer.Typer) -> None:
    """Register the verbs below `faker`."""
