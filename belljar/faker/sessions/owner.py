"""Whose session it is: the process that writes it, named so that no other is ever taken for it.

A process id comes back; together with the process's start, counted in ticks since the machine's, and the machine's
boot it does not. A process of another pid namespace - a container with the same folder - cannot be seen from here, so
nothing is said of it, until the machine was started anew.
"""

from __future__ import annotations

import os

__all__ = ["is_gone", "own"]


def own() -> str:
    """This process: `boot:namespace:pid:start`."""
    return f"{_boot()}:{_namespace()}:{os.getpid()}:{_started('self')}"


def is_gone(owner: str) -> bool:
    """Whether that process has surely ended; False if it cannot be told."""
    try:
        boot, namespace, pid, started = owner.split(":")
    except ValueError:
        return False
    if boot != _boot():
        return bool(boot and _boot())
    if namespace != _namespace() or not pid.isdigit():
        return False
    return _started(pid) != started


def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id").strip()


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return ""


def _started(pid: str) -> str:
    """In ticks since the machine's start; empty if there is no such process, or it is dead and only not yet buried."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
