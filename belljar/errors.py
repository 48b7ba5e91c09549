"""The error tree and the closed list of error codes.

    BelljarError
    |- GuestError        the capability did it (limits, permissions, exceptions, syntax, results, divergence)
    |- ApprovalRequired  a person has to decide before the run may go on
    |- MisuseError       the caller did it (ValidationError, ConfigError); nothing ran
    |- ProtocolError     a frame or message that breaks the rules; the worker is killed
    |- UpstreamError     the MCP server failed
    |- WallError         a confinement layer is missing or did not hold
    |- WorkerCrash       the process that held the box died without an answer
    `- Interrupted       the person at the keyboard ended the run

A `Code` is what other programs act on: it travels as itself, from where it arises to `--json`, and is never looked for
in words. `EXIT` maps each code to the exit status of the command line. Both are contracts: add, never rename.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import ClassVar, cast

__all__ = [
    "EXIT",
    "ApprovalRequired",
    "BelljarError",
    "Code",
    "ConfigError",
    "GuestError",
    "Interrupted",
    "MisuseError",
    "ProtocolError",
    "UpstreamError",
    "ValidationError",
    "WallError",
    "WorkerCrash",
    "unwrapped",
]


class Code(StrEnum):
    """Every way a run or a call can end other than well. The value is the name on the wire."""

    # the capability failed
    CAPABILITY_ERROR = "CAPABILITY_ERROR"
    SYNTAX_ERROR = "SYNTAX_ERROR"
    RESULT_NOT_JSON = "RESULT_NOT_JSON"
    EXECUTION_TIMEOUT = "EXECUTION_TIMEOUT"
    MEMORY_LIMIT = "MEMORY_LIMIT"
    RESULT_LIMIT = "RESULT_LIMIT"
    CALL_LIMIT = "CALL_LIMIT"
    RPC_ERROR = "RPC_ERROR"
    RPC_TIMEOUT = "RPC_TIMEOUT"
    UNKNOWN_TOOL = "UNKNOWN_TOOL"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    REPLAY_DIVERGENCE = "REPLAY_DIVERGENCE"
    PROTOCOL_ERROR = "PROTOCOL_ERROR"
    # misuse: nothing ran
    VALIDATION_ERROR = "VALIDATION_ERROR"
    CONFIG_ERROR = "CONFIG_ERROR"
    # a person has to decide
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
    # the machine or an upstream failed
    WALL_MISSING = "WALL_MISSING"
    WORKER_CRASH = "WORKER_CRASH"
    UPSTREAM_UNAVAILABLE = "UPSTREAM_UNAVAILABLE"
    # the person at the keyboard
    INTERRUPTED = "INTERRUPTED"


EXIT: dict[Code, int] = {
    **dict.fromkeys(Code, 1),
    Code.VALIDATION_ERROR: 2,
    Code.CONFIG_ERROR: 2,
    Code.APPROVAL_REQUIRED: 3,
    Code.WALL_MISSING: 4,
    Code.WORKER_CRASH: 4,
    Code.UPSTREAM_UNAVAILABLE: 4,
    Code.INTERRUPTED: 130,
}
"""Exit status of the command line for each code."""


class BelljarError(Exception):
    """Base of all our errors.

    Attributes:
        code: what happened, for programs.
        message: one line for people; says what to do.
    """

    default_code: ClassVar[Code] = Code.CAPABILITY_ERROR

    def __init__(self, message: str, *, code: Code | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code


class GuestError(BelljarError):
    """The capability did it. `line` is the line of its own code, if known."""

    def __init__(self, message: str, *, code: Code | None = None, line: int | None = None) -> None:
        super().__init__(message, code=code)
        self.line = line


class ApprovalRequired(BelljarError):
    """A call needs a person's word. `call_id`, `server` and `tool` say which."""

    default_code = Code.APPROVAL_REQUIRED

    def __init__(self, message: str, *, call_id: int, server: str, tool: str) -> None:
        super().__init__(message)
        self.call_id = call_id
        self.server = server
        self.tool = tool


class MisuseError(BelljarError):
    """The caller asked for something that cannot be; nothing ran."""

    default_code = Code.CONFIG_ERROR


class ValidationError(MisuseError):
    """Code, arguments or metadata that break a stated rule."""

    default_code = Code.VALIDATION_ERROR


class ConfigError(MisuseError):
    """A configuration file, option or environment variable that cannot be used."""

    default_code = Code.CONFIG_ERROR


class ProtocolError(BelljarError):
    """A frame or message that breaks the rules of `rpc/frames.py`."""

    default_code = Code.PROTOCOL_ERROR


class UpstreamError(BelljarError):
    """The MCP server failed: `RPC_ERROR`, `RPC_TIMEOUT`, `UNKNOWN_TOOL` or `UPSTREAM_UNAVAILABLE`.

    Attributes:
        server: its name in `mcp.json`.
        data: what the server said beside the message; a JSON value.
        source: who failed, where that was no real server: `fake`; and how, in a word.
    """

    default_code = Code.RPC_ERROR

    def __init__(
        self,
        message: str,
        *,
        server: str,
        code: Code | None = None,
        data: object = None,
        source: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.server = server
        self.data = data
        self.source = source


class WallError(BelljarError):
    """A confinement layer is missing or did not hold. `walls` names it."""

    default_code = Code.WALL_MISSING

    def __init__(self, message: str, *, walls: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.walls = walls


class WorkerCrash(BelljarError):
    """The process that held the box died without an answer."""

    default_code = Code.WORKER_CRASH


class Interrupted(BelljarError):
    """Ctrl-C, or the task that waited for the run was cancelled."""

    default_code = Code.INTERRUPTED


@contextmanager
def unwrapped() -> Generator[None]:
    """Raise what task groups wrapped: of an exception group, the first of our errors in it, else its only leaf.

    Task groups are how we own tasks, not something callers should have to know; a group of several foreign errors is
    raised as it is.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        ours = next((leaf for leaf in leaves if isinstance(leaf, BelljarError)), None)
        if ours is None and len(leaves) > 1:
            raise
        raise ours or leaves[0] from None


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(cast("BaseExceptionGroup[BaseException]", exc))
        else:
            yield exc
