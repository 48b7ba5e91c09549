"""Recordings: a closed ledger and the texts it has digests of, enough to run the same box again bit for bit.

A recording holds raw values. It stays on this machine, in a file of mode 0600 that was not there before. In memory and
on disk it is the same: the ledger's entries, and beside them the code, arguments, clock readings and the text of every
call and answer. Everything else is derived from the entries, and each text is held against its digest in them, so a
recording is either whole or refused. That shows damage and edits; against somebody who writes a whole new file only a
head that was kept elsewhere (in a stored trace) helps, and `load` takes one.

Damage of any kind is a `ValidationError`: nothing was run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from belljar.errors import Code, ConfigError, ValidationError
from belljar.limits import MAX_FRAME_BYTES, MIB
from belljar.rpc import jsontext
from belljar.rpc.ledger import Entry, Ledger, answer_sha256, text_sha256, verify
from belljar.rpc.record import CallRecord
from belljar.rpc.world import JsonValue

__all__ = ["RecordedCall", "Recording"]

_FORMAT = "belljar recording 1"
# Twice what a ledger keeps, in JSON inside JSON: quotes and backslashes take two bytes.
_MAX_BYTES = 192 * MIB
# Three entries a call, each an object in an object, for a hundred thousand calls.
_MAX_CONTAINERS = 1 << 20
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call as it was made and answered."""

    call_id: int
    server: str
    tool: str
    args_sha256: str
    args_text: str | None
    grant: str
    is_write: bool
    tool_digest: str
    layer: int
    kind: str
    """`call`: it went to the world. `refused`, `pending`, `unmade`: it did not."""
    state: str
    order: int | None
    """The n-th answer the guest was given, from 0; None if it was given none."""
    after: int
    """How many calls the host had seen by then."""
    value_text: str | None
    """What the guest was given; None if that was an error, or nothing."""
    code: str
    message: str
    data_text: str


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything needed to run a box again. Made by `of` and `load`, which check it."""

    code: str
    args_text: str
    clock: tuple[int, ...]
    entries: tuple[Entry, ...]
    calls: tuple[RecordedCall, ...]
    """By call id: 1, 2, 3..."""
    head: str

    @property
    def run_id(self) -> str:
        return cast(str, self.entries[0]["run"])

    @property
    def seed(self) -> str:
        return cast(str, self.entries[0]["seed"])

    @property
    def now_ns(self) -> int:
        return cast(int, self.entries[0]["now_ns"])

    @property
    def facts(self) -> Mapping[str, JsonValue]:
        """What else the run was given: limits, backend, world..."""
        return cast("Mapping[str, JsonValue]", self.entries[0]["facts"])

    @staticmethod
    def of(ledger: Ledger) -> Recording:
        """The recording of a run that has ended.

        Raises:
            ValidationError: it has not ended, or its answers were too much to keep.
        """
        if not ledger.closed or not ledger.complete:
            raise ValidationError("this run cannot be recorded: it has not ended, or its answers were too much to keep")
        return _made(
            {
                "code": ledger.code,
                "args": ledger.args_text,
                "clock": list(ledger.clock),
                "entries": ledger.entries(),
                "texts": {str(record.call_id): _texts(record) for record in ledger.calls},
            }
        )

    def save(self, path: Path) -> None:
        """Write it to a new file that only its owner can read.

        Raises:
            ConfigError: the file exists (a symbolic link is a file, too), or cannot be written.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as exc:
            raise ConfigError(f"cannot write a recording to {str(path)!r}: {exc.strerror}") from exc
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(jsontext.canonical(self._document()))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _document(self) -> dict[str, JsonValue]:
        return {
            "format": _FORMAT,
            "code": self.code,
            "args": self.args_text,
            "clock": list(self.clock),
            "entries": list(self.entries),
            "texts": {str(call.call_id): _texts_again(call) for call in self.calls},
        }

    @staticmethod
    def load(path: Path, *, head: str | None = None) -> Recording:
        """Read one back and check all of it; with `head`, that it is the very one.

        Raises:
            ConfigError: no regular file of ours, or unreadable.
            ValidationError: not a recording, damaged, or not the one with that head.
        """
        document = _document_in(_read(path))
        recording = _made(document)
        if head is not None and recording.head != head:
            raise ValidationError("another recording than the one asked for: its head differs")
        return recording


# Files

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def _read(path: Path) -> bytes:
    try:
        # O_NONBLOCK: opening a pipe somebody put there must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0))
    except OSError as exc:
        raise ConfigError(f"cannot read the recording {str(path)!r}: {exc.strerror}") from exc
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
        os.close(descriptor)
        raise ConfigError(f"no recording: {str(path)!r} is no regular file of at most {_MAX_BYTES} bytes")
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_MAX_BYTES + 1)


def _document_in(data: bytes) -> dict[str, Any]:
    try:
        document = jsontext.parse(data, max_bytes=_MAX_BYTES, max_containers=_MAX_CONTAINERS)
    except jsontext.JsonError as exc:
        raise ValidationError(f"not a recording: {exc}") from None
    if type(document) is not dict or (found := cast("dict[str, Any]", document)).get("format") != _FORMAT:
        raise ValidationError(f"not a recording: its format is not {_FORMAT!r}")
    return found


# From entries and texts to a recording that is whole


def _made(document: Mapping[str, JsonValue]) -> Recording:
    try:
        return _checked(document)
    except (KeyError, TypeError, ValueError):
        raise ValidationError("the recording is damaged: a part is missing or of the wrong kind") from None


def _checked(document: Mapping[str, JsonValue]) -> Recording:
    entries = tuple(map(_dict, _list(document["entries"])))
    head = verify(entries)
    opened, closed = entries[0] if entries else {}, entries[-1] if entries else {}
    _same(opened.get("kind"), "open")
    _same(closed.get("kind"), "close")
    _is(str, opened["run"])
    _is(str, opened["seed"])
    _is(int, opened["now_ns"])
    _dict(opened["facts"])
    code, args_text = _is(str, document["code"]), _is(str, document["args"])
    clock = tuple(_is(int, reading) for reading in _list(document["clock"]))
    _same(text_sha256(code), opened["code_sha256"])
    _same(_json_sha256(args_text), opened["args_sha256"])
    _same(jsontext.sha256(clock), closed["clock_sha256"])
    calls = _calls(entries, _dict(document["texts"]))
    # Without a hole, or a replay would wait for an answer that nobody gives.
    orders = sorted(call.order for call in calls if call.order is not None)
    _same(orders, list(range(len(orders))))
    _same(all(call.after <= len(calls) for call in calls), True)
    return Recording(code, args_text, clock, entries, calls, head)


def _calls(entries: tuple[Entry, ...], texts: Mapping[str, Any]) -> tuple[RecordedCall, ...]:
    merged: dict[int, Entry] = {}
    for entry in entries[1:-1]:
        call_id = _is(int, entry["call"])
        asked = merged.get(call_id, {})
        _same(entry["kind"] == "end", bool(asked))
        merged[call_id] = {**entry, **asked, "state": entry.get("state", "unknown")}
    _same(sorted(merged), list(range(1, len(merged) + 1)))
    _same(sorted(texts), sorted(map(str, merged)))
    return tuple(_call(merged[call_id], texts[str(call_id)]) for call_id in sorted(merged))


def _call(entry: Entry, texts: Mapping[str, Any]) -> RecordedCall:
    call = RecordedCall(
        call_id=entry["call"],
        server=_is(str, entry["server"]),
        tool=_is(str, entry["tool"]),
        args_sha256=_is(str, entry["args_sha256"]),
        args_text=_is_or_none(str, texts["args"]),
        grant=_is(str, entry["grant"]),
        is_write=_is(bool, entry["write"]),
        tool_digest=_is(str, entry["tool_digest"]),
        layer=_is(int, entry["layer"]),
        kind=_is(str, entry["kind"]),
        state=_is(str, entry["state"]),
        order=_is_or_none(int, entry.get("order")),
        after=_is(int, entry.get("after", 0)),
        value_text=_is_or_none(str, texts["value"]),
        code=_is(str, entry.get("code") or ""),
        message=_is(str, texts["message"]),
        data_text=_is(str, texts["data"]),
    )
    _same(call.args_text is not None, entry["args_kept"])
    if call.args_text is not None:
        _same(_json_sha256(call.args_text), call.args_sha256)
    if call.value_text is not None or call.order is None:
        _same((call.message, call.data_text), ("", "null"))
    if call.order is None:
        _same(call.value_text, None)
    else:
        _same(_answer_sha256(call), entry["answer_sha256"])
        jsontext.parse(call.data_text if call.value_text is None else call.value_text, max_bytes=MAX_FRAME_BYTES)
    return call


def _answer_sha256(call: RecordedCall) -> str:
    if call.value_text is None:
        return answer_sha256(Code(call.code).value, call.message, call.data_text)
    return answer_sha256(call.value_text)


def _texts(record: CallRecord) -> dict[str, str | None]:
    answered = record.completion_order is not None
    return {
        "args": record.args_text,
        "value": record.value_text,
        "message": (record.error_message or "") if answered else "",
        "data": record.error_data_text,
    }


def _texts_again(call: RecordedCall) -> dict[str, str | None]:
    return {"args": call.args_text, "value": call.value_text, "message": call.message, "data": call.data_text}


def _json_sha256(text: str) -> str:
    return jsontext.sha256(jsontext.parse(text, max_bytes=MAX_FRAME_BYTES))


def _same(one: object, other: object) -> None:
    if one != other:
        raise ValidationError("the recording is damaged: a text is not the one the ledger has the digest of")


def _is(kind: type[_T], value: object) -> _T:
    if type(value) is not kind:
        raise TypeError
    return value


def _list(value: object) -> list[Any]:
    return cast("list[Any]", _is(list, value))


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", _is(dict, value))


def _is_or_none(kind: type[_T], value: object) -> _T | None:
    return None if value is None else _is(kind, value)
