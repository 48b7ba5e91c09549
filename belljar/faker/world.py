"""The fake world: answers calls so that nothing is written for real, and everything that was written can be read.

    call -> fault? -> classify -> write: intercept, apply to the overlay, answer in the tool's own form
                              \\-> read:  overlay, else the target, else something made up that stays as it is

It stands behind the proxy and behind the bridge of a run alike, and knows neither. What a server's tools do to the
world is a model's to say: an adapter where one knows the server (`adapters/`), else the generic one. A model sees the
state as one call sees it and gives back what changes; if somebody else has written meanwhile, it is asked again.

The one rule above all: a call that was classified as a write never reaches the target, whatever fails.
"""

from __future__ import annotations

import logging
from collections.abc import Generator as Yields
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, cast

import anyio

from belljar import show
from belljar.faker import results
from belljar.faker.adapters import adapter_for
from belljar.faker.ai import AiError, Completer, answer_of
from belljar.faker.calls import Call, Real, RealError, Reply, Tool, Verdict
from belljar.faker.classify import ClassifyOptions, classify
from belljar.faker.faults import Fault, Faults, faults_of_instruction
from belljar.faker.generate import Generator
from belljar.faker.generic import GenericModel
from belljar.faker.overlay import Changes, Overlay, OverlayFullError
from belljar.faker.scene import Model, Outcome, Refusal, Scene
from belljar.rpc import jsontext, schemas
from belljar.rpc.world import JsonValue

__all__ = ["FakeWorld", "WorldOptions", "open_world"]

_log = logging.getLogger("belljar.faker")

# With n writers at once the last one looks again n times; more than this at once is no work but an accident.
_TRIES: Final = 100
_STEPS: Final = 20_000
_MAX_CACHED: Final = 1_000
# A timeout lasts as long as the caller waits; this bounds the one who waits for ever.
_LONGEST_SILENCE_S: Final = 3600.0
_DISCONNECTED: Final = -32000
_MALFORMED: Final = -32603


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """How a fake world behaves."""

    seed: int = 0
    """What is made up follows from it."""
    classify: ClassifyOptions = field(default_factory=ClassifyOptions)
    safety: bool = True
    """False: writes reach the target too, and only faults and records are left."""
    instruction: str = ""
    """What the world is like, in words."""
    faults: tuple[Fault, ...] = ()
    world_file: Path | None = None
    """Where what was written is kept and shared; in memory if None."""
    ai: Completer | None = None
    """A model that answers reads where there is no target."""


@contextmanager
def open_world(options: WorldOptions | None = None) -> Yields[FakeWorld]:
    """A world for the length of the block.

    Raises:
        ConfigError: its file cannot be used.
    """
    options = options or WorldOptions()
    with Overlay(options.world_file) as overlay:
        yield FakeWorld(options, overlay)


class FakeWorld:
    """A `CallWorld`. Calls may be answered at once, by tasks of one event loop."""

    def __init__(self, options: WorldOptions, overlay: Overlay) -> None:
        self._options = options
        self._overlay = overlay
        self.generator = Generator(options.seed, options.instruction)
        faults = (*options.faults, *faults_of_instruction(options.instruction))
        self._faults = Faults(faults, self.generator) if faults else None
        self._verdicts: dict[tuple[str, str], tuple[Tool, Verdict]] = {}
        self._models: dict[str, tuple[Mapping[str, Tool], Model]] = {}
        self._generic: dict[str, GenericModel] = {}
        self._cache: dict[tuple[str, str, bytes], tuple[int, Outcome]] = {}
        self._input_checked: dict[tuple[str, str], tuple[Tool, bool]] = {}

    def verdict(self, server: str, tool: Tool) -> Verdict:
        """What kind of tool it is."""
        known = self._verdicts.get((server, tool.name))
        if known is None or known[0] is not tool:
            known = tool, classify(tool, self._options.classify, server=server)
            self._verdicts[server, tool.name] = known
        return known[1]

    async def call(self, call: Call, real: Real | None) -> Reply:
        """The answer; a write never reaches `real` while safety is on."""
        verdict = self.verdict(call.server, call.tool)
        try:
            return await self._reply(call, real, verdict)
        except Exception as exc:  # noqa: BLE001 - a bug or a file ends one call, and never lets a write through
            _log.error("the fake world could not answer %s: %s", show.name(call.tool.name), type(exc).__qualname__)
            _log.debug("the fake world could not answer", exc_info=True)
            sorry = results.error("the fake world cannot answer this call")
            return Reply(sorry, "synthesized", verdict, intercepted=verdict.operation == "write")

    async def _reply(self, call: Call, real: Real | None, verdict: Verdict) -> Reply:
        writes = verdict.operation == "write"
        if self._faults is not None and (fault := await self._failing(call, verdict)) is not None:
            return fault
        if writes and not self._options.safety and real is not None:
            return await self._passed(real, verdict)
        if (writes or real is None) and (wrong := self._wrong(call)):
            return Reply(results.error(wrong), "overlay", verdict, intercepted=writes, detail="arguments do not fit")
        pretended = (
            await self._pretended(call) if not writes and real is None and self._options.ai is not None else None
        )
        if pretended is not None:
            real = pretended
        scene = Scene(
            call,
            verdict,
            self.generator,
            Changes(self._overlay),
            partial(self.verdict, call.server),
            _real=None if writes else real,
        )
        try:
            outcome = await self._answered(scene)
        except RealError as exc:
            if writes:
                return Reply(results.error(exc.message), "overlay", verdict, real_used=scene.asked, intercepted=True)
            return _failed(exc, verdict)
        except (Refusal, OverlayFullError) as exc:
            message = results.error("ENOSPC: " + str(exc) if isinstance(exc, OverlayFullError) else str(exc))
            return Reply(message, "overlay", verdict, real_used=scene.asked, intercepted=writes)
        ai = pretended is not None and scene.asked
        return Reply(
            outcome.result,
            "ai" if ai and outcome.source == "real" else outcome.source,
            verdict,
            real_used=scene.asked and not ai,
            intercepted=writes,
            synthesized=outcome.synthesized or ai,
            ai=ai,
            detail=outcome.detail,
        )

    async def _pretended(self, call: Call) -> Real | None:
        """A model in the target's place: one answer for one question, kept like what was written. None if it fails."""
        assert self._options.ai is not None
        space = f"ai\n{call.server}\n{self._options.instruction}"
        about = jsontext.dump([call.tool.name, dict(sorted(call.args.items()))])
        kept = Changes(self._overlay).get(space, about)
        if kept is None:
            try:
                with call.way.asking_ai():
                    said = await answer_of(self._options.ai, call, self.generator)
                kept = await self._kept(space, about, said)
            except (AiError, OverlayFullError) as exc:
                _log.warning("no answer of a model for %s: %s", show.name(call.tool.name), exc)
                return None
        answer = cast("results.Answer", kept)

        async def pretend() -> dict[str, JsonValue]:
            return answer

        return pretend

    async def _kept(self, space: str, about: str, said: JsonValue) -> JsonValue:
        """What is there from now on: this, or what somebody else was told meanwhile."""
        for _ in range(_TRIES):
            changes = Changes(self._overlay)
            if (first := changes.get(space, about)) is not None:
                return first
            changes.set(space, about, said)
            if changes.commit():
                return said
            await anyio.lowlevel.checkpoint()
        raise AiError("the fake world is busy")

    async def _answered(self, scene: Scene) -> Outcome:
        key = self._cached_as(scene)
        if key is not None and (hit := self._hit(key, scene)) is not None:
            return hit
        model = self._model(scene.call)
        for _ in range(_TRIES):
            outcome = await model.answer(scene)
            seen = scene.changes.seen
            if scene.changes.commit():
                if key is not None:
                    self._keep(key, seen + bool(scene.changes.cells), scene, outcome)
                return outcome
            scene.changes = Changes(self._overlay)
            await anyio.lowlevel.checkpoint()
        raise Refusal("the fake world is busy")

    async def _passed(self, real: Real, verdict: Verdict) -> Reply:
        try:
            return Reply(await real(), "real", verdict, real_used=True)
        except RealError as exc:
            return _failed(exc, verdict)

    def _model(self, call: Call) -> Model:
        known = self._models.get(call.server)
        if known is None or known[0] is not call.tools:
            generic = self._generic.setdefault(call.server, GenericModel())
            known = call.tools, adapter_for(call, generic) or generic
            self._models[call.server] = known
        return known[1]

    def _wrong(self, call: Call) -> str:
        """Why the real tool would refuse these arguments, or nothing."""
        schema = call.tool.input_schema
        known = self._input_checked.get((call.server, call.tool.name))
        if known is None or known[0] is not call.tool:
            known = call.tool, bool(schema) and not schemas.refusal(dict(schema))
            self._input_checked[call.server, call.tool.name] = known
        if not known[1]:
            return ""
        try:
            wrong = schemas.validate(schema, dict(call.args), steps=_STEPS)
        except schemas.TooCostlyError as exc:
            wrong = [f"the schema is too costly to check ({exc})"]
        return f"Invalid arguments for tool {call.tool.name}: {'; '.join(wrong[:5])}" if wrong else ""

    # faults

    async def _failing(self, call: Call, verdict: Verdict) -> Reply | None:
        """The answer of a call that goes wrong; None if it only comes later, or not even that."""
        assert self._faults is not None
        intercepted = verdict.operation == "write"
        for fault in self._faults.draw(call, verdict.operation):
            detail = f"fault {fault.name}"
            match fault.kind:
                case "latency":
                    call.way.fault = detail
                    await anyio.sleep(fault.seconds)
                    call.way.fault = ""
                    continue
                case "timeout":
                    call.way.fault = detail
                    await anyio.sleep(_LONGEST_SILENCE_S)
                    error: dict[str, JsonValue] = {"code": -32001, "message": "request timed out"}
                case "disconnect":
                    error = {"code": _DISCONNECTED, "message": "Connection closed"}
                case "rpc":
                    error = {"code": fault.code, "message": fault.text}
                case "malformed":
                    return Reply(
                        {"content": "made to be no result"}, "fault", verdict, intercepted=intercepted, detail=detail
                    )
                case "error":
                    result = results.error(fault.text)
                    return Reply(result, "fault", verdict, intercepted=intercepted, detail=detail)
            return Reply({}, "fault", verdict, intercepted=intercepted, detail=detail, error=error)
        return None

    # answers kept

    def _cached_as(self, scene: Scene) -> tuple[str, str, bytes] | None:
        if scene.verdict.operation == "write":
            return None
        try:
            return scene.call.server, scene.call.tool.name, jsontext.canonical(dict(scene.args))
        except jsontext.JsonError:
            return None

    def _hit(self, key: tuple[str, str, bytes], scene: Scene) -> Outcome | None:
        kept = self._cache.get(key)
        if kept is None:
            return None
        version, outcome = kept
        if version != scene.changes.seen:
            del self._cache[key]
            return None
        return Outcome(outcome.result, "cache", "first synthesized", synthesized=True)

    def _keep(self, key: tuple[str, str, bytes], version: int, scene: Scene, outcome: Outcome) -> None:
        """What was made up is kept until something is written; what the target said never is: it may say otherwise."""
        if outcome.result.get("isError") is True or not outcome.synthesized or scene.asked:
            return
        if len(self._cache) >= _MAX_CACHED:
            self._cache.pop(next(iter(self._cache)))
        self._cache[key] = version, outcome


def _failed(exc: RealError, verdict: Verdict) -> Reply:
    error: dict[str, JsonValue] = {"code": exc.code, "message": exc.message}
    if exc.data is not None:
        error["data"] = exc.data
    return Reply({}, "real", verdict, real_used=True, error=error)
