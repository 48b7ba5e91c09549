"""Feeds the host's frame decoder and bridge mutated streams for as long as asked: answers or a named error comes out.

    python tests/sandbox/fuzz_frames.py --seconds 300 [--seed N]

Not collected by pytest: the laws are in `tests/rpc/test_frames.py`, this looks for what nobody thought of. It begins
with valid frames, because random bytes seldom get past the length.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import tracemalloc
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[2]))

from belljar.errors import BelljarError
from belljar.limits import MIB, Limits
from belljar.rpc.bridge import Bridge
from belljar.rpc.frames import Frames, encode
from belljar.rpc.ledger import Ledger, verify
from belljar.rpc.messages import Call, Fault, Log, Ready, Result
from tests.worlds import ALL, Lab

_SEEDS = (
    encode(Ready("process", "3.14", ("seccomp",))),
    encode(Call(1, "lab", "echo", '{"x":[1,{"y":null}]}', 1)),
    encode(Call(1, "lab", "write", "{}", 2)),
    encode(Call(2, "lab", "fail", '{"message":"\\u001b[2J","data":[1]}', 3)),
    encode(Call(3, "down", "nothing", '{"a":1e5}', 4)),
    encode(Log("stdout", "x\x1b[2J")),
    encode(Result('{"x":1}', (("L1", "true", "x"),), (1, -1, 2), {"timeline": 3})),
    encode(Fault("CAPABILITY_ERROR", "no", "trace", 1, "null", (), (), {})),
)
# Bytes with a meaning in msgpack or in the length before it.
_TELLING = b"\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc4\xc6\xc7\xc9\xcb\xcf\xd3\xd4\xd8\xdb\xdc\xdd\xde\xdf\xe0\xff"
_MOST_HELD = 64 * MIB
_DEADLINE_S = 30
_LIMITS = Limits()


def mutated(rng: random.Random) -> bytes:
    data = bytearray(b"".join(rng.choices(_SEEDS, k=rng.randint(1, 4))))
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at:at] = bytes([rng.choice(_TELLING)]) * rng.choice((1, 1, 4, 200))
            case 1:
                del data[at : at + rng.randint(1, 8)]
            case 2:
                data[at : at + 1] = bytes([rng.choice(_TELLING)])
            case _:
                data[at:at] = data[: rng.randint(0, 64)]
    return bytes(data)


async def feed(stream: bytes, rng: random.Random) -> tuple[int, int]:
    """Cut it anywhere. How many messages came out, each of which can be encoded again, and how many calls were
    answered; the ledger of them is whole."""
    frames, ledger, world = Frames.from_worker(), Ledger("run"), Lab()
    bridge = Bridge(world=world, ledger=ledger, limits=_LIMITS, policy=ALL)
    ledger.open(code="1", args_text="{}", seed="00" * 32, now_ns=1)
    count = answered = 0
    try:
        while stream:
            cut = rng.randint(1, len(stream))
            for message in frames.feed(stream[:cut]):
                encode(message)
                count += 1
                if isinstance(message, Call):
                    encode(await bridge.answer(bridge.admit(message)))
                    answered += 1
                elif isinstance(message, (Result, Fault)):
                    bridge.end()
            stream = stream[cut:]
        frames.close()
    except BelljarError:
        pass
    ledger.close(outcome="ok")
    verify(ledger.entries())
    assert len(world.made) <= len(ledger.calls)
    return count, answered


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=300)
    options.add_argument("--seed", type=int, default=time.time_ns())
    chosen = options.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    anyio.run(fuzz, random.Random(chosen.seed), chosen.seconds)


async def fuzz(rng: random.Random, seconds: float) -> None:
    """Stream after stream, until the time is up."""
    end, streams, messages, answers = time.monotonic() + seconds, 0, 0, 0
    tracemalloc.start()
    while time.monotonic() < end:
        stream = mutated(rng)
        try:
            with anyio.fail_after(_DEADLINE_S):
                count, answered = await feed(stream, rng)
        except BaseException:
            print(f"stream {stream.hex()}", flush=True)
            raise
        streams, messages, answers = streams + 1, messages + count, answers + answered
    peak = tracemalloc.get_traced_memory()[1]
    assert peak < _MOST_HELD, f"{peak >> 20} MiB held"
    print(f"{streams} streams, {messages} messages, {answers} calls answered, {peak >> 10} KiB at most")


if __name__ == "__main__":
    main()
