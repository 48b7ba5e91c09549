"""Feeds the host's frame decoder mutated streams for as long as asked: messages or a ProtocolError, and nothing else.

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

sys.path.insert(0, str(Path(__file__).parents[2]))

from belljar.errors import ProtocolError
from belljar.limits import MIB
from belljar.rpc import jsontext
from belljar.rpc.frames import Frames, encode
from belljar.rpc.messages import Call, Fault, Log, Ready, Result

_SEEDS = (
    encode(Ready("process", "3.14", ("seccomp",))),
    encode(Call(1, "lab", "echo", '{"x":[1,{"y":null}]}', 1)),
    encode(Log("stdout", "x\x1b[2J")),
    encode(Result('{"x":1}', (("L1", "true", "x"),), (1, -1, 2), {"timeline": 3})),
    encode(Fault("CAPABILITY_ERROR", "no", "trace", 1, "null", (), (), {})),
)
# Bytes with a meaning in msgpack or in the length before it.
_TELLING = b"\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc4\xc6\xc7\xc9\xcb\xcf\xd3\xd4\xd8\xdb\xdc\xdd\xde\xdf\xe0\xff"
_MOST_HELD = 64 * MIB


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


def feed(stream: bytes, rng: random.Random) -> int:
    """Cut it anywhere; the number of messages that came out, each of which can be encoded again."""
    frames, count = Frames.from_worker(), 0
    try:
        while stream:
            cut = rng.randint(1, len(stream))
            for message in frames.feed(stream[:cut]):
                encode(message)
                count += 1
                if isinstance(message, Call):
                    jsontext.parse(message.args, max_bytes=MIB)
            stream = stream[cut:]
        frames.close()
    except (ProtocolError, jsontext.JsonError):
        pass
    return count


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=300)
    options.add_argument("--seed", type=int, default=time.time_ns())
    chosen = options.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    rng, end, streams, messages = random.Random(chosen.seed), time.monotonic() + chosen.seconds, 0, 0
    tracemalloc.start()
    while time.monotonic() < end:
        stream = mutated(rng)
        try:
            messages += feed(stream, rng)
        except BaseException:
            print(f"stream {stream.hex()}", flush=True)
            raise
        streams += 1
    peak = tracemalloc.get_traced_memory()[1]
    assert peak < _MOST_HELD, f"{peak >> 20} MiB held"
    print(f"{streams} streams, {messages} messages, {peak >> 10} KiB at most")


if __name__ == "__main__":
    main()
