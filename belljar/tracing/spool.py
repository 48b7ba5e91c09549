"""The spool: where a trace is safe from the end of its process, and waits for the syncer.

Each process appends to a segment of its own, in the folder of the destination its traces are for: one `write` a trace,
no waiting and no sharing. What the kernel has taken survives any kill of the process; nothing is forced to the disk, so
a power cut may take what was written in its last seconds. A segment is locked (flock) for as long as its writer lives
and has not finished it; that is how others know. It appears under its name only when it is locked and has its header,
so a segment that nobody holds will never grow again.

Nothing here raises into a run. What cannot be kept is dropped and counted under a reason:

    dropped.error        it could not be encoded; nothing the sanitizer made is like that
    dropped.too_large    it is larger than a record may be
    dropped.full         there is no more room under `max_bytes`: the oldest finished segments go first, whole
    dropped.disk         the system refused: no space, no folder, no right to write
    dropped.untrusted    the folder is not ours alone, or no folder

What a process dropped it writes into its own segment with the next trace that fits, or at the end; so the outbox hears
of it. Where not even that can be written, because the disk is full, it leaves the numbers beside (`storage.losses`).
`append` may be called by many threads, and after a fork by both sides: the child lets go of its copy of the parent's
segment and begins one of its own.

Bounds: `max_bytes` is for segments and outbox together. The outbox keeps itself under three quarters of it, so that
writers always have the last quarter. Age is not looked at here: only the outbox can tell an old trace from a wrong
clock. Other writers may overshoot by the segment each has open.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from belljar.limits import MIB
from belljar.tracing.destination import Destination
from belljar.tracing.storage import folder as files
from belljar.tracing.storage import losses
from belljar.tracing.storage import segments as segments
from belljar.tracing.texts import MaskedTrace

if TYPE_CHECKING:
    from belljar.tracing.storage.segments_read import Dropped, Tally

__all__ = ["SpoolLimits", "SpoolWriter"]

# Dropped segments that are told by name, so that the outbox can leave out what it has read of them; what is more is
# told as sums.
_MAX_NAMED = 100
# For telling what was dropped, when there is room for nothing else.
_SLACK = 64
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """What may wait for one destination."""

    max_bytes: int = 64 * MIB
    """Segments and outbox together; beyond it the oldest is dropped, and counted."""
    max_age_s: float = 30 * 86400.0
    """How long a trace may wait."""
    segment_bytes: int = 1 * MIB
    """A segment that has grown to this is finished, and the next one begun."""

    @property
    def outbox_bytes(self) -> int:
        """The outbox's share."""
        return self.max_bytes // 4 * 3

    @property
    def rotate_bytes(self) -> int:
        """`segment_bytes`, or less where little may wait at all."""
        return min(self.segment_bytes, self.max_bytes // 4)


_DEFAULT = SpoolLimits()


class SpoolWriter:
    """Appends masked traces to segments of this process. Thread-safe, fork-safe; nothing it does raises into a run."""

    def __init__(
        self,
        root: Path,
        destination: Destination,
        limits: SpoolLimits = _DEFAULT,
        *,
        sanitizer_version: str,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`root` is the spool's folder, `paths.state / "spool"`. Opens nothing yet."""
        self.folder = root / destination.id
        """Where its segments are."""
        self._destination = destination
        self._limits = limits
        self._sanitizer_version = sanitizer_version
        self._clock_ns = clock_ns
        self._segment: _Segment | None = None
        self._begin()
        _WRITERS.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._counters = Counter[str]()
        # What the outbox has not been told yet.
        self._unsaid = Counter[str]()
        # What of it stands beside, under which name.
        self._beside = ("", Counter[str]())
        self._dropped: list[Dropped] = []

    @property
    def counters(self) -> Mapping[str, int]:
        """What this process captured, spooled and dropped, by reason; in a forked child, since the fork."""
        return dict(self._counters)

    def append(self, trace: MaskedTrace, *, cost_us: int = 0) -> bool:
        """Write one trace; when it returns True, no kill of this process loses it. False: dropped, and counted."""
        try:
            record = segments.encode_trace(trace, max(self._clock_ns(), 0), max(int(cost_us), 0))
        except Exception:  # noqa: BLE001 - no id, a lone surrogate: whatever cannot be written is dropped
            return self._drop("error")
        if len(record) > min(segments.MAX_RECORD_BYTES, self._limits.rotate_bytes):
            return self._drop("too_large")
        with self._lock:
            reason = self._write(record)
            if reason is None:
                self._counters["captured"] += 1
                self._counters["spooled"] += 1
                return True
        return self._drop(reason)

    def close(self) -> None:
        """Finish the segment, with what was counted last. A later append begins another one."""
        with self._lock:
            if (self._unsaid or self._dropped) and self._write(b"", last=True) is not None:
                self._sum_up(0)
                self._put_beside()
            self._finish()

    def _drop(self, reason: str) -> bool:
        with self._lock:
            for counters in (self._counters, self._unsaid):
                counters.update({"captured": 1, f"dropped.{reason}": 1})
            if reason in ("disk", "full"):
                self._put_beside()
        return False

    def _put_beside(self) -> None:
        """Leave the numbers where they need no room, in case that nothing can be written before this process ends."""
        try:
            with files.opened(self.folder, create=True) as folder:
                self._take_back(folder)
                name = f"{files.LOST}{max(self._clock_ns(), 0):020d}-{os.getpid()}-{os.urandom(4).hex()}"
                told = losses.note(folder, name, self._unsaid, files.listing(folder).losses)
        except OSError:
            return
        if told:
            self._unsaid, self._beside = told, (name, told.copy())

    def _take_back(self, folder: int) -> None:
        name, told = self._beside
        self._beside = ("", Counter[str]())
        if name and not losses.take_back(folder, name):
            self._unsaid -= told  # somebody has counted it

    def _sum_up(self, named: int) -> None:
        """Of the segments that were dropped, only the newest are told by name."""
        for dropped in self._dropped[: len(self._dropped) - named]:
            self._unsaid.update(dropped.total)
        del self._dropped[: max(len(self._dropped) - named, 0)]

    def _write(self, record: bytes, *, last: bool = False) -> str | None:
        """Append a record, after what is still unsaid; a reason if it could not be. `last`: drop nothing for it."""
        try:
            # Twice: whoever removed the whole folder meanwhile did not remove this trace.
            return None if self._write_once(record, last) or self._write_once(record, last) else "disk"
        except _Full:
            return "full"
        except files.NotOurs:
            reason = "untrusted"
        except Exception:  # noqa: BLE001 - of the system: fail closed, and try again with a new segment
            reason = "disk"
        self._finish()
        return reason

    def _write_once(self, record: bytes, last: bool) -> bool:
        """False if the segment was gone."""
        if self._segment is not None and self._segment.size + len(record) > self._limits.rotate_bytes:
            self._finish()
        segment = self._segment = self._segment or self._open(last)
        counted = b""
        if self._beside[0]:
            with files.opened(self.folder) as folder:
                self._take_back(folder)
        if self._unsaid or self._dropped:
            counted = segments.encode_counters(dict(self._unsaid), self._dropped)
        if not segment.append(counted + record):
            self._finish()
            return False
        if counted:
            self._dropped.clear()
            self._unsaid.clear()
        return True

    def _open(self, last: bool) -> _Segment:
        with files.opened(self.folder, create=True) as folder:
            if not (self._is_slack(folder) if last else self._make_room(folder)):
                raise _Full
            now = max(self._clock_ns(), 0)
            header = segments.encode_header(self._destination, self._sanitizer_version, now)
            for _ in range(_ATTEMPTS):
                name = f"{now:020d}-{os.getpid()}-{os.urandom(8).hex()}"
                if (segment := _Segment.begin(folder, name, header)) is not None:
                    return segment
        raise OSError("a new segment is cleared away each time")

    def _finish(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def _make_room(self, folder: int) -> bool:
        """Drop the oldest until another segment fits; whether it does."""
        found = files.listing(folder)
        outbox = min(found.database, self._limits.outbox_bytes)
        excess = found.total - found.database + outbox + self._limits.rotate_bytes - self._limits.max_bytes
        for name, size in found.spare.items():
            if excess > 0 and files.discard(folder, name):
                excess -= size
        for name, size in found.segments.items():
            if excess > 0 and (tally := _drop_segment(folder, name)) is not None:
                excess -= size
                self._counters["dropped.full"] += tally.traces
                self._dropped += tally.dropped
                self._dropped.append(tally.as_dropped(name))
        if len(self._dropped) > _MAX_NAMED:
            self._sum_up(_MAX_NAMED)
        return excess <= 0

    def _is_slack(self, folder: int) -> bool:
        return files.listing(folder).total <= self._limits.max_bytes // _SLACK * (_SLACK + 1)

    def _forked(self) -> None:
        """In a child: the segment is the parent's. Its lock lives as long as any copy of the descriptor does."""
        self._finish()
        self._begin()


class _Full(Exception):
    """There is no room under the bound, and nothing that may be dropped."""


def _drop_segment(folder: int, name: str) -> Tally | None:
    """Remove a segment; what was in it, or None if somebody writes it or takes it in."""
    try:
        descriptor = files.open_file(folder, name)
    except OSError:
        return None
    from belljar.tracing.storage.segments_read import Frames, Tally

    try:
        if not files.lock(descriptor) or os.fstat(descriptor).st_nlink == 0:
            return None
        tally = Tally.of(Frames(descriptor))
        files.remove(folder, name)
        return tally
    finally:
        os.close(descriptor)


class _Segment:
    """The open segment of a writer."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    @classmethod
    def begin(cls, folder: int, name: str, header: bytes) -> _Segment | None:
        """A new segment, locked and with its header before anybody can see it under its name.

        None if it was taken for one whose writer has died, and cleared away.
        """
        new = name + files.NEW
        descriptor = files.create_file(folder, new, os.O_WRONLY | os.O_APPEND)
        try:
            if not files.lock(descriptor) or not os.fstat(descriptor).st_nlink:
                os.close(descriptor)
                return None
            if os.write(descriptor, header) != len(header):
                raise OSError("no room for a segment's header")
            os.rename(new, name + files.SEGMENT, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            files.remove(folder, new)
            os.close(descriptor)
            raise
        return cls(descriptor, len(header))

    def append(self, data: bytes) -> bool:
        """Append all of it or nothing; False if the file has been removed, so that nobody would ever read it.

        Raises:
            OSError: there was no room, or only for a part, which is taken back.
        """
        written = os.write(self._descriptor, data)
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        if written != len(data):
            # If this fails, too, the reader finds a torn end.
            os.ftruncate(self._descriptor, self.size - written)
            raise OSError("no room for a whole record")
        return status.st_nlink > 0

    def close(self) -> None:
        """Let go of it: it is finished."""
        os.close(self._descriptor)


_WRITERS: weakref.WeakSet[SpoolWriter] = weakref.WeakSet()


def _forked() -> None:
    for writer in list(_WRITERS):
        writer._forked()  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_forked)
