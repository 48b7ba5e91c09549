"""The stdio transport: newline-delimited JSON-RPC over a program's pipes, each line bounded before it is parsed.

Replaces `mcp.client.stdio`, which collects a line of any length, hands the server's stderr to ours and cannot end a
server that leaves its process group.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage, JSONRPCRequest, RequestId

from belljar.rpc.servers import ServerSpec
from belljar.rpc.upstreams._gate import FloodError, Gate
from belljar.rpc.upstreams._lines import Endless, Lines
from belljar.rpc.upstreams._program import Program
from belljar.rpc.upstreams._words import Words

__all__ = ["PROBE", "PROBE_S", "stdio_transport"]

_Incoming = MemoryObjectSendStream[SessionMessage | Exception]
_Outgoing = MemoryObjectReceiveStream[SessionMessage]
Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]

# As many as calls in flight by default; a cancellation must find room behind them.
_QUEUE = 128
# A server may be busy for a whole call before it reads on; one that does not read for this long is stuck.
_WRITE_S = 60.0
_STATUS_S = 1.0
# The first question to a server is one of the newer protocol. Most answer it with an error at once; one that says
# nothing is taken for an older server well before the start-up deadline.
PROBE = "server/discover"
PROBE_S = 4.0


@asynccontextmanager
async def stdio_transport(spec: ServerSpec, gate: Gate, words: Words) -> AsyncGenerator[Streams]:
    """A running server's streams for `mcp.Client`; on leaving, the server and all it started are gone.

    Raises:
        StartError: the program cannot be started.
    """
    program = Program.start(spec)
    to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_session = anyio.create_memory_object_stream[SessionMessage](_QUEUE)
    gate.reply = _replies(to_server)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(program.watch)
            tasks.start_soon(_drain, program, words, drained := anyio.Event())
            try:
                await program.started(spec)
                tasks.start_soon(_read, program, gate, to_session)
                tasks.start_soon(_write, program, gate, from_session, to_session)
                yield from_server, to_server
            finally:
                gate.close()
                with anyio.CancelScope(shield=True):
                    await program.stop()
                    with anyio.move_on_after(_STATUS_S):
                        await drained.wait()
                tasks.cancel_scope.cancel()
    finally:
        for stream in (to_session, from_server, to_server, from_session):
            stream.close()
        with anyio.CancelScope(shield=True):
            await program.close()


def _replies(to_server: MemoryObjectSendStream[SessionMessage]):
    def reply(message: JSONRPCMessage) -> None:
        try:
            to_server.send_nowait(SessionMessage(message))
        except anyio.WouldBlock:
            raise FloodError("asks and does not read the answers") from None
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass  # on its way out

    return reply


async def _drain(program: Program, words: Words, drained: anyio.Event) -> None:
    await words.drain(program.read_stderr)
    drained.set()


async def _read(program: Program, gate: Gate, to_session: _Incoming) -> None:
    """Hand on what comes, until the end; then say why it ended."""
    lines = Lines(gate.limit)
    async with to_session:
        try:
            while chunk := await program.read_stdout():
                for line in lines.feed(chunk):
                    message = gate.line(line)
                    if message is not None:
                        await to_session.send(SessionMessage(message))
        except FloodError as exc:
            gate.fail(str(exc))
        except Endless:
            gate.fail("writes a line that does not end")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            await _discard(program)  # the session is over; a server that cannot write cannot end politely
        else:
            gate.fail(await _ending(program))


async def _discard(program: Program) -> None:
    while await program.read_stdout():
        pass


async def _ending(program: Program) -> str:
    with anyio.move_on_after(_STATUS_S):
        await program.gone.wait()
    if program.status is None:
        return "closed its stdout"
    return f"ended with status {program.status}" if program.status >= 0 else f"was killed by signal {-program.status}"


async def _write(program: Program, gate: Gate, from_session: _Outgoing, to_session: _Incoming) -> None:
    """Send what the session says. When the server stops reading, `_read` sees the end soon after."""
    async with from_session, anyio.create_task_group() as probes:
        try:
            async for item in from_session:
                gate.sent(item.message)
                if isinstance(item.message, JSONRPCRequest) and item.message.method == PROBE:
                    probes.start_soon(_give_up_probe, gate, item.message.id, to_session)
                with anyio.fail_after(_WRITE_S):
                    await program.write(_line(item.message))
        except TimeoutError:
            gate.fail(f"has not read its stdin for {_WRITE_S:.0f} s")
        except OSError:
            pass
        probes.cancel_scope.cancel()


def _line(message: JSONRPCMessage) -> bytes:
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"


async def _give_up_probe(gate: Gate, request: RequestId, to_session: _Incoming) -> None:
    await anyio.sleep(PROBE_S)
    if gate.method(request):
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await to_session.send(SessionMessage(gate.refuse(request, f"no answer within {PROBE_S:.0f} s")))
