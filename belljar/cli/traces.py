"""`belljar traces`: what becomes of a trace before it leaves this machine, and after."""

from __future__ import annotations

import typer

from belljar.cli import _sanitize, _spool, _traces

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Register the verbs."""
    traces = typer.Typer(
        rich_markup_mode=None, help="What leaves this machine: masked, kept until it is sent, and stored."
    )
    traces.command("sanitize", epilog=_sanitize.EPILOG)(_sanitize.sanitize)
    _spool.add(traces)
    _traces.add(traces)
    app.add_typer(traces, name="traces")
