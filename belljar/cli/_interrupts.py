"""Ctrl-C and SIGTERM while a run is on: everything ends within two seconds, and what was done is still told.

The first signal interrupts the jar, whose run ends with INTERRUPTED and its calls; a run that has no box yet is
cancelled. The second signal, or a clean end that takes too long - a server may ignore its own end - leaves at once:
workers, zygotes and servers are bound to this process and end with it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskStatus

from belljar.cli._report import Report
from belljar.errors import EXIT, Code, Interrupted
from belljar.jar import Jar

__all__ = ["interruptible"]

# An interrupted run answers within milliseconds; who has not answered by then has no box yet.
_ANSWER_S = 0.8
# Of the two seconds that are promised; the rest is for a slow machine.
_END_S = 1.7


@asynccontextmanager
async def interruptible(jar: Jar, report: Report) -> AsyncGenerator[anyio.CancelScope]:
    """Signals end the jar's runs for the length of the block; the scope is for what may be cancelled besides."""
    scope = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        await tasks.start(_listen, jar, report, scope)
        yield scope
        tasks.cancel_scope.cancel()


async def _listen(
    jar: Jar, report: Report, scope: anyio.CancelScope, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        await anext(signals)
        _leave_in_time(report)
        jar.interrupt()
        scope.deadline = anyio.current_time() + _ANSWER_S
        await anext(signals)
        _leave(report)


def _leave_in_time(report: Report) -> None:
    timer = threading.Timer(_END_S, _leave, [report])
    timer.daemon = True
    timer.start()


def _leave(report: Report) -> None:
    report.refused(Interrupted("interrupted"))
    os._exit(EXIT[Code.INTERRUPTED])
