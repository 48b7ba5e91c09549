"""`belljar traces`: what becomes of a trace before it leaves this machine, and how it does."""

from __future__ import annotations

import typer

from belljar.cli import _sanitize, _spool

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Register the verbs."""
    traces = typer.Typer(rich_markup_mode=None, help="What leaves this machine: masked, and kept until it is sent.")
    traces.command("sanitize", epilog=_sanitize.EPILOG)(_sanitize.sanitize)
    _spool.add(traces)
    app.add_typer(traces, name="traces")
