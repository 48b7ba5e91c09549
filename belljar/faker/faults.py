"""Things that go wrong on purpose: `write_file=ENOSPC@0.3`, `*=latency:200ms`, `get_*=timeout`.

    TOOL=WHAT[@SHARE]       TOOL   a name or a pattern, `server:tool` where there are several; * is all of them
                            SHARE  of the calls that meet it, 0 to 1; 1 if left out

    ENOSPC EACCES ...       a named error: the tool answers, and says that it failed (`isError`)
    error:TEXT              the same in words of one's own
    rpc:-32603              a JSON-RPC error
    latency:200ms           the answer comes later, whoever gives it
    timeout                 no answer for as long as the caller waits
    malformed               an answer that is no result
    disconnect              the server is gone

Which calls meet one follows from the seed and the number of the call, and from nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from belljar import show
from belljar.errors import ConfigError
from belljar.faker.calls import Call
from belljar.faker.generate import Generator
from belljar.faker.patterns import fits

__all__ = ["ERRORS", "Fault", "Faults", "fault_of", "faults_of_instruction"]

ERRORS: Final[dict[str, str]] = {
    "ENOSPC": "ENOSPC: no space left on device",
    "EACCES": "EACCES: permission denied",
    "EPERM": "EPERM: operation not permitted",
    "ENOENT": "ENOENT: no such file or directory",
    "EEXIST": "EEXIST: file already exists",
    "EIO": "EIO: i/o error",
    "EROFS": "EROFS: read-only file system",
    "EMFILE": "EMFILE: too many open files",
    "EBUSY": "EBUSY: resource busy or locked",
    "EDQUOT": "EDQUOT: disk quota exceeded",
    "ENOTEMPTY": "ENOTEMPTY: directory not empty",
    "EISDIR": "EISDIR: illegal operation on a directory",
    "ENOTDIR": "ENOTDIR: not a directory",
    "ETIMEDOUT": "ETIMEDOUT: connection timed out",
    "ECONNREFUSED": "ECONNREFUSED: connection refused",
    "ECONNRESET": "ECONNRESET: connection reset by peer",
    "UNAUTHORIZED": "401 Unauthorized: bad credentials",
    "FORBIDDEN": "403 Forbidden: resource not accessible",
    "NOT_FOUND": "404 Not Found",
    "CONFLICT": "409 Conflict: the resource was changed meanwhile",
    "RATE_LIMIT": "429 Too Many Requests: rate limit exceeded, retry later",
    "INTERNAL": "500 Internal Server Error",
    "UNAVAILABLE": "503 Service Unavailable",
}
Kind = Literal["error", "rpc", "latency", "timeout", "malformed", "disconnect"]
_LONGEST_S: Final = 600.0
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s)?")
# What an instruction asks for in words, as faults; only of tools that could meet them. Words that only failures are
# described by: "429 customers" and "a slow season" are no faults. Told in README and `--help` of the faker's command.
_SCENARIOS: Final = (
    (r"ENOSPC|no space left|disk (?:is )?full|out of disk space", "ENOSPC", "write", 1.0),
    (r"EACCES|permission denied|access denied", "EACCES", "write", 0.5),
    (r"EROFS|read[- ]only file ?system", "EROFS", "write", 1.0),
    (r"rate[- ]limit(?:s|ed|ing)?|(?:HTTP|status|error) 429|429 too many requests|throttled", "RATE_LIMIT", "any", 0.3),
    (r"slow (?:i/?o|disks?|network|responses?)|high latency", "latency:300ms", "any", 1.0),
    (r"EIO|i/o errors?|corrupt(?:ed)? disks?", "EIO", "read", 0.2),
    (r"flaky (?:network|server|service|disks?)|intermittent (?:errors?|failures?|outages?)", "UNAVAILABLE", "any", 0.2),
)
# "no rate limits" asks for none.
_DENIED: Final = r"(?<!\bno )(?<!\bnot )(?<!\bnever )(?<!\bwithout )(?<!\bwithout any )"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    pattern: str
    kind: Kind
    share: float = 1.0
    text: str = ""
    """The words of an error."""
    code: int = -32603
    """Of a JSON-RPC error."""
    seconds: float = 0.0
    operation: Literal["any", "read", "write"] = "any"
    name: str = ""

    def meets(self, call: Call, operation: str) -> bool:
        """Whether a call could meet it."""
        if self.operation not in ("any", operation):
            return False
        return fits(self.pattern, call.server, call.tool.name)


class Faults:
    """Draws for each call what goes wrong with it."""

    def __init__(self, faults: Sequence[Fault], generator: Generator) -> None:
        self._faults = tuple(faults)
        self._random = generator.random("faults")

    def draw(self, call: Call, operation: str) -> list[Fault]:
        """What goes wrong: delays, and at most one thing that ends the call."""
        found: list[Fault] = []
        for fault in self._faults:
            if fault.meets(call, operation) and (fault.share >= 1.0 or self._random.random() < fault.share):
                found.append(fault)
                if fault.kind != "latency":
                    break
        return found


def fault_of(text: str) -> Fault:
    """One option as it is written.

    Raises:
        ConfigError: it is none; says what to write.
    """
    shown = show.text(text, max_chars=100)
    pattern, equals, rest = text.partition("=")
    what, at, share_text = rest.rpartition("@")
    what, share_text = (what, share_text) if at else (rest, "1")
    if not equals or not pattern or not what:
        raise ConfigError(f"--fault {shown}: write TOOL=WHAT[@SHARE], for example write_file=ENOSPC@0.3")
    try:
        share = float(share_text.rstrip("%")) / (100 if share_text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise ConfigError(f"--fault {shown}: the share after @ is a number from 0 to 1")
    name, _, more = what.partition(":")
    return _made(shown, pattern, name, more, share)


def _made(shown: str, pattern: str, name: str, more: str, share: float) -> Fault:
    lowered = name.lower()
    if name.upper() in ERRORS and not more:
        return Fault(pattern, "error", share, text=ERRORS[name.upper()], name=name.upper())
    if lowered in ("error", "iserror"):
        return Fault(pattern, "error", share, text=more or "the tool failed", name="error")
    if lowered in ("latency", "delay") and (found := _DURATION.fullmatch(more)):
        seconds = float(found[1]) / (1000 if found[2] == "ms" else 1)
        if seconds <= _LONGEST_S:
            return Fault(pattern, "latency", share, seconds=seconds, name="latency")
    if lowered == "rpc" and re.fullmatch(r"-?\d{1,6}", more):
        return Fault(pattern, "rpc", share, text="made to fail", code=int(more), name="rpc")
    if not more and lowered == "timeout":
        return Fault(pattern, "timeout", share, name="timeout")
    if not more and lowered == "malformed":
        return Fault(pattern, "malformed", share, name="malformed")
    if not more and lowered == "disconnect":
        return Fault(pattern, "disconnect", share, name="disconnect")
    there = "an error's name such as ENOSPC, error:TEXT, rpc:CODE, latency:200ms, timeout, malformed or disconnect"
    raise ConfigError(f"--fault {shown}: what goes wrong is {there}")


def faults_of_instruction(instruction: str) -> tuple[Fault, ...]:
    """Faults that an instruction asks for in its own words: "no space left (ENOSPC)"."""
    found: list[Fault] = []
    for pattern, what, operation, share in _SCENARIOS:
        if re.search(rf"{_DENIED}\b(?:{pattern})\b", instruction[:10_000], re.IGNORECASE):
            fault = fault_of(f"*={what}@{share}")
            kind: Literal["any", "read", "write"] = (
                "any" if operation == "any" else "read" if operation == "read" else "write"
            )
            found.append(Fault("*", fault.kind, share, fault.text, fault.code, fault.seconds, kind, fault.name))
    return tuple(found)
