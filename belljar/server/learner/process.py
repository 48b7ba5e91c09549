"""The learner's process: what it is told, and how it ends.

A server starts it and owns it. It is told everything in one line on stdin - the database's URL among it, which may hold
a password and so is neither in its argv nor in its environment. When stdin ends, or SIGTERM comes, or the server dies
(PR_SET_PDEATHSIG), it ends: what is under way is given up within moments, and nothing is half written, because all that
it writes are transactions. It says figures on stdout for the server's /metrics, and logs to the server's stderr.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import threading
from contextlib import closing
from typing import Any

from belljar.errors import BelljarError
from belljar.server import logs
from belljar.server.embedders import embedder_of
from belljar.server.learner.leader import leader_of
from belljar.server.learner.loop import Learner
from belljar.server.learner.service import Rules
from belljar.server.store.engine import open_database

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
# To give up what is under way; a step of training takes a tenth of it.
_GRACE_S = 2.0
_CONNECTIONS = 2


def main(order: dict[str, Any]) -> None:
    """Learn until told to end. Does not return: what other threads do is not waited for."""
    status = 1
    try:
        stop = _prepare(order)
        with closing(open_database(order["url"], pool_size=_CONNECTIONS)) as db:
            learner = Learner(
                db,
                leader_of(db),
                stop.wait,
                share=order["share"],
                embedder=embedder_of(order["embedder"]),
                rules=Rules(**order["rules"]),
                tell=_tell,
            )
            learner.run()
        status = 0
    except BelljarError as exc:
        logs.event("learner-failed", level=logging.ERROR, why=exc.message)
    except BaseException as exc:  # noqa: BLE001 - a fault of ours: the server starts another one
        logs.event("learner-failed", level=logging.ERROR, exc=exc)
    finally:
        os._exit(status)


def _prepare(order: dict[str, Any]) -> threading.Event:
    os.umask(0o077)
    os.nice(order["nice"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the password
    os.environ.update(order["environment"])
    logs.configure(debug=order["debug"])
    logging.captureWarnings(True)
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: _end(stop))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != order["parent"]:
        os._exit(0)  # it ended before the kernel knew whom to tell
    threading.Thread(target=_hear, args=(stop,), name="stdin", daemon=True).start()
    return stop


def _hear(stop: threading.Event) -> None:
    """Until stdin ends: the server is gone, or wants us to be."""
    while os.read(0, 4096):
        pass
    _end(stop)


def _end(stop: threading.Event) -> None:
    if not stop.is_set():
        stop.set()
        late = threading.Timer(_GRACE_S, os._exit, (0,))
        late.daemon = True
        late.start()


def _tell(name: str, value: float) -> None:
    try:
        os.write(1, json.dumps([name, value]).encode() + b"\n")
    except OSError:
        pass  # nobody reads any more
