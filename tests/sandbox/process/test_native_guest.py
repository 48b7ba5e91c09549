"""The guest in native CPython: the tests of the one in a component that hold for both, and what is this one's own."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from belljar.errors import Code, ValidationError
from tests.sandbox.test_guest import (  # noqa: F401 - collected here, with the fixtures of this folder
    test_a_code_of_its_own_making_is_not_believed,
    test_a_failure_says_where,
    test_a_forgotten_task_does_not_outlive_the_run,
    test_a_module_with_main_and_a_snippet_both_give_their_value,
    test_a_result_64_deep_is_taken,
    test_a_result_that_is_no_json_is_named,
    test_a_syntax_error_has_line_and_caret,
    test_a_task_group_passes_on_the_error_of_a_call,
    test_a_tool_error_can_be_caught_and_read,
    test_an_uncaught_tool_error_ends_the_run_with_its_code,
    test_arguments_that_are_no_json_are_an_error_naming_the_tool,
    test_asyncio_works_as_anywhere,
    test_calls_of_a_loop_are_iterations_of_one_line,
    test_classes_of_a_capability_find_their_module,
    test_looking_at_a_tool_calls_nothing,
    test_names_that_are_no_identifiers_are_items,
    test_nested_json_goes_both_ways,
    test_positional_arguments_are_refused_with_the_way_out,
    test_prints_are_kept_as_text,
    test_twenty_gathered_calls,
)

pytestmark = pytest.mark.anyio


async def test_it_is_the_python_we_run_on(run: Any) -> None:
    """The backend, its version and its walls are in the trace; wall 1 is not among them."""
    found = await run("import sys\nlist(sys.version_info[:3])")
    assert found.unwrap() == list(sys.version_info[:3])
    assert found.trace["metadata"]["backend"] == "process"
    assert "wasm" not in found.trace["metadata"]["walls"]
    assert {"landlock", "seccomp", "ids"} <= set(found.trace["metadata"]["walls"])


@pytest.mark.parametrize(
    "code",
    [
        "import sqlite3\nsqlite3.connect(':memory:').execute('select 1').fetchone()[0]",
        "import xml.sax, wave, sched, cgi if False else wave\n1",
        "import decimal, fractions, zoneinfo, ssl, lzma, bz2, hashlib\nhashlib.sha256(b'').hexdigest() and 1",
        "import encodings.cp1252\nlen('€'.encode('cp1252'))",
        "import concurrent.futures\nlen(concurrent.futures.ThreadPoolExecutor(2).submit(str, 1).result())",
        "import runpy, pdb, doctest, timeit, tarfile, mailbox, http.client, smtplib\n1",
        "import platform\nint(platform.node() == '' and platform.system() == 'Linux')",
    ],
)
async def test_the_whole_standard_library_is_there_without_a_file(run: Any, code: str) -> None:
    """What is imported late comes from memory: nothing on disk can be read."""
    code = code.replace(", cgi if False else wave", "")
    assert (await run(code)).unwrap() == 1


async def test_threads_work_with_the_event_loop(run: Any) -> None:
    """`to_thread` wakes the loop, also while it waits for a call."""
    code = """
        import asyncio, threading, time
        def slow():
            time.sleep(0.05)
            return threading.current_thread() is not threading.main_thread()
        event = asyncio.Event()
        threading.Timer(0.05, asyncio.get_running_loop().call_soon_threadsafe, (event.set,)).start()
        await asyncio.gather(asyncio.to_thread(slow), mcp.lab.echo(x=1), event.wait())
    """
    assert (await run(code)).unwrap() == [True, {"x": 1}, True]


async def test_threads_may_print_at_once(run: Any) -> None:
    """Prints of many threads are whole frames."""
    code = """
        import threading
        def say(n):
            for _ in range(50):
                print(f"{n}" * 100)
        threads = [threading.Thread(target=say, args=(n,)) for n in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        None
    """
    found = await run(code)
    assert found.unwrap() is None
    assert found.output_bytes["stdout"] == 8 * 50 * 101


async def test_a_loop_in_another_thread_is_refused(run: Any) -> None:
    """One thread owns the calls; another one that tries gets an error, not a mixed-up answer."""
    code = """
        import asyncio
        def other():
            try:
                asyncio.run(asyncio.sleep(0.01))
            except RuntimeError as exc:
                return str(exc)
        await asyncio.to_thread(other)
    """
    assert "belong to the thread" in (await run(code)).unwrap()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_what_native_code_prints_is_kept(run: Any, stream: str) -> None:
    """Writes to descriptors 1 and 2 past Python's own streams are captured, bounded and never parsed."""
    descriptor = 1 if stream == "stdout" else 2
    code = f"import posix\nfor _ in range(50):\n    posix.write({descriptor}, b'\\xff' + b'n' * 9999)\n1"
    found = await run(code, output=1000)
    assert found.unwrap() == 1
    assert getattr(found, stream).startswith("\ufffdnnn")
    assert len(getattr(found, stream)) <= 1000
    assert found.output_bytes[stream] == 50 * (9999 + 3)  # what is no UTF-8 is replaced, by three bytes


async def test_last_words_of_a_crash_are_kept(run: Any) -> None:
    """What a library says before it aborts is what its author needs to see."""
    found = await run(
        "import ctypes\nctypes.CDLL(None).free(ctypes.c_void_p(ctypes.addressof(ctypes.c_long()) + 8))\n1"
    )
    assert found.error.code == Code.WORKER_CRASH
    assert "free" in found.stderr


async def test_random_values_follow_the_seed_and_entropy_does_not(run: Any) -> None:
    """`random` is seeded as in a component; `os.urandom` is the kernel's, different in every fork."""
    code = "import random, uuid\n[random.random(), str(uuid.uuid4())]"
    one, two = [(await run(code, seed="ab" * 32)).unwrap() for _ in range(2)]
    assert one[0] == two[0]
    assert one[1] != two[1]
    other = (await run(code)).unwrap()
    assert other[0] != one[0]


async def test_no_two_forks_draw_alike(run: Any) -> None:
    """What stands on the kernel's entropy differs in every worker, though all come out of one process."""
    code = """
        import random, secrets, ssl, tempfile
        [random.Random().random(), secrets.token_hex(8), ssl.RAND_bytes(8).hex(), next(tempfile._get_candidate_names()),
         random.random()]
    """
    drawn = [(await run(code)).unwrap() for _ in range(3)]
    assert all(len(set(values)) == 3 for values in zip(*drawn, strict=True)), drawn


async def test_a_native_run_cannot_be_replayed_and_says_so(run: Any) -> None:
    """Its clocks and entropy are the machine's own: a recording would not be exact, so there is none."""
    found = await run("1")
    assert not found.replayable
    with pytest.raises(ValidationError):
        found.recording()


async def test_garbage_is_collected(run: Any) -> None:
    """The zygote's frozen heap does not mean that a capability's cycles stay."""
    code = """
        import gc
        class Node: pass
        for _ in range(400_000):
            node = Node()
            node.me = node
        gc.isenabled()
    """
    assert (await run(code, memory="64MiB")).unwrap() is True


async def test_libraries_of_ours_are_not_its(run: Any) -> None:
    """A capability sees neither our modules nor the libraries we use: it may bring its own versions of them."""
    code = """
        import importlib.util, sys
        [[n for n in sys.modules if n.split(".")[0] in ("belljar", "msgpack", "pyseccomp")],
         [n for n in ("belljar", "msgpack", "pyseccomp", "anyio", "pip") if importlib.util.find_spec(n)], sys.path]
    """
    assert (await run(code)).unwrap() == [[], [], []]
