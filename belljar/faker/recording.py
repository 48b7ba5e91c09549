"""Everything that is told of a faker's calls: the session's file and, if somebody asked for them, spans.

Both are told of each call once, from one place, so that a row of the session and its span carry the same ids. The
session is written to the end when the faker ends; spans get `flush_s`, and what is not taken by then is dropped.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from belljar.faker.calls import Call, CallEvent
from belljar.faker.sessions import ServedTool, SessionRecorder
from belljar.rpc.world import Hop, JsonValue

if TYPE_CHECKING:
    from belljar.faker.spans import FakerSpans
    from belljar.tracing.otel import Telemetry

__all__ = ["Recording", "open_recording"]

_HIDDEN = "[REDACTED]"
_MIN_SECRET = 4


class Recording:
    """A `Recorder` of one session and its spans. Made by `open_recording`."""

    def __init__(self, session: SessionRecorder, spans: FakerSpans | None) -> None:
        self._session = session
        self._spans = spans

    @property
    def session_id(self) -> str:
        return self._session.session_id

    @property
    def lost(self) -> int:
        """Calls that could not be written down so far."""
        return self._session.lost

    def serves(self, tools: Iterable[ServedTool]) -> None:
        """What the target serves, now; said again whenever its list changes."""
        self._session.serves(tools)

    def begin(self, call: Call, meta: Mapping[str, JsonValue]) -> None:
        """A call comes in, with the `_meta` of its request; then `call.way.traceparent` is what its target is told."""
        if self._spans is not None:
            self._spans.begin(call, meta)

    def record(self, event: CallEvent) -> None:
        """A call was answered. Never waits, never raises."""
        if self._spans is not None:
            self._spans.record(event)
        self._session.record(event)


@contextmanager
def open_recording(
    path: Path,
    *,
    instruction: str = "",
    command: Sequence[str] = (),
    safety_mode: bool = True,
    session_id: str | None = None,
    telemetry: Telemetry | None = None,
    hop: Hop | None = None,
    known: Iterable[str] = (),
    flush_s: float = 2.0,
) -> Generator[Recording]:
    """Keep a session in this file, and make spans of it if there is telemetry, which is shut down at the end.

    Args:
        hop: how the target is reached; read whenever a span is built.
        known: secrets of the target: they stand in no span and not in the session's command.

    Raises:
        ConfigError: the file of the sessions cannot be used.
    """
    known = frozenset(secret for secret in known if len(secret) >= _MIN_SECRET)
    shown = _shown([_without(word, known) for word in command])
    with SessionRecorder(
        path, instruction=instruction, command=shown, safety_mode=safety_mode, session_id=session_id
    ) as session:
        if telemetry is None:
            yield Recording(session, None)
            return
        from belljar.faker.spans import FakerSpans

        spans = FakerSpans(
            telemetry,
            session_id=session.session_id,
            instruction=instruction,
            safety_mode=safety_mode,
            hop=hop,
            known=known,
        )
        try:
            yield Recording(session, spans)
        finally:
            spans.close(flush_s)
            telemetry.shutdown(flush_s)


def _without(word: str, known: Iterable[str]) -> str:
    for secret in known:
        word = word.replace(secret, _HIDDEN)
    return word


def _shown(command: Sequence[str]) -> list[str]:
    """The command without what its own options call a secret: `--api-key X`, `--token=X`, `KEY=X`."""
    from belljar.tracing.masking.keys import verdict

    shown, hide = list[str](), False
    for word in command:
        name, equals, _ = word.partition("=")
        named = verdict(name.lstrip("-")) is not None
        if equals and named:
            word = f"{name}={_HIDDEN}"
        elif hide and not word.startswith("-"):
            word = _HIDDEN
        hide = word.startswith("-") and not equals and named
        shown.append(word)
    return shown
