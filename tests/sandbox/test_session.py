"""One conversation with a hostile worker: raw bytes on a real socket, and the host's answer to each of them.

The peer here is what a worker could become when its box takes it over: it may write any bytes at any time. Whatever it
does, the run ends with a named error, the bytes after a violation are not believed, and the ledger tells the truth.
"""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import msgpack
import pytest

from belljar.errors import Code
from belljar.limits import Limits
from belljar.rpc.bridge import Bridge
from belljar.rpc.frames import Frames, encode
from belljar.rpc.ledger import Ledger, verify
from belljar.rpc.messages import Call, Cancel, Execute, Fault, FromWorker, Log, Ready, Result, Return, ToWorker
from belljar.sandbox.host import BoxProcess
from belljar.sandbox.session import Outcome, Output, Session
from tests.worlds import ALL, Lab

pytestmark = pytest.mark.anyio

EXECUTE = Execute("run", "1", "{}", "00" * 32, 1)
READY = Ready("wasm", "3.14", ("wasm",))


@dataclass
class Peer:
    """The worker's end, and all the host has made of it."""

    sock: socket.socket
    box: BoxProcess
    ledger: Ledger
    world: Lab
    output: Output
    session: Session
    killed: list[int] = field(default_factory=list)
    _frames: Frames[ToWorker] = field(default_factory=Frames.to_worker)
    _inbox: list[ToWorker] = field(default_factory=list)

    def say(self, *messages: FromWorker) -> None:
        self.sock.sendall(b"".join(map(encode, messages)))

    async def hear(self) -> ToWorker:
        while not self._inbox:
            await anyio.wait_readable(self.sock)
            self._inbox += self._frames.feed(self.sock.recv(1 << 20))
        return self._inbox.pop(0)

    async def outcome(self) -> Outcome:
        with anyio.fail_after(10):
            found = await self.session.run(EXECUTE)
        self.ledger.close(outcome=found.error.code.value if found.error else "ok")
        verify(self.ledger.entries())
        unmade = [record for record in self.ledger.calls if record.state == "pending"]
        assert all(record.error_code for record in unmade)  # each says why
        assert all(record.state != "executing" for record in self.ledger.calls)
        return found


@asynccontextmanager
async def opened(**limits: float) -> AsyncIterator[Peer]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    killed: list[int] = []
    box = BoxProcess(ours, 12345, killed.append)
    found = Limits().with_(**{"wall": 5, **limits})
    ledger, world, output = Ledger("run"), Lab(), Output(found.output)
    ledger.open(code="1", args_text="{}", seed="00" * 32, now_ns=1)
    session = Session(box, Bridge(world=world, ledger=ledger, limits=found, policy=ALL), found, output)
    with theirs:
        try:
            yield Peer(theirs, box, ledger, world, output, session, killed)
        finally:
            box.end()
            assert killed == [12345]


def echo(call: int, args: str = "{}") -> Call:
    return Call(call, "lab", "echo", args, 1)


def raw(body: bytes | None) -> bytes:
    assert body is not None
    return len(body).to_bytes(4, "little") + body


def changed(message: FromWorker, **fields: object) -> bytes:
    """The frame of a message with some fields replaced by anything."""
    body = msgpack.unpackb(encode(message)[4:])
    return raw(msgpack.packb({**body, **fields}))


async def test_an_honest_worker_is_heard() -> None:
    """F5: the peer can be a good one; what follows is not red because nothing works."""
    async with opened() as peer:
        peer.say(Log("stdout", "text"), echo(1), Result("[1]"))
        found = await peer.outcome()
        assert found.last == Result("[1]")
        assert peer.output.text("stdout") == "text"
        assert isinstance(await peer.hear(), Execute)


@pytest.mark.parametrize(
    "calls",
    [[2], [1, 1], [1, 3], [1, 2, 1], [1, 2**62]],
    ids=["first is 2", "repeated", "gap", "back", "huge"],
)
async def test_call_ids_are_counted_by_the_host(calls: list[int]) -> None:
    """F5: an id that is not the next one ends the run; the forged call is not made."""
    async with opened() as peer:
        peer.say(*map(echo, calls))
        found = await peer.outcome()
        assert found.last is None
        assert found.error is not None
        assert found.error.code == Code.PROTOCOL_ERROR
        assert len(peer.ledger.calls) == len(calls) - 1
        assert len(peer.world.made) <= len(calls) - 1
        assert not peer.box.reusable


VIOLATIONS: dict[str, Callable[[], bytes]] = {
    "a second ready": lambda: encode(READY),
    "negative id": lambda: changed(echo(1), call=-1),
    "id 0": lambda: changed(echo(1), call=0),
    "id beyond 64 bits": lambda: changed(echo(1), call=2**64 - 1),
    "id is a float": lambda: changed(echo(1), call=1.0),
    "id is true": lambda: changed(echo(1), call=True),
    "arguments are no text": lambda: changed(echo(1), args={}),
    "arguments are a list": lambda: encode(echo(1, "[]")),
    "arguments are cut": lambda: encode(echo(1, '{"a":')),
    "arguments twice the same key": lambda: encode(echo(1, '{"a":1,"a":2}')),
    "arguments hold NaN": lambda: encode(echo(1, '{"a":NaN}')),
    "arguments too deep": lambda: encode(echo(1, '{"a":' + "[" * 1000 + "]" * 1000 + "}")),
    "a lone surrogate": lambda: encode(echo(1, '{"a":"\\ud800"}')),
    "a field more": lambda: changed(echo(1), more=1),
    "a message for workers": lambda: encode(Cancel()),
    "an answer": lambda: encode(Return(1, ok=True)),
    "execute": lambda: encode(EXECUTE),
    "unknown type": lambda: raw(msgpack.packb({"type": "root"})),
    "no map": lambda: raw(msgpack.packb([1])),
    "no msgpack": lambda: raw(b"\xc1"),
    "trailing bytes in a frame": lambda: raw(encode(echo(1))[4:] + b"\x00"),
    "length 0": lambda: b"\0\0\0\0",
    "length 4 GiB": lambda: b"\xff\xff\xff\xff" + b"x" * 1000,
    "length 16 MiB and one": lambda: ((16 << 20) + 1).to_bytes(4, "little"),
    "a list of 4 billion": lambda: raw(b"\xdd\xff\xff\xff\xff"),
    "a map of 4 billion": lambda: raw(b"\xdf\xff\xff\xff\xff"),
    "a text of 4 GiB": lambda: raw(b"\xdb\xff\xff\xff\xff"),
    "ten thousand lists": lambda: raw(b"\x91" * 10_000 + b"\xc0"),
    "wide lists": lambda: raw(b"\xdc\x27\x10" + b"\x90" * 10_000),
    "an extension": lambda: raw(b"\xd4\x00\x00"),
    "a timestamp": lambda: raw(b"\xd6\xff\x00\x00\x00\x00"),
    "another stream": lambda: changed(Log("stdout", ""), stream="/dev/tty"),
    "decisions of decisions": lambda: changed(Result("1"), decisions=[[[]]]),
    "2000 decisions": lambda: changed(Result("1"), decisions=[["L1", "true", ""]] * 2000),
    "a clock of texts": lambda: changed(Result("1"), clock=["1"]),
    "a negative line": lambda: changed(Fault("X", "y"), line=-1),
}


@pytest.mark.parametrize("violation", VIOLATIONS.values(), ids=VIOLATIONS.keys())
async def test_a_violation_ends_the_run(violation: Callable[[], bytes]) -> None:
    """F5: PROTOCOL_ERROR at once; a good result behind the bad bytes is not believed; one line, nothing quoted."""
    async with opened() as peer:
        began = time.monotonic()
        peer.sock.send(violation() + encode(Result('"forged"')))
        found = await peer.outcome()
        assert time.monotonic() - began < 2
        assert found.last is None
        assert found.error is not None
        assert found.error.code == Code.PROTOCOL_ERROR
        assert "\n" not in found.error.message
        assert "forged" not in found.error.message
        assert peer.world.made == []
        assert not peer.box.reusable


async def test_a_call_that_came_with_the_result_is_not_made() -> None:
    """F5: the run ends with its result; what was sent behind it is read by nobody."""
    async with opened() as peer:
        peer.say(Result("1"), Call(1, "lab", "write", "{}", 1), Result("2"))
        found = await peer.outcome()
        assert found.last == Result("1")
        assert peer.ledger.calls == []
        assert peer.world.made == []


@pytest.mark.parametrize("sent", [b"", b"\x05", encode(Result("1"))[:-1], b"\xff\xff\xff\x00abc"])
async def test_a_worker_that_dies_in_the_middle(sent: bytes) -> None:
    """F5: WORKER_CRASH, also inside a frame; what was under way is `unknown`."""
    async with opened() as peer:

        async def die() -> None:
            peer.say(Call(1, "lab", "write_slowly", '{"s": 1000}', 1), Log("stdout", "last words"))
            await peer.world.started.wait()
            peer.sock.send(sent)
            peer.sock.close()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(die)
            found = await peer.outcome()
        assert found.error is not None
        assert found.error.code == Code.WORKER_CRASH
        assert [record.state for record in peer.ledger.calls] == ["unknown"]
        assert peer.world.cancelled == ["write_slowly"]
        assert peer.output.text("stdout") == "last words"


async def test_a_frame_byte_by_byte_and_one_that_never_ends() -> None:
    """F2: slow bytes are put together; a frame that does not end has the run's deadline."""
    async with opened(wall=0.5) as peer:

        async def trickle() -> None:
            for byte in encode(echo(1)) + encode(Log("stdout", "x"))[:-1]:
                peer.sock.send(bytes([byte]))
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trickle)
            found = await peer.outcome()
        assert found.error is not None
        assert found.error.code == Code.EXECUTION_TIMEOUT
        assert [record.state for record in peer.ledger.calls] == ["applied"]
        assert peer.output.text("stdout") == ""


async def test_a_worker_that_never_reads_its_answers() -> None:
    """F2: answers nobody takes fill a socket and not the host; the deadline ends it."""
    async with opened(wall=1, in_flight=4) as peer:
        peer.say(*[Call(n, "lab", "answer", '{"bytes": 1000000}', 1) for n in range(1, 65)])
        found = await peer.outcome()
        assert found.error is not None
        assert found.error.code == Code.EXECUTION_TIMEOUT
        # As many as may be in flight, and what the socket took before.
        assert len(peer.world.made) <= 8


async def test_a_flood_of_logs_has_a_deadline() -> None:
    """F2, F4: prints without end are counted, the first are kept, and the deadline holds."""
    async with opened(wall=0.5, output=1000) as peer:

        async def flood() -> None:
            frame = encode(Log("stdout", "x" * 10_000))
            while True:
                try:
                    peer.sock.send(frame * 10)
                except BlockingIOError:
                    await anyio.wait_writable(peer.sock)
                except OSError:
                    return

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood)
            began = time.monotonic()
            with anyio.fail_after(10):
                await peer.session.run(EXECUTE)
            assert time.monotonic() - began < 2
            tasks.cancel_scope.cancel()
        assert len(peer.output.text("stdout")) <= 1000


async def test_interrupting_ends_with_its_own_code() -> None:
    """A person ends the run: INTERRUPTED, and the write that was under way is `unknown`."""
    async with opened() as peer:
        peer.say(Call(1, "lab", "write_slowly", '{"s": 1000}', 1))

        async def interrupt() -> None:
            await peer.world.started.wait()
            peer.session.interrupt()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(interrupt)
            found = await peer.outcome()
        assert found.error is not None
        assert found.error.code == Code.INTERRUPTED
        assert [record.state for record in peer.ledger.calls] == ["unknown"]


async def test_a_paused_clock_stands_still() -> None:
    """The time a person takes is not the run's; after it the rest of the time is left."""
    async with opened(wall=0.3) as peer:

        async def person() -> None:
            while not peer._inbox:
                peer._inbox.append(await peer.hear())
            peer.session.pause(True)
            peer.session.pause(True)
            await anyio.sleep(0.6)
            peer.session.pause(False)
            peer.session.pause(False)
            peer.say(Result("1"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(person)
            found = await peer.outcome()
        assert found.last == Result("1")
