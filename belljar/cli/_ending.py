"""How a verb ends: with a status, after at most one line of error, and never with a traceback of ours."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from types import FrameType

from belljar import show
from belljar.errors import EXIT, BelljarError, Code, Interrupted, WorkerCrash

__all__ = ["complain", "ending", "log_to_stderr"]


def ending(
    body: Callable[[], int], *, debug: bool = False, refused: Callable[[BelljarError], None] | None = None
) -> int:
    """Do it; the exit status.

    Args:
        body: what the verb does; gives the status. What it raises becomes one line.
        debug: show the traceback of what is a fault of ours.
        refused: told of an error before it is shown.
    """
    _warn_on_stderr()
    # Until an event loop takes over, a request to end is an exception like Ctrl-C.
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        return body()
    except KeyboardInterrupt:
        error: BelljarError = Interrupted("interrupted")
    except BelljarError as exc:
        error = exc
    except Exception as exc:  # noqa: BLE001 - the last line of defence: a fault of ours is one line as well
        error = _fault(exc, debug)
    if refused is not None:
        refused(error)
    complain(error.code, error.message)
    return EXIT[error.code]


def _as_ctrl_c(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fault(exc: Exception, debug: bool) -> BelljarError:
    if debug:
        logging.getLogger("belljar").error("a fault in belljar itself", exc_info=exc)
    kind = type(exc).__qualname__
    return WorkerCrash(f"a fault in belljar itself ({kind}); {'report it' if debug else 'see it with --debug'}")


def complain(code: Code, message: str) -> None:
    """The one line of an error."""
    print(f"belljar: {code.value}: {show.text(message)}", file=sys.stderr)


class _Escaped(logging.Formatter):
    """What servers and capabilities say may stand in a record: shown, not obeyed."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return show.text(line, max_chars=12 * len(line) + 24, multiline=True)


def log_to_stderr() -> None:
    """Everything our loggers say. Ours alone: what other libraries log may hold headers and arguments."""
    _log("%(levelname)s %(name)s %(message)s", logging.DEBUG)


def _warn_on_stderr() -> None:
    """What a person should know, in the form of our other lines; nothing to add if everything is logged already."""
    if not logging.getLogger("belljar").handlers:
        _log("belljar: warning: %(message)s", logging.WARNING)


def _log(form: str, level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Escaped(form))
    logger = logging.getLogger("belljar")
    logger.addHandler(handler)
    logger.setLevel(level)
