"""`belljar learn status`: who answers on the configured server and why, and what its learner does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from belljar import show

if TYPE_CHECKING:
    from belljar.config import Config

__all__ = ["add"]

_EPILOG = """\b
Examples:
  belljar learn status
  belljar learn status --json

\b
The server is BELLJAR_CLOUD_URL, the key BELLJAR_API_KEY; it must have the scope `read`. The learner's states:
  off       no learner runs beside any server of that database (--no-learn, or none is up)
  waiting   it weighs traces anew, and trains when there are enough new ones
  training  it trains a model now
  absent    it cannot train, because PyTorch is not installed there; counts answer
"""
_TASKS = (("capabilities", "which capability"), ("tools", "which tool next"), ("chance", "how likely it succeeds"))


def add(learn: typer.Typer) -> None:
    """Register the verb below `belljar learn`."""
    learn.command("status", epilog=_EPILOG)(_status)


def _status(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A belljar.toml.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's answer, as JSON.")] = False,
) -> None:
    """Show whether a trained model is used, for what, and what the learner does."""
    from belljar.cli import _ending, _setup

    if debug:
        _ending.log_to_stderr()
    body = lambda: _show(_setup.configure(config=config), as_json)  # noqa: E731 - one word for what runs
    raise typer.Exit(_ending.ending(body, debug=debug))


def _show(config: Config, as_json: bool) -> int:
    import anyio

    from belljar.cli import _screen
    from belljar.tracing.stored import StoredTraces

    told = anyio.run(StoredTraces(config.tracing).learning)
    if as_json:
        _screen.out_json(told)
    else:
        _screen.out("\n".join(_lines(told)))
    return 0


def _lines(told: dict[str, Any]) -> list[str]:
    learner, trained, uses = told["learner"], told["checkpoint"], told["uses"]
    lines = [f"answers   {_text(told['model'])}: {_text(told['reason'])}"]
    for task, words in _TASKS:
        lines.append(f"  {words:<24}{'the model' if uses.get(task) is True else 'counts'}")
    lines.append(f"model     {_model(trained) if trained else 'none was trained yet'}")
    lines.append(f"learner   {_text(learner['state'])}: {_text(learner['why'])}")
    numbers = f"{learner['replay']} real traces, {learner['newTraces']} new"
    numbers += f"; trains after {learner['trainsAfter']}" if learner["trainsAfter"] else ""
    heard = learner.get("updatedAt")
    lines.append(f"  {numbers}; {f'heard of {_text(heard)}' if heard else 'never heard of'}")
    return lines


def _model(trained: dict[str, Any]) -> str:
    return (
        f"version {trained['version']}, of {_text(trained['trainedAt'])}, trained on {trained['traces']} traces"
        f" in {trained['seconds']:.0f} s"
    )


def _text(value: object) -> str:
    return show.text(str(value), max_chars=600)
