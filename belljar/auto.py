"""`auto`, in a jar: the server is asked what real runs have shown, and `learning.trust` decides by it.

    a run begins   if its policy leaves a tool of a trusted server to evidence, one question goes out, beside all that a
                   run needs anyway; runs of the same code and policy share it, and its answer for a minute
    a call comes   that the policy leaves to evidence: the answer is waited for, to the question's deadline
    no answer      in time, at all, or one that cannot be: ask. Never allow

A run waits at most `ASK_S` after its beginning, once. A server that does not answer is not asked again for a while: its
silence must not hold every run of a jar.

The luck of a draw (`learning.trust`) comes from a key of this machine and the day on which the run began; nothing a
run, a capability or a server says can draw it again. A run that another one called goes on unasked only where the code
of each run above it would, too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from belljar.config import TracingConfig
from belljar.errors import BelljarError
from belljar.learning.trust import Risk, Standing, judge, luck_of, risk_of
from belljar.registry.evidence import ToolEvidence, Witness
from belljar.rpc.policy import Auto, Decision, Declared, Policy, about, matches
from belljar.rpc.world import ToolInfo
from belljar.sandbox.loader import Capability
from belljar.tracing.pseudonyms import load_or_make

__all__ = ["ASK_S", "ByEvidence", "Question", "Questions"]

ASK_S = 2.0
"""For one question and its answer."""

_FRESH_S = 60.0
_SILENT_S = 15.0
_MOST_KEPT = 256
_DAY_NS = 86_400 * 1_000_000_000

_log = logging.getLogger("belljar.auto")


MayLeave = Callable[[str], bool]
"""Whether a text passes the one way out as it is. Blocking."""


def _ready(may_leave: MayLeave, texts: Iterable[str]) -> bool:
    """Whether a question of these texts may be put; what puts it is loaded then."""
    import_module("httpx2")
    return all(map(may_leave, texts))


class Question:
    """One question to the server. Asked by `put`, in a task of its own; any number of runs wait for it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._asked_at = monotonic()
        self._ended = anyio.Event()
        self._answer: Mapping[str, ToolEvidence] | None = None

    @property
    def stale(self) -> bool:
        """Whether it should be asked anew. While it is being asked it is not."""
        silent = self._ended.is_set() and self._answer is None
        return self._monotonic() - self._asked_at > (_SILENT_S if silent else _FRESH_S)

    async def put(
        self, witness: Witness, capability: Capability, patterns: tuple[str, ...], may_leave: MayLeave
    ) -> None:
        """Ask. Takes `ASK_S` at most, and raises nothing: what goes wrong is an answer that is not there."""
        texts = (capability.fqdn.family, *patterns)
        try:
            with anyio.move_on_after(ASK_S):
                # In a thread, because both take longer to load than the box that starts meanwhile.
                if await anyio.to_thread.run_sync(_ready, may_leave, texts, abandon_on_cancel=True):
                    self._answer = await witness.evidence(capability.fqdn.at(capability.sha256), patterns)
                else:
                    _log.warning("auto asks a person: the capability's name or a pattern holds what may not be sent")
        except BelljarError as exc:
            _log.warning("auto asks a person: %s", exc.message)
        except Exception as exc:  # noqa: BLE001 - a fault of ours must not end the jar, nor let a call through
            _log.error("the server could not be asked: %s", type(exc).__qualname__)
        finally:
            self._ended.set()

    async def answer(self) -> Mapping[str, ToolEvidence] | None:
        """The answer, or None if there is none."""
        await self._ended.wait()
        return self._answer


class Questions:
    """What a jar asks. Questions are put in `tasks`, which whoever made it cancels at the jar's end.

    Args:
        state: the folder that has this machine's key.
        may_leave: whether a text of a question may be sent.
        clock: wall clock, nanoseconds.

    Raises:
        ConfigError: no server is configured, or the key cannot be used.
    """

    def __init__(
        self,
        config: TracingConfig,
        state: Path,
        tasks: TaskGroup,
        may_leave: MayLeave,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._witness = Witness(config, total_s=ASK_S)
        self._secret = load_or_make(state / "auto.key", "the key of auto")
        self._tasks = tasks
        self._may_leave = may_leave
        self._clock = clock
        self._kept: dict[tuple[str, tuple[str, ...]], Question] = {}

    def of_run(self, policy: Policy, capability: Capability, servers: Iterable[str], above: Auto | None) -> ByEvidence:
        """What decides for a run; the question is on its way.

        Args:
            servers: whose annotations are trusted.
            above: what decides for the run that called this one.
        """
        patterns = _meant(policy, capability.declared, servers)
        question = self._question(capability, patterns) if patterns else None
        return ByEvidence(question, capability.sha256, self._secret, self._clock() // _DAY_NS, above)

    def _question(self, capability: Capability, patterns: tuple[str, ...]) -> Question:
        key = (capability.fqdn.at(capability.sha256).exact, patterns)
        found = self._kept.pop(key, None)
        if found is None or found.stale:
            found = Question()
            self._tasks.start_soon(found.put, self._witness, capability, patterns, self._may_leave)
        self._kept[key] = found  # last: the most recent
        while len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return found


def _meant(policy: Policy, declared: Declared | None, servers: Iterable[str]) -> tuple[str, ...]:
    """What to ask about: the tools the code declares, if it names each, or else the user's patterns."""
    patterns = about(policy.auto, servers)
    named = declared.permissions if declared is not None else ()
    if not patterns or not named or any("*" in name for name in named):
        return patterns
    return tuple(name for name in named if any(matches(pattern, *_split(name)) for pattern in patterns))


def _split(name: str) -> tuple[str, str]:
    server, _, tool = name.partition(":")
    return server, tool


class ByEvidence:
    """Decides for one run; an `Auto`."""

    def __init__(
        self, question: Question | None, code_sha256: str, secret: bytes, day: int, above: Auto | None
    ) -> None:
        self._question = question
        self._code = code_sha256
        self._secret = secret
        self._day = day
        self._above = above

    async def decide(self, tool: ToolInfo) -> Decision:
        """`allow` or `ask`, with the words of the verdict."""
        risk = risk_of(tool.annotations)
        if risk is Risk.DESTRUCTIVE:  # whatever the server would say: it is not waited for
            return Decision("ask", f"auto: {risk}")
        answer = None if self._question is None else await self._question.answer()
        if answer is None:
            return Decision("ask", "auto: the server cannot be asked")
        seen = answer.get(f"{tool.server}:{tool.name}", _NOTHING)
        verdict = judge(risk, seen.overall, seen.capability, self._luck(tool))
        if not verdict.allowed:
            return Decision("ask", f"auto: {verdict.why}")
        above = None if self._above is None else await self._above.decide(tool)
        if above is not None and above.kind != "allow":
            return Decision("ask", f"{above.rule}, for the code that called this")
        return Decision("allow", f"auto {verdict.why}")

    def _luck(self, tool: ToolInfo) -> tuple[float, float]:
        # The tool's own is that of all code: who changes the code draws nothing new for the tool.
        name = (tool.server, tool.name, tool.digest)
        of_tool = luck_of(self._secret, self._day, "tool", *name)
        return of_tool, luck_of(self._secret, self._day, "code", self._code, *name)


_NOTHING = ToolEvidence(Standing(), Standing())
