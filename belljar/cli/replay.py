"""`belljar replay`: a kept run once more, answered from its recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from belljar.cli._report import Report
    from belljar.config import Config
    from belljar.rpc.recording import Recording

__all__ = ["add"]

_EXAMPLES = """\b
Examples:
  belljar replay 01a1fc38-077e-7530-b11e-0a67ef5de0f3
  belljar replay ./failed.recording --json
"""

_Which = Annotated[str, typer.Argument(metavar="RUN", help="A run id, or the path of a recording.")]
_Config = Annotated[str | None, typer.Option("--config", help="In place of the user's belljar.toml.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, as `belljar run --json` does.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")]


def add(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("replay", epilog=_EXAMPLES)(_replay)


def _replay(which: _Which, config: _Config = None, as_json: _Json = False, debug: _Debug = False) -> None:
    """Run a recorded run again, bit for bit: same clock, same random numbers, same answers in the same order.

    No server is started and nothing is sent. Runs are recorded when the user's belljar.toml says [tracing] raw = true.
    A run that makes another call than it did ends REPLAY_DIVERGENCE, and says both.
    """
    from belljar.cli import _ending
    from belljar.cli._report import Report

    if debug:
        _ending.log_to_stderr()
    report = Report(as_json=as_json)
    status = _ending.ending(lambda: _replayed(which, config, report), debug=debug, refused=report.refused)
    raise typer.Exit(status)


def _replayed(which: str, config_file: str | None, report: Report) -> int:
    from pathlib import Path

    import anyio

    from belljar.cli import _setup
    from belljar.errors import ValidationError

    config = _setup.configure(config=None if config_file is None else Path(config_file))
    recording = _found(which, config)
    if recording.facts.get("backend") != "wasm":
        raise ValidationError("only runs of the wasm backend can be run again: native Python has no clock of ours")
    _setup.with_guest(config)
    return anyio.run(_again, config, recording, report)


def _found(which: str, config: Config) -> Recording:
    from pathlib import Path

    from belljar.rpc.kept import KeptRuns
    from belljar.rpc.recording import Recording

    if "/" in which or which.endswith(".recording"):
        return Recording.load(Path(which))
    return KeptRuns(config.paths.state / "runs").find(which)


async def _again(config: Config, recording: Recording, report: Report) -> int:
    from dataclasses import replace

    from belljar.cli._interrupts import interruptible
    from belljar.errors import Interrupted
    from belljar.jar import open_jar

    # What was sent once is not sent again, nor recorded.
    quiet = replace(config, tracing=replace(config.tracing, enabled=False))
    async with open_jar(quiet) as jar, interruptible(jar, report) as scope:
        with scope:
            return report.ran(await jar.replay(recording))
    raise Interrupted("interrupted before the code ran")
