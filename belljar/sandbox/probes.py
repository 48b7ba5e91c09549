"""Probes: what the walls deny *now*, tried natively from inside them.

A configuration says what should hold; a probe shows what does. Two questions are asked. `run_probes` puts a child
behind a wall as workers are and tries everything: nothing may work. That alone would hide a wall that is down, because
the walls overlap and another one says no in its place. So `examine` also asks each wall by itself: what is tried then
is denied by that wall or by nobody. A kernel that lacks a right, or a wall that is waived, shows up as what it is.

Each child is forked here, so this process should have one thread, like the zygote it stands for. It is given a
deadline, killed if it misses it, and always reaped; results come line by line, so that a child that dies says where.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import secrets
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NoReturn

from belljar.errors import WallError
from belljar.sandbox.walls import WALLS, Wall

if TYPE_CHECKING:
    from belljar.sandbox._attempts import Probe, Scene

__all__ = ["ProbeResult", "all_probes", "examine", "native_probes", "run_probes", "to_json"]

# "You may not" in its forms: plainly; as limits say it; "there is no such thing".
_DENIALS = frozenset(
    (
        *(errno.EPERM, errno.EACCES),
        *(errno.EMFILE, errno.EFBIG, errno.EAGAIN),
        *(errno.ENOSYS, errno.EAFNOSUPPORT),
    )
)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What came of one probe. `detail` is the name of the error, or what happened instead of one."""

    probe: str
    wall: str
    denied: bool
    detail: str
    backend: str = "wasm"
    """Whose worker it was tried in."""


def all_probes() -> tuple[Probe, ...]:
    """Every probe; none where there is no wall 2."""
    if sys.platform != "linux":
        return ()
    from belljar.sandbox._attempts import PROBES  # Linux alone has what it imports

    return PROBES


def native_probes() -> tuple[Probe, ...]:
    """Those that a capability in native Python is denied as well: it may start threads, so many."""
    return tuple(probe for probe in all_probes() if (probe.wall, probe.name) != ("seccomp", "thread"))


def run_probes(wall: Wall, probes: Sequence[Probe] | None = None, *, deadline_s: float = 10.0) -> list[ProbeResult]:
    """Fork a child, tighten it, try every probe in it.

    Raises:
        WallError: the child could not be tightened, died or missed its deadline; a wall that cannot be examined is
            not one to rely on.
    """
    chosen = all_probes() if probes is None else tuple(probes)
    if not chosen:
        return []
    with _scene() as scene:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            _try_all(wall, chosen, scene, writer)
        os.close(writer)
        try:
            lines = _read_lines(reader, time.monotonic() + deadline_s)
        finally:
            os.close(reader)
            os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
    return _results(chosen, lines, status)


def examine(wall: Wall, probes: Sequence[Probe] | None = None) -> list[ProbeResult]:
    """Each probe behind the whole wall, and again behind the one it is there for: denied only if both deny it.

    Raises:
        WallError: as `run_probes`.
    """
    chosen = all_probes() if probes is None else tuple(probes)
    together = run_probes(wall, chosen)
    alone = [result for info in WALLS for result in _alone(wall, info.name, chosen)]
    by_itself = {(result.probe, result.wall): result for result in alone}
    return [_both(result, by_itself.get((result.probe, result.wall))) for result in together]


def to_json(results: Sequence[ProbeResult]) -> list[dict[str, object]]:
    """What `doctor --json` prints."""
    return [asdict(result) for result in results]


def _alone(wall: Wall, name: str, probes: Sequence[Probe]) -> list[ProbeResult]:
    # A right that this kernel's Landlock has not cannot be asked of it; seccomp answers for it behind the whole wall.
    abi = wall.landlock_abi or sys.maxsize
    return run_probes(wall.alone(name), [p for p in probes if p.wall == name and p.landlock_abi <= abi])


def _both(together: ProbeResult, alone: ProbeResult | None) -> ProbeResult:
    if alone is None or not together.denied or alone.denied:
        return together
    detail = f"{together.detail}, but not by {alone.wall}: {alone.detail}"
    return ProbeResult(together.probe, together.wall, denied=False, detail=detail)


@contextmanager
def _scene() -> Generator[Scene]:
    from belljar.sandbox._attempts import Scene
    from belljar.sandbox._prctl import Libc

    abstract = f"belljar-{secrets.token_hex(8)}"
    memory_file = os.memfd_create(abstract, os.MFD_CLOEXEC)
    try:
        with tempfile.TemporaryDirectory(prefix="belljar-") as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind("\0" + abstract)
            listener.listen(1)
            with open(f"{folder}/kept", "wb"):
                pass
            word = ctypes.create_string_buffer(64)
            yield Scene(Libc(), _resolver(), os.getpid(), folder, abstract, memory_file, word)
    finally:
        os.close(memory_file)


def _resolver() -> Callable[[str], int]:
    """Numbers of system calls. Without libseccomp what needs one cannot be tried, and counts as not denied."""
    from belljar.sandbox._seccomp import resolver

    try:
        return resolver()
    except OSError:
        return _unknown


def _unknown(name: str) -> int:
    raise OSError(errno.ENOPKG, f"{name}: cannot be tried without libseccomp")


def _try_all(wall: Wall, probes: tuple[Probe, ...], scene: Scene, writer: int) -> NoReturn:
    """The child. It ends here, whatever happens."""
    try:
        tightened = _tightened(wall)
        _tell(writer, tightened)
        for probe in probes if tightened[0] else ():
            _tell(writer, _try(probe, scene))
        os._exit(0)
    finally:
        os._exit(1)


def _tightened(wall: Wall) -> tuple[bool, str, list[str]]:
    try:
        return True, "", list(wall.tighten())
    except WallError as exc:
        return False, exc.message, list(exc.walls)


def _try(probe: Probe, scene: Scene) -> tuple[bool, str]:
    try:
        probe.attempt(scene)
    except OSError as exc:
        name = errno.errorcode.get(exc.errno or 0, str(exc))
        return exc.errno in _DENIALS, name
    except Exception as exc:  # noqa: BLE001 - an attempt that fails for a reason of its own proves nothing
        return False, type(exc).__name__
    return False, "succeeded"


def _tell(writer: int, what: object) -> None:
    os.write(writer, json.dumps(what).encode() + b"\n")


def _read_lines(reader: int, deadline: float) -> list[bytes]:
    data = b""
    while (left := deadline - time.monotonic()) > 0 and select.select([reader], [], [], left)[0]:
        chunk = os.read(reader, 1 << 16)
        if not chunk:
            break
        data += chunk
    return data.splitlines()


def _results(probes: tuple[Probe, ...], lines: list[bytes], status: int) -> list[ProbeResult]:
    if not lines:
        raise WallError(f"the probe child ended before it said anything (wait status {status})")
    up, message, walls = json.loads(lines[0])
    if not up:
        raise WallError(message, walls=tuple(walls))
    if len(lines) - 1 < len(probes):
        stuck = probes[len(lines) - 1]
        raise WallError(f"the probe child ended or hung at {stuck.name!r} (wait status {status})", walls=(stuck.wall,))
    told = (json.loads(line) for line in lines[1:])
    return [
        ProbeResult(probe.name, probe.wall, denied, detail)
        for probe, (denied, detail) in zip(probes, told, strict=True)
    ]
