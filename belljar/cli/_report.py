"""What came of a run, said once: one JSON object, or the prints, the value and the calls.

Standard output is the capability's: what it printed and the value, escaped but whole. The rest is on standard error.
A value of None is not shown, as at a Python prompt.
"""

from __future__ import annotations

import json
import threading

from belljar import show
from belljar._run import Run, RunError
from belljar.cli import _ending, _screen
from belljar.errors import EXIT, BelljarError, Code
from belljar.rpc.world import JsonValue

__all__ = ["Report"]

# A table longer than that is no table any more.
_MOST_ROWS = 50


class Report:
    """Says it once, whoever asks first; asked from a second thread when the first one hangs."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._first = threading.Lock()

    def ran(self, run: Run) -> int:
        """Show a finished run; its exit status."""
        if self._first.acquire(blocking=False):
            if self._json:
                _screen.out_json(run.to_json())
            else:
                _show(run)
            if run.error is not None:
                _show_error(run.error, quiet=self._json)
        return 0 if run.error is None else EXIT[run.error.code]

    def refused(self, error: BelljarError) -> None:
        """Nothing ran: with --json, an object that says so. The line on standard error is somebody else's."""
        if self._first.acquire(blocking=False) and self._json:
            _screen.out_json(Run.refused(error))


def _show(run: Run) -> None:
    if run.stdout:
        _screen.out(_screen.escaped(run.stdout.removesuffix("\n")))
    if run.stderr:
        _screen.note(_screen.escaped(run.stderr.removesuffix("\n")))
    if run.value is not None:
        _screen.out(_pretty(run.value))
    if run.calls:
        _show_calls(run)
    _screen.note(_summary(run))


def _pretty(value: JsonValue) -> str:
    """Text as it is, all else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return _screen.escaped(text)


def _show_calls(run: Run) -> None:
    rows = [
        (
            str(call.call_id),
            f"{show.name(call.server)}:{show.name(call.tool)}",
            call.state,
            "" if call.duration_ms is None else f"{call.duration_ms:.1f} ms",
            call.error_code or call.grant,
        )
        for call in run.calls[:_MOST_ROWS]
    ]
    _screen.note("")
    _screen.table(("", "call", "state", "took", "why"), rows)
    if len(run.calls) > _MOST_ROWS:
        _screen.note(f"... and {len(run.calls) - _MOST_ROWS} more; --json has all of them")


def _summary(run: Run) -> str:
    kept, printed = len(run.stdout.encode()) + len(run.stderr.encode()), sum(run.output_bytes.values())
    parts = [
        "ok" if run.error is None else run.error.code.value,
        f"{run.duration_ms:.1f} ms",
        f"{len(run.calls)} call{'' if len(run.calls) == 1 else 's'}",
        f"trace {run.run_id}",
    ]
    if printed > kept:
        parts.append(f"{printed - kept} bytes of output dropped")
    return "belljar: " + ", ".join(parts)


def _show_error(error: RunError, *, quiet: bool) -> None:
    if error.code is Code.SYNTAX_ERROR and error.traceback and not quiet:
        _screen.note(_screen.escaped(error.traceback.strip("\n")))
    where = "" if error.line is None or f"line {error.line}" in error.message else f"line {error.line}: "
    _ending.complain(error.code, f"{where}{error.message}")
