# row: C terminal
# with: attempts
import os, sys
def terminal():
    try:
        open("/dev/tty").close()
    except OSError as exc:
        if exc.errno in (1, 13) or sys.platform == "wasi":
            raise
through(terminal=terminal, ptmx=lambda: os.close(os.open("/dev/ptmx", 2 | 0o400)))
