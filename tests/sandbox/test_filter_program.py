"""The seccomp program itself, run by a small interpreter: for this architecture and for one that is not here.

What the kernel would do on an ARM64 machine cannot be tried on another; what the program says there can. The numbers
are asked of libseccomp, the program's decisions are the program's own.
"""

from __future__ import annotations

import itertools
import struct
import sys
from collections.abc import Iterator

import pytest

from belljar.sandbox._seccomp import ALLOWED, NATIVE, READING, THREADS, WRITING, Allowed, compile_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="wall 2 is Linux's")

EVERY = (*ALLOWED, *NATIVE, *THREADS, *READING, *WRITING)
# linux/audit.h
_AUDIT = {"X86_64": 0xC000003E, "AARCH64": 0xC00000B7}
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
# What ARM64 never had: each has a younger form in the table.
_NOT_ON_ARM = frozenset("poll open readlink mkdir unlink rmdir rename access".split())
_HIGHEST = 600


def decide(program: bytes, audit: int, number: int, args: tuple[int, ...] = (0,) * 6) -> int:
    """What a classic BPF program returns for one system call."""
    data = struct.pack("<IIQ6Q", number, audit, 0, *(arg & 0xFFFFFFFFFFFFFFFF for arg in args))
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    acc, at = 0, 0
    while True:
        kind, yes, no, k = code[at]
        at += 1
        if kind == 0x20:  # load a word
            (acc,) = struct.unpack_from("<I", data, k)
        elif kind == 0x54:  # and
            acc &= k
        elif kind == 0x05:  # jump
            at += k
        elif kind == 0x06:  # return
            return k
        else:
            taken = {0x15: acc == k, 0x25: acc > k, 0x35: acc >= k, 0x45: bool(acc & k)}[kind]
            at += yes if taken else no


def fitting(call: Allowed) -> tuple[int, ...]:
    """Arguments that it asks for; bits it says nothing of are set, as they may be."""
    args = [0] * 6
    for place, mask, value in call.when:
        args[place] = value | (~mask & 0xFFFFFFFF)
    return tuple(args)


def broken(call: Allowed) -> Iterator[tuple[int, ...]]:
    """The same with one bit of one condition wrong."""
    for place, mask, _ in call.when:
        for bit in range(64):
            if mask >> bit & 1:
                args = list(fitting(call))
                args[place] ^= 1 << bit
                yield tuple(args)


@pytest.fixture(params=["X86_64", "AARCH64"])
def machine(request: pytest.FixtureRequest) -> tuple[bytes, int, dict[str, int]]:
    """Program, audit number and numbers of system calls of an architecture."""
    import pyseccomp

    arch = getattr(pyseccomp.Arch, request.param)
    numbers = {call.name: pyseccomp.resolve_syscall(arch, call.name) for call in EVERY}
    return compile_program(EVERY, arch), _AUDIT[request.param], numbers


def test_the_table_is_what_is_allowed_and_nothing_else(machine: tuple[bytes, int, dict[str, int]]) -> None:
    """F1: of all numbers exactly those of the table pass; clone3 is "not there", the rest is "you may not"."""
    program, audit, numbers = machine
    ways = [(0,) * 6, (0xFFFFFFFF,) * 6, *{fitting(call) for call in EVERY}]
    passed = {
        number for number in range(_HIGHEST) if any(decide(program, audit, number, way) == _ALLOW for way in ways)
    }
    assert passed == {number for number in numbers.values() if number >= 0}
    denied = {decide(program, audit, number) for number in set(range(_HIGHEST)) - passed}
    assert denied == {_EPERM, _ENOSYS}
    assert decide(program, audit, 435) == _ENOSYS
    if audit == _AUDIT["AARCH64"]:
        assert {name for name, number in numbers.items() if number < 0} == _NOT_ON_ARM


def test_arguments_must_be_what_the_table_says(machine: tuple[bytes, int, dict[str, int]]) -> None:
    """F1: with any bit of a condition wrong it is denied, unless another row of that call allows just that."""
    program, audit, numbers = machine
    for call in EVERY:
        if numbers[call.name] < 0 or not call.when:
            continue
        assert decide(program, audit, numbers[call.name], fitting(call)) == _ALLOW, call
        others = [each.when for each in EVERY if each.name == call.name]
        for args in broken(call):
            expected = any(all(args[at] & mask == value for at, mask, value in when) for when in others)
            assert (decide(program, audit, numbers[call.name], args) == _ALLOW) is expected, (call, args)


def test_numbers_of_another_architecture_end_the_process(machine: tuple[bytes, int, dict[str, int]]) -> None:
    """F1: 32-bit calls, x32 calls and those of another machine mean something else under the same number."""
    program, audit, _ = machine
    for other, number in itertools.product((0x40000003, 0x40000028, *_AUDIT.values()), (0, 1, 3, 63, 93)):
        if other != audit:
            assert decide(program, other, number) == _KILL
    if audit == _AUDIT["X86_64"]:
        assert decide(program, audit, 0x40000000) == _KILL
