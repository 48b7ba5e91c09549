"""What host and worker say to each other: one frozen dataclass a message.

Values travel as UTF-8 JSON text inside a message (`args`, `value`, `data`) and stay text until the host parses them,
once, strictly (`rpc/jsontext.py`). `rpc/frames.py` turns messages into bytes and back; nothing here does I/O.

    host -> worker   Execute, Return, Cancel
    worker -> host   Ready, Call, Log, Result, Fault
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Call", "Cancel", "Execute", "Fault", "FromWorker", "Log", "Ready", "Result", "Return", "ToWorker"]


@dataclass(frozen=True, slots=True)
class Execute:
    """Run this code in the parked box."""

    run: str
    """The host's run id; echoed nowhere, for the worker's own messages only."""
    code: str
    args: str
    """The run's arguments as JSON text: one object."""
    seed: str
    """64 hex digits: every random byte in the box follows from it."""
    now_ns: int
    """Wall clock at the start, nanoseconds since the epoch."""
    decisions: bool = True
    """Whether branches of the capability's own code are reported."""
    clock: tuple[int, ...] = ()
    """In a replay: the recorded run's timeline."""


@dataclass(frozen=True, slots=True)
class Return:
    """The answer to one call: either `value` (JSON text) or an error."""

    call: int
    ok: bool
    value: str = "null"
    code: str = ""
    message: str = ""
    data: str = "null"


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop what you do: sent when a run is abandoned but the worker is not killed."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is parked: its walls are on and its box waits for a job."""

    backend: str
    python: str
    walls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """The guest awaits `mcp.<server>.<tool>(**args)`. `call` counts 1, 2, 3... within the run."""

    call: int
    server: str
    tool: str
    args: str
    line: int
    """Line of the capability's own code that made the call; 0 if none is known. Guest-reported."""


@dataclass(frozen=True, slots=True)
class Log:
    """Something was printed. `stream` is `"stdout"` or `"stderr"`."""

    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """The capability returned."""

    value: str
    """JSON text."""
    decisions: tuple[tuple[str, str, str], ...] = ()
    """(node id, outcome, condition) each; guest-reported."""
    clock: tuple[int, ...] = ()
    """The run's timeline (`sandbox/timeline.py`), in order; empty if there is none or it was too long to keep."""
    stats: dict[str, int] = field(default_factory=dict[str, int])
    """What the worker counted: `timeline`, the number of events in it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The capability failed. All of it guest-reported, except when the worker itself saw the box trap."""

    code: str
    message: str
    traceback: str = ""
    line: int = 0
    data: str = "null"
    decisions: tuple[tuple[str, str, str], ...] = ()
    clock: tuple[int, ...] = ()
    stats: dict[str, int] = field(default_factory=dict[str, int])


ToWorker = Execute | Return | Cancel
FromWorker = Ready | Call | Log | Result | Fault
