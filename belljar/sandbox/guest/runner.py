"""Runs one capability: compile, execute, convert the result, report.

A capability is a module that defines `main`, or a snippet whose last expression is the result; both may `await` at
the top level. Code without a top-level `await` runs outside the event loop, so that `asyncio.run(...)` in a snippet
works as it does in a script.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import linecache
import sys
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from . import patched
from .branches import Decisions, available, branches
from .faults import NotJson, describe
from .loop import Loop, Policy
from .output import Output
from .proxy import Mcp
from .seam import CAPABILITY_FILE, Host, Job
from .wire import ToolError, Wire

__all__ = ["Outcome", "execute"]

_MODULE = "__main__"
_RESULT = "__belljar_result__"
_encode_result = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode
_encode = json.JSONEncoder(separators=(",", ":")).encode

# Given back when memory is out: to report that takes some.
_reserve = [bytearray(1 << 20)]


class Outcome(NamedTuple):
    """What crosses the border at the end: `text` is the result or the fault, `observed` the decisions, all JSON."""

    ok: bool
    text: str
    observed: str


def execute(host: Host, job: Job) -> Outcome:
    """Run one job to its end; never raises for what the capability does."""
    patched.seed(job.seed)
    run = _Run(host, job)
    try:
        text, ok = _to_json(run.result()), True
    except MemoryError as exc:
        _reserve.clear()
        text, ok = _fault(exc, job.code), False
    except BaseException as exc:
        text, ok = _fault(exc, job.code), False
    return Outcome(ok, text, run.close())


def _fault(exc: BaseException, code: str) -> str:
    if not isinstance(exc, MemoryError):
        # So that a traceback shows the capability's own lines.
        linecache.cache[CAPABILITY_FILE] = (len(code), None, code.splitlines(keepends=True), CAPABILITY_FILE)
    fault = describe(exc)
    if isinstance(exc, ToolError):
        try:
            fault["data"] = _encode_result(exc.data)
        except (TypeError, ValueError, RecursionError):
            pass  # the capability made this error itself, with data that is no JSON: the code and message stand alone
    return _encode(fault)


class _Run:
    """One run's objects."""

    def __init__(self, host: Host, job: Job) -> None:
        self._job = job
        self._wire = Wire(host)
        self._loop: Loop | None = None
        self._decisions: Decisions | None = None
        asyncio.set_event_loop_policy(Policy(self._wire)) if sys.version_info < (3, 14) else _set_policy(self._wire)
        patched.install(self._wire)
        sys.stdout = sys.__stdout__ = Output(host, "stdout")
        sys.stderr = sys.__stderr__ = Output(host, "stderr")

    def result(self) -> Any:
        tree = _parsed(self._job.code)
        is_module = _defines_main(tree)
        if not is_module:
            _keep_last_expression(tree)
        code = compile(tree, CAPABILITY_FILE, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if self._job.decisions and available() and branches(code):
            self._decisions = Decisions(tree, self._job.code)
            self._decisions.watch(code)
        args = json.loads(self._job.args)
        module = self._module(args)
        self._execute(code, module.__dict__)
        if is_module:
            return self._finish(module.__dict__["main"](**args))
        return module.__dict__.get(_RESULT)

    def _module(self, args: Any) -> ModuleType:
        # A real module under a real name: dataclasses, pickle and typing look their classes' module up.
        module = ModuleType(_MODULE)
        module.__dict__.update(mcp=Mcp(self._wire), args=args, ToolError=ToolError)
        sys.modules[_MODULE] = module
        return module

    def _execute(self, code: CodeType, names: dict[str, Any]) -> None:
        if code.co_flags & inspect.CO_COROUTINE:
            self._finish(eval(code, names))
        else:
            exec(code, names)

    def _finish(self, value: Any) -> Any:
        if not inspect.isawaitable(value):
            return value
        if self._loop is None:
            self._loop = Loop(self._wire)
        return self._loop.run_until_complete(_await(value) if not asyncio.iscoroutine(value) else value)

    def close(self) -> str:
        """End what is still open and give what was observed."""
        taken: list[tuple[str, str, str]] = []
        try:
            if self._loop is not None:
                _cancel_all(self._loop)
            if self._decisions is not None:
                self._decisions.stop()
                taken = self._decisions.taken
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        except BaseException:  # noqa: S110 - it broke the interpreter's parts (sys.stdout is its to replace): its result stands
            pass
        return _encode(taken)


def _set_policy(wire: Wire) -> None:
    asyncio.events._set_event_loop_policy(Policy(wire))  # type: ignore[attr-defined]


async def _await(value: Any) -> Any:
    return await value


def _parsed(source: str) -> ast.Module:
    try:
        return compile(source, CAPABILITY_FILE, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (MemoryError, RecursionError):
        # How the parser says that its own stack is full; the code's size is bounded, so memory is not short.
        raise SyntaxError("nested too deeply for the parser", (CAPABILITY_FILE, None, None, None)) from None


def _defines_main(tree: ast.Module) -> bool:
    return any(isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)) and n.name == "main" for n in tree.body)


def _keep_last_expression(tree: ast.Module) -> None:
    if tree.body and isinstance(last := tree.body[-1], ast.Expr):
        target = ast.Name(_RESULT, ast.Store())
        tree.body[-1] = ast.copy_location(ast.Assign([ast.copy_location(target, last)], last.value), last)


def _cancel_all(loop: Loop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def _to_json(value: Any) -> str:
    if inspect.iscoroutine(value):
        value.close()
        raise NotJson("the result is a coroutine: an `await` is missing")
    try:
        text = _encode_result(value)
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise NotJson("the result holds a lone surrogate, which JSON text cannot carry") from None
    except (TypeError, ValueError) as exc:
        hint = "return dicts, lists, strings, numbers, booleans or None"
        raise NotJson(f"the result is not JSON: {exc}; {hint}") from None
    except RecursionError:
        raise NotJson("the result is not JSON: it is nested too deeply") from None
    return text
