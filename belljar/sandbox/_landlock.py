"""Landlock: handle every right this kernel knows, grant nothing but the folders asked for.

What is handled and not granted is denied. Instead of a table of ABI versions the kernel is asked, bit by bit, what it
can handle: a right added in a later kernel is denied on the day it appears, and nothing here grows old. The ruleset is
built once, in the zygote; a worker inherits its descriptor and only has to enter it (20 us), so no path is opened
between fork and the wall. See `Documentation/userspace-api/landlock.rst` in the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator

from belljar.sandbox._prctl import Libc

__all__ = ["Ruleset", "build_ruleset"]

# The same on every architecture we know a filter for: numbers have been assigned in step since Linux 5.1.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE = 1 << 14
_READ = _READ_FILE | _READ_DIR
# No symlinks, devices, fifos or sockets: a work folder holds files, and the host reads it afterwards.
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE


class Ruleset:
    """A ruleset ready to be entered. `abi` is the kernel's Landlock version: 4 has TCP, 6 signals, abstract sockets."""

    def __init__(self, descriptor: int, abi: int) -> None:
        self.abi = abi
        self._descriptor: int | None = descriptor

    def enter(self, libc: Libc) -> None:
        """Restrict this process for good, then drop the descriptor: what is left open is what a guest could reach."""
        if self._descriptor is None:
            raise OSError(errno.EBADF, "the ruleset was closed")
        libc.syscall("landlock_restrict_self", _RESTRICT_SELF, self._descriptor, 0)
        self.close()

    def close(self) -> None:
        """Give the descriptor back; once more does nothing (its number may be another file's by then)."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def build_ruleset(libc: Libc, read_only: tuple[str, ...], writable: tuple[str, ...]) -> Ruleset:
    """The ruleset that grants just these folders.

    Raises:
        OSError: no Landlock in this kernel or switched off at boot, or a folder cannot be opened.
    """
    abi = libc.syscall("landlock version", _CREATE_RULESET, 0, 0, _CREATE_RULESET_VERSION)
    files, tcp, scopes = (_known_bits(libc, field) for field in range(3))
    descriptor = _create(libc, files, tcp, scopes)
    try:
        for folder in read_only:
            _grant(libc, descriptor, folder, files & _READ)
        for folder in writable:
            _grant(libc, descriptor, folder, files & _WRITE)
    except OSError:
        os.close(descriptor)
        raise
    return Ruleset(descriptor, abi)


def _create(libc: Libc, *fields: int) -> int:
    # A kernel that knows fewer fields accepts the longer struct as long as the rest is zero, else E2BIG.
    attributes = ctypes.create_string_buffer(struct.pack("=QQQ", *fields), 24)
    return libc.syscall("landlock_create_ruleset", _CREATE_RULESET, ctypes.addressof(attributes), 24, 0)


def _known_bits(libc: Libc, field: int) -> int:
    """All bits the kernel accepts in one field of the ruleset (0 files, 1 TCP, 2 scopes)."""
    known = 0
    for bit in _bits_accepted(libc, field):
        known |= bit
    return known


def _bits_accepted(libc: Libc, field: int) -> Iterator[int]:
    for position in range(64):
        fields = [0, 0, 0]
        fields[field] = 1 << position
        try:
            os.close(_create(libc, *fields))
        except OSError as exc:
            if exc.errno not in (errno.EINVAL, errno.E2BIG):
                raise
            return
        yield 1 << position


def _grant(libc: Libc, ruleset: int, folder: str, rights: int) -> None:
    beneath = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, beneath), 12)
        libc.syscall("landlock_add_rule", _ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.addressof(rule), 0)
    finally:
        os.close(beneath)
