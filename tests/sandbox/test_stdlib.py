"""The standard library in a box: every module is imported, and the few that cannot be are listed here with the reason.

A box is CPython for WASI without files: what is missing needs a C library that build does not have, an operating
system underneath, or is for another one. The list is exact, so that a module that gets lost and one that comes back
are both seen.
"""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

# Processes, signals, terminals, users: there is no operating system underneath.
NO_OPERATING_SYSTEM = """
    _multiprocessing _posixshmem _posixsubprocess _remote_debugging asyncio.tools fcntl grp mmap pwd resource syslog
    termios pty tty readline _pyrepl.fancy_termios _pyrepl.readline _pyrepl.simple_interact _pyrepl.unix_console
    _pyrepl.unix_eventqueue multiprocessing.forkserver multiprocessing.heap multiprocessing.popen_fork
    multiprocessing.popen_forkserver multiprocessing.popen_spawn_posix multiprocessing.resource_tracker
    multiprocessing.shared_memory multiprocessing.synchronize
"""
# Calling native code, and a second interpreter in the process: neither exists in a WebAssembly component.
NO_NATIVE_CODE = """
    _ctypes ctypes ctypes._aix ctypes._endian ctypes._layout ctypes.macholib ctypes.macholib.dyld ctypes.macholib.dylib
    ctypes.macholib.framework ctypes.util ctypes.wintypes multiprocessing.sharedctypes _pyrepl.windows_console
    _interpchannels _interpqueues _interpreters concurrent.futures.interpreter concurrent.interpreters
    concurrent.interpreters._crossinterp concurrent.interpreters._queues
"""
# CPython for WASI is built without OpenSSL, bzip2, xz, zstd, dbm, curses and libuuid; hashlib and uuid do without.
NO_C_LIBRARY = """
    _hashlib _ssl ssl _uuid _bz2 bz2 compression.bz2 encodings.bz2_codec _lzma lzma compression.lzma _zstd
    compression.zstd compression.zstd._zstdfile _dbm dbm.ndbm _gdbm dbm.gnu _curses _curses_panel curses curses.ascii
    curses.has_key
    curses.panel curses.textpad
"""
OTHER_SYSTEMS = """
    _aix_support _android_support _apple_support _ios_support _osx_support _overlapped _scproxy _winapi _wmi msvcrt nt
    winreg winsound asyncio.windows_events asyncio.windows_utils encodings.mbcs encodings.oem
    multiprocessing.popen_spawn_win32
"""
# Not carried: windows to draw, an installer, an editor.
LEFT_OUT = "_tkinter tkinter turtle turtledemo idlelib ensurepip"

UNAVAILABLE = frozenset(f"{NO_OPERATING_SYSTEM} {NO_NATIVE_CODE} {NO_C_LIBRARY} {OTHER_SYSTEMS} {LEFT_OUT}".split())

IMPORT_ALL = """
    import importlib, sys
    names = set(sys.stdlib_module_names).union(*[getattr(finder, "names", ()) for finder in sys.meta_path])
    # Importing a package's __main__ runs a program: those are found and compiled, not run.
    programs = {name for name in names if name.endswith("__main__")}
    failed = {}
    for name in sorted(names - programs):
        try:
            importlib.import_module(name)
        except BaseException as exc:
            failed[name] = f"{type(exc).__name__}: {exc}"
    [sorted(names), failed, sorted(n for n in programs if importlib.util.find_spec(n) is None)]
"""


async def test_every_module_imports_but_the_listed(run: Any) -> None:
    """All of `sys.stdlib_module_names` and every carried submodule, in one box, as the guest itself lists them."""
    names, failed, lost = (await run(IMPORT_ALL, wall=60, memory="1GiB")).unwrap()
    assert len(names) > 600
    assert lost == []
    unexpected = {name: why for name, why in failed.items() if name not in UNAVAILABLE}
    assert unexpected == {}, "these should import, or belong on a list with the reason"
    assert UNAVAILABLE - set(failed) == set(), "these import now: take them off the list"


async def test_a_module_that_is_not_there_says_so(run: Any) -> None:
    found = await run("import ssl")
    assert found.error.message == "ModuleNotFoundError: No module named '_ssl'"
    assert found.error.line == 1


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("import hashlib\nhashlib.sha256(b'').hexdigest()[:8]", "e3b0c442"),
        ("import hashlib\nlen(hashlib.blake2b(b'').digest())", 64),
        ("import zlib\nzlib.decompress(zlib.compress(b'x' * 99)).decode()", "x" * 99),
        ("import csv, io\nlist(csv.reader(io.StringIO('a,b')))", [["a", "b"]]),
        ("import decimal\nstr(decimal.Decimal('0.1') + decimal.Decimal('0.2'))", "0.3"),
        ("import xml.etree.ElementTree as E\nE.fromstring('<a b=\"1\"/>').attrib", {"b": "1"}),
        ("import tomllib\ntomllib.loads('a = 1')", {"a": 1}),
        ("import unicodedata\nunicodedata.normalize('NFC', 'u\\u0308')", "ü"),
        ("import statistics, fractions, itertools\nstatistics.mean([1, 2, 3])", 2),
        ("import email.message, http.client, urllib.request, subprocess, socket, multiprocessing\n1", 1),
        ("'é'.encode('cp1252').decode('latin-1')", "é"),
        ("import json.tool, unittest.mock, concurrent.futures, logging.handlers\n1", 1),
    ],
)
async def test_what_is_imported_works(run: Any, code: str, value: Any) -> None:
    found = await run(code)
    if value is not None:
        assert found.unwrap() == value
