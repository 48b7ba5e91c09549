"""What stands around one call while it is answered: the target to be asked, the state written so far, a generator.

A model of a server - the generic one, or an adapter that knows its server - gets a `Scene` and gives an `Outcome`. It
may be asked twice for one call, when somebody else wrote meanwhile; what it asked the target the first time is kept for
the second, so a call costs the target no more than it must.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from belljar.faker.calls import Call, Real, RealError, Source, Tool, Verdict
from belljar.faker.generate import Generator
from belljar.faker.overlay import Changes
from belljar.faker.results import Answer, error
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue

__all__ = ["Model", "Outcome", "Refusal", "Scene"]


class Refusal(Exception):
    """The tool fails, as the real one would have: the message is its text."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer, and how it came about."""

    result: Answer
    source: Source
    detail: str | None = None
    synthesized: bool = False

    @staticmethod
    def failed(message: str) -> Outcome:
        return Outcome(error(message), "overlay")


@dataclass(slots=True)
class Scene:
    """One call being answered."""

    call: Call
    verdict: Verdict
    generator: Generator
    changes: Changes
    """What has been written, and what this call writes."""
    judge: Callable[[Tool], Verdict]
    """Judges the server's other tools: those that write are never asked."""
    asked: bool = False
    """Whether the target had a say."""
    _real: Real | None = None
    _answers: dict[str, Answer | RealError] = field(default_factory=dict[str, "Answer | RealError"])

    @property
    def args(self) -> Mapping[str, JsonValue]:
        return self.call.args

    @property
    def offline(self) -> bool:
        """There is no target for this call."""
        return self._real is None

    @property
    def may_ask(self) -> bool:
        """Other tools of the target may be asked."""
        return self.call.ask is not None

    async def real(self) -> Answer:
        """What the target says to this very call; a call that reads.

        Raises:
            RealError: it could not say.
        """
        assert self.verdict.operation == "read", "a write never reaches the target"
        assert self._real is not None, "there is no target"
        return await self._once("", self._real)

    async def ask(self, tool: str, **args: JsonValue) -> Answer:
        """What the target says to another call, of a tool that reads.

        Raises:
            RealError: it could not say, there is no target, or it has no such tool that reads.
        """
        ask = self.call.ask
        listed = self.call.tools.get(tool)
        if ask is None or listed is None or self.judge(listed).operation != "read":
            raise RealError(-32601, f"there is nobody to ask for {tool}")
        about = jsontext.dump([tool, args])
        return await self._once(about, lambda: ask(tool, args))

    async def _once(self, about: str, real: Real) -> Answer:
        if about not in self._answers:
            self.asked = True
            try:
                self._answers[about] = await real()
            except RealError as exc:
                self._answers[about] = exc
        answer = self._answers[about]
        if isinstance(answer, RealError):
            raise answer
        return answer

    # cells, each model in spaces of its own

    def get(self, space: str, key: str) -> JsonValue:
        return self.changes.get(space, key)

    def set(self, space: str, key: str, value: JsonValue) -> None:
        self.changes.set(space, key, value)


class Model(Protocol):
    """Knows what a server's tools do to a world."""

    async def answer(self, scene: Scene) -> Outcome:
        """Answer the call; what it changes goes into `scene.changes`.

        Raises:
            RealError: the target was asked and could not say.
            Refusal: the tool fails, as the real one would.
        """
        ...
