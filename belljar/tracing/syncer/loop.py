"""When and what: takes the spool in, makes batches, and sees each one through to an end.

A batch goes out when it is full, when its oldest trace has waited for `flush_interval_s`, or when the syncer is told to
flush; one is in flight at a time. Its bytes were frozen before its first attempt, so that every attempt, also one of
another process, sends the same. Where the server takes no more at once (413) or finds the request wrong (400), the
batch is cut in halves until the traces that are too large or wrong stand alone; they become dead letters, the others
are stored.

Parents before children: the outbox gives them in that order, halves are sent one after the other, and what comes after
a trace that the server put off waits with it.

Waiting is tenacity's: exponential back-off with full jitter, the server's Retry-After as a floor. After the last
attempt the gate shuts (`gate.py`). Nothing is ever dropped here; what is lost to a bound, the outbox counts.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

import anyio
import anyio.to_thread
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt
from tenacity.wait import wait_random_exponential

from belljar import show
from belljar.errors import ConfigError
from belljar.tracing.outbox import Outbox, Parcel
from belljar.tracing.syncer.bell import Bell
from belljar.tracing.syncer.delivery import Answer, Later, Letter, Parked, Results, Server, TooLarge, Verdict
from belljar.tracing.syncer.gate import Deferred, Gate
from belljar.tracing.syncer.masks import Masks, WayOut
from belljar.tracing.syncer.settings import SyncSettings

__all__ = ["LOGGER", "Syncer"]

LOGGER = "belljar.syncer"
"""Name of the logger: what a person should know, without values."""

_MAX_BATCH_BYTES = 4 << 20
# One that is appended is seldom alone: whoever runs many things a second shall not have each looked at by itself.
_GATHER_S = 0.03
# Rows looked at for some that are not put off.
_MAX_LOOKED_AT = 2000

_log = logging.getLogger(LOGGER)


class _EndingError(Exception):
    """No time is left for another attempt; the traces stay where they are."""


class Syncer:
    """Sends what one outbox holds to one server."""

    def __init__(
        self,
        settings: SyncSettings,
        outbox: Outbox,
        server: Server,
        masks: Masks,
        gate: Gate,
        bell: Bell,
        *,
        progress: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._server = server
        self._masks = masks
        self._gate = gate
        self._bell = bell
        self._progress = progress
        self._deferred = Deferred(settings.pace)
        self._backoff = wait_random_exponential(
            multiplier=settings.pace.backoff_base_s, max=settings.pace.backoff_cap_s
        )
        self._waiting_since: float | None = None
        self._floor_s = 0.0
        self._maybe_parked = True  # by another process, before us
        self._buried = False

    async def serve(self) -> None:
        """Send what comes in, until the bell says to end; then what is left, if it says to flush."""
        ending = False
        while not ending:
            # Heard in the middle of a round, it asks for one more: what came just before may not have been seen.
            ending = self._bell.ending
            pause = await self._round()
            if not self._bell.ending:
                await self._bell.wait(min(pause, self._settings.flush_interval_s))
            if not self._bell.ending:
                await anyio.sleep(_GATHER_S)

    async def drain(self) -> None:
        """Send what is there, also what the server puts off for a while, until nothing is left or it cannot go on."""
        rounds = 0
        while True:
            await self._round()
            pause = self._deferred.next_in
            if self._gate.shut_for or math.isinf(pause) or pause > self._bell.left_s:
                return
            if rounds == self._settings.max_retries:
                return
            rounds += 1
            await self._bell.wait(pause)

    # ---- what is to be sent

    async def _round(self) -> float:
        """Send every batch that is ready; seconds until another can be."""
        try:
            while not self._bell.stopping:
                await self._take_in()
                if shut := self._gate.shut_for:
                    return shut
                batch, pause = self._ready()
                if not batch:
                    return pause
                await self._deliver(batch)
        except _EndingError:
            pass
        return 0.0

    async def _take_in(self) -> None:
        await anyio.to_thread.run_sync(self._outbox.take_in)

    def _ready(self) -> tuple[list[Parcel], float]:
        """The next batch; or none, and the seconds until there can be one."""
        parcels = self._sendable()
        if not parcels:
            self._waiting_since = None
            return [], self._deferred.next_in
        wait = 0.0 if self._bell.flushing or len(parcels) == self._settings.batch_size else self._wait_for(parcels)
        if wait > 0:
            return [], wait
        self._waiting_since = None
        return parcels, 0.0

    def _sendable(self) -> list[Parcel]:
        wanted = self._settings.batch_size
        count = wanted + len(self._deferred)
        while True:
            parcels = self._outbox.due(count)
            sendable = self._deferred.sendable(parcels)[:wanted]
            if len(sendable) == wanted or len(parcels) < count or count >= _MAX_LOOKED_AT:
                return sendable
            count *= 2

    def _wait_for(self, parcels: Sequence[Parcel]) -> float:
        """Seconds until the oldest has waited for the interval, by the clock or since we have seen it: clocks jump."""
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        age = time.time() - min(parcel.captured_at_ns for parcel in parcels) / 1e9
        return self._settings.flush_interval_s - max(age, now - self._waiting_since)

    # ---- one batch

    async def _deliver(self, batch: Sequence[Parcel]) -> None:
        try:
            way_out = await self._masks.built()
        except ConfigError as exc:
            self._park(Parked(exc.message))
            return
        letters = await self._sealed(batch, way_out)
        if letters:
            await self._send(letters, way_out)
        if self._progress is not None:
            self._progress()

    async def _sealed(self, batch: Sequence[Parcel], way_out: WayOut) -> list[Letter]:
        """The batch as it is sent, each trace's bytes frozen; as much of it as one request may hold."""
        made = await anyio.to_thread.run_sync(way_out.seal, batch, abandon_on_cancel=True)
        letters = list[Letter]()
        room = _MAX_BATCH_BYTES
        for parcel in batch:
            body = made.get(parcel.trace_id, parcel.body)
            if body is None:
                self._bury(Letter(parcel.trace_id, b""), "SANITIZER_ERROR", "the trace could not be masked")
                continue
            if parcel.trace_id in made:
                self._outbox.freeze(parcel.trace_id, body, way_out.version)
            room -= len(body) + 1
            if room < 0 and letters:
                break
            letters.append(Letter(parcel.trace_id, body))
        return letters

    async def _send(self, letters: Sequence[Letter], way_out: WayOut) -> bool:
        """Whether all of them came to an end: stored, or a dead letter."""
        answer = await self._asked(letters)
        if isinstance(answer, Parked):
            self._park(answer)
            return False
        self._unpark()  # what stops us now is something else, if anything does
        if isinstance(answer, Later):
            self._failed(answer)
            return False
        self._gate.succeeded()
        if isinstance(answer, Results):
            return self._book(letters, answer, way_out)
        if len(letters) > 1:
            half = len(letters) // 2
            return await self._send(letters[:half], way_out) and await self._send(letters[half:], way_out)
        verdict = Verdict("TOO_LARGE", "the server takes no request of this size")
        self._bury_by(letters[0], verdict if isinstance(answer, TooLarge) else answer.verdict, way_out)
        return True

    async def _asked(self, letters: Sequence[Letter]) -> Answer:
        """The server's answer, after as many attempts as it takes and may take."""
        ids = [letter.trace_id for letter in letters]

        async def attempt() -> Answer:
            if self._bell.ending and self._bell.left_s <= 0:
                raise _EndingError
            self._outbox.sent(ids)
            answer = await self._server.post(letters)
            self._note(answer, len(letters))
            return answer

        attempts = 1 if self._gate.probing else 1 + self._settings.max_retries
        enough = stop_after_attempt(attempts)
        retrying = AsyncRetrying(
            sleep=self._rest,
            stop=lambda state: enough(state) or self._no_time(state),
            wait=self._wait,
            retry=retry_if_result(lambda answer: isinstance(answer, Later)),
            retry_error_callback=_answer,
        )
        return await retrying(attempt)

    def _note(self, answer: Answer, count: int) -> None:
        _log.debug("sent %d: %s", count, type(answer).__name__)
        if isinstance(answer, Later):
            self._outbox.count("failed")
            self._outbox.failed(answer.reason)

    # ---- waiting between attempts

    def _wait(self, state: RetryCallState) -> float:
        answer = _answer(state)
        self._floor_s = answer.floor_s if isinstance(answer, Later) else 0.0
        return max(self._floor_s, self._backoff(state))

    def _no_time(self, state: RetryCallState) -> bool:
        if not self._bell.ending:
            return False
        # Without a deadline: whoever waits for us does not wait for an hour.
        longest = min(self._bell.left_s, self._settings.pace.backoff_cap_s)
        return self._bell.stopping or state.upcoming_sleep > longest

    async def _rest(self, seconds: float) -> None:
        """Wait between two attempts; the spool is taken in meanwhile, and an order to end is heard."""
        began = time.monotonic()
        end = began + seconds
        hurried = self._bell.ending
        while (left := end - time.monotonic()) > 0:
            await self._bell.wait(min(left, self._settings.flush_interval_s))
            if self._bell.ending and not hurried:
                hurried = True
                end = began + self._floor_s  # what the server asked for is kept, our own back-off is not
            if self._bell.stopping or (hurried and end > self._bell.deadline):
                raise _EndingError
            await self._take_in()

    # ---- what becomes of traces

    def _book(self, letters: Sequence[Letter], results: Results, way_out: WayOut) -> bool:
        if results.stored:
            self._outbox.acknowledged(results.stored)
        if results.duplicates:
            self._outbox.acknowledged(results.duplicates, duplicate=True)
        left = 0
        for letter in letters:
            if letter.trace_id in results.rejected:
                self._bury_by(letter, results.rejected[letter.trace_id], way_out)
            elif letter.trace_id not in results.stored | results.duplicates:
                left += 1
                self._deferred.put_off(letter.trace_id)
                continue
            self._deferred.forget(letter.trace_id)
        return left == 0

    def _bury_by(self, letter: Letter, verdict: Verdict, way_out: WayOut) -> None:
        """What a server says is foreign text, and may echo what it was sent."""
        message = way_out.text(verdict.message)
        self._bury(letter, way_out.text(verdict.code), message or "the server does not say why")

    def _bury(self, letter: Letter, code: str, message: str) -> None:
        self._outbox.dead_letter(letter.trace_id, code, message)
        level = logging.DEBUG if self._buried else logging.WARNING  # a server may do this to all of them
        self._buried = True
        _log.log(level, "the server will never take a trace (%s): belljar traces dead-letter list", show.name(code))

    def _failed(self, answer: Later) -> None:
        self._gate.failed(answer.floor_s)
        _log.debug("%s; nothing is sent for %.0f s", answer.reason, self._gate.shut_for)

    def _park(self, answer: Parked) -> None:
        if answer.redirected:
            self._outbox.count("redirected")
        self._outbox.park(answer.reason)
        self._maybe_parked = True
        if self._gate.parked(answer.reason):
            _log.warning("traces wait in the spool: %s", answer.reason)

    def _unpark(self) -> None:
        if self._maybe_parked:
            self._outbox.park(None)
            self._maybe_parked = False


def _answer(state: RetryCallState) -> Answer:
    assert state.outcome is not None
    return state.outcome.result()
