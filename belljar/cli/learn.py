"""`belljar learn`: what is learned from traces, and whether it is any better than what needs no learning."""

from __future__ import annotations

import typer

from belljar.cli import _learn_evaluate, _learn_status, _learn_train

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Register the verbs."""
    learn = typer.Typer(rich_markup_mode=None, help="What is learned from traces, and how good it is.")
    learn.callback()(_learn)
    _learn_status.add(learn)
    _learn_train.add(learn)
    _learn_evaluate.add(learn)
    app.add_typer(learn, name="learn")


def _learn() -> None:
    # typer makes a group of an app with a callback, also while there is one verb alone.
    pass
