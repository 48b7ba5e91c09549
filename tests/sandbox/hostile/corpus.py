"""The hostile programs as they lie in `programs/`, and what the comments at their heads declare.

# row: G forged ids            what of the list in `rows.txt` it is; may stand several times
# expect: PROTOCOL_ERROR       how it must end: codes, joined by `|`, or `value` and JSON, or `ok`
# wasm: / # process:           the same, where the two backends differ
# limits: wall=1 memory=64MiB  `# args: {...}`  `# deny: lab:write`  `# pad: 300000` (bytes of comment after it)
# calls: 3                     calls the ledger must hold;  `# made: 2`: calls the world must have been asked
# output: 100                  bytes of print that must be kept
# with: attempts               put `_attempts.py` before it; it ends in `[]`, and natively not so without walls
# red: limit wall=5            it ends otherwise with this limit instead; or `red: landlock given seccomp`: natively
                               as declared with seccomp waived, and otherwise with landlock waived too
# slow                         leave it to a full run
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = ["BACKENDS", "HERE", "PROGRAMS", "ROWS", "Program", "Red"]

HERE = Path(__file__).parent
BACKENDS = ("wasm", "process")
ROWS = tuple(line for line in (HERE / "rows.txt").read_text("utf-8").splitlines() if line and line[0] != "#")
_HEADER = re.compile(r"# ([a-z]+)(?:: (.*))?")
_ATTEMPTS = (HERE / "_attempts.py").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Red:
    """What to switch off to see the program end otherwise."""

    limits: Mapping[str, str]
    given: frozenset[str]
    waive: frozenset[str]


@dataclass(frozen=True)
class Program:
    """One of them."""

    name: str
    text: str
    headers: Mapping[str, tuple[str, ...]]

    @cached_property
    def code(self) -> str:
        before = _ATTEMPTS + "\n" if "with" in self.headers else ""
        after = "\n" + "#" * int(self.one("pad", "0"))
        return before + self.text + (after if "pad" in self.headers else "")

    @property
    def limits(self) -> dict[str, str]:
        return _pairs(self.one("limits"))

    @property
    def args(self) -> dict[str, Any] | None:
        return json.loads(self.one("args")) if "args" in self.headers else None

    def one(self, name: str, default: str = "") -> str:
        return self.headers.get(name, (default,))[0]

    def number(self, name: str) -> int | None:
        return int(self.one(name)) if name in self.headers else None

    def expects(self, backend: str) -> str:
        return self.one(backend) or self.one("expect") or "value []"

    def ended_well(self, backend: str, code: str | None, value: Any) -> bool:
        """Whether this is the ending it declares."""
        expected = self.expects(backend)
        if expected.startswith("value "):
            return code is None and value == json.loads(expected.removeprefix("value "))
        return (code or "ok") in expected.split("|")

    @property
    def reds(self) -> list[Red]:
        return [_red(text) for text in self.headers.get("red", ())]


def _pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split())


def _red(text: str) -> Red:
    if text.startswith("limit "):
        return Red(_pairs(text.removeprefix("limit ")), frozenset(), frozenset())
    wall, _, given = text.partition(" given ")
    return Red({}, frozenset(given.split()), frozenset({wall}))


def _read(path: Path) -> Program:
    # As bytes: some of them hold what no editor would write.
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    headers = dict[str, tuple[str, ...]]()
    for line in text.splitlines():
        if (match := _HEADER.fullmatch(line)) is None:
            break
        headers[match[1]] = (*headers.get(match[1], ()), match[2] or "")
    return Program(path.stem, text, headers)


PROGRAMS = tuple(_read(path) for path in sorted((HERE / "programs").glob("*.py")))
