"""From `belljar run` to a server: never in the way of the run, never raw, and never lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cli.conftest import Belljar
from tests.cloud import Cloud, cloud, item, lost, slow

_KEY = "bj_0123456789abcdef0123456789abcdef"
_AWS = "AKIAZ7VRSQ5TJN2XMPLQ"
_CARD = "4556 7375 8689 9855"
_MAIL = "ann.lee@corp.example.com"
_UUID = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
# In arguments, in what was answered, in what was printed, in a call's error and in the run's.
_PLANTED = """
found = await mcp.s.echo(text=args["text"], where={args["text"]: [args["text"]]})
print(found)
try:
    await mcp.s.refuse(text=args["text"])
except ToolError as exc:
    print(exc)
if args["fail"]:
    raise ValueError(args["text"])
[found, args["text"]]
"""


@pytest.fixture
def server_of_traces() -> Iterator[Cloud]:
    with cloud(_KEY) as running:
        yield running


def environment(running: Cloud) -> dict[str, str]:
    return {"BELLJAR_CLOUD_URL": running.url, "BELLJAR_API_KEY": _KEY}


def status(belljar: Belljar, running: Cloud) -> dict[str, Any]:
    (found,) = belljar("traces", "status", "--json", env=environment(running)).json
    return found


def test_a_run_returns_while_the_server_sleeps(belljar: Belljar, server_of_traces: Cloud) -> None:
    """F28, F33: the server sleeps for ten seconds; the run is over long before, and the trace arrives, once."""
    server_of_traces.always = slow(10)
    began = time.monotonic()
    done = belljar("run", "-c", "6 * 7", "--json", env=environment(server_of_traces))
    assert time.monotonic() - began < 9
    assert done.json["value"] == 42
    assert not server_of_traces.stored
    server_of_traces.always = None
    synced = belljar("traces", "sync", "--json", env=environment(server_of_traces))
    assert synced.status == 0, synced.err
    assert list(server_of_traces.stored) == [done.json["runId"]]
    assert synced.json["pending"] == 0
    assert status(belljar, server_of_traces)["counters"]["captured"] == 1


@pytest.mark.parametrize("fail", [False, True], ids=["success", "failure"])
def test_nothing_raw_reaches_spool_or_server(
    belljar: Belljar, server: Callable[..., Any], server_of_traces: Cloud, fail: bool
) -> None:
    """F18, F27: key, card and address are masked wherever they were, the UUID is whole, the caller's own untouched."""
    text = f"{_AWS} pays with {_CARD}, writes from {_MAIL}, is {_UUID}"
    servers = belljar.servers(s=server("echoes"))
    given = json.dumps({"text": text, "fail": fail})
    done = belljar(
        "run", "-c", _PLANTED, "--args", given, "--servers", servers, "--allow", "*", "--intent", text, "--json",
        env={**environment(server_of_traces), "BELLJAR_CONFIG": _no_flush(belljar)},
    )  # fmt: skip
    assert done.status == (1 if fail else 0), done.err
    raw = json.dumps(done.json["stdout"]) + json.dumps(done.json["value"]) + json.dumps(done.json["error"])
    assert all(planted in raw for planted in (_AWS, _CARD, _MAIL, _UUID))
    spooled = b"".join(
        path.read_bytes() for path in (belljar.folder / "home").rglob("*") if path.is_file() and "spool" in path.parts
    )
    assert done.json["runId"].encode() in spooled
    synced = belljar("traces", "sync", env=environment(server_of_traces))
    assert synced.status == 0, synced.err
    (sent,) = server_of_traces.stored.values()
    assert sent["success"] is not fail
    for left in (json.dumps(done.json["trace"]).encode(), spooled, json.dumps(sent).encode()):
        for planted in (_AWS, _CARD, _CARD.replace(" ", ""), _MAIL, _KEY):
            assert planted.encode() not in left
        assert _UUID.encode() in left
    results = sent["taskResults"]
    assert [task["state"] for task in results] == ["applied", "failed"]
    assert f"[REDACTED] pays with [CARD], writes from [EMAIL], is {_UUID}" == results[0]["args"]["text"]


def _no_flush(belljar: Belljar) -> str:
    config = belljar.folder / "later.toml"
    config.write_text("[tracing]\nexit_flush_s = 0\n")
    return str(config)


def test_dead_letters_are_shown_tried_again_and_dropped(belljar: Belljar, server_of_traces: Cloud) -> None:
    """F32: what a server refuses for good is kept aside with its reason, whose escapes are shown, not obeyed."""
    server_of_traces.always = item(lambda _: True, status="rejected", code="BAD", message="no\x1b[31m \u202ethanks")
    ids = [belljar("run", "-c", str(n), "--json", env=environment(server_of_traces)).json["runId"] for n in range(2)]
    belljar("traces", "sync", env=environment(server_of_traces))
    assert status(belljar, server_of_traces)["dead"] == 2
    shown = belljar("traces", "dead-letter", "list")
    assert all(run_id in shown.out for run_id in ids)
    assert "\x1b" not in shown.out
    assert "\u202e" not in shown.out
    letters = belljar("traces", "dead-letter", "list", "--json").json
    assert [letter["code"] for letter in letters] == ["BAD", "BAD"]
    assert [letter["trace"]["traceId"] for letter in letters] == ids

    assert belljar("traces", "dead-letter", "retry").status == 2
    assert belljar("traces", "dead-letter", "retry", "nobody").status == 2
    assert belljar("traces", "dead-letter", "drop", ids[0]).status == 0
    assert belljar("traces", "dead-letter", "retry", "--all").status == 0
    server_of_traces.always = None
    assert belljar("traces", "sync", env=environment(server_of_traces)).status == 0
    assert list(server_of_traces.stored) == [ids[1]]
    assert belljar("traces", "dead-letter", "list", "--json").json == []


def test_what_was_sent_twice_is_counted_once(belljar: Belljar, server_of_traces: Cloud) -> None:
    """F37: an answer that was lost makes a duplicate, which is one delivered trace and not two."""
    server_of_traces.next.append(lost())
    belljar("run", "-c", "1", env={**environment(server_of_traces), "BELLJAR_CONFIG": _no_flush(belljar)})
    synced = belljar("traces", "sync", env=environment(server_of_traces))
    assert synced.status == 0, synced.err
    assert len(server_of_traces.batches) == 2
    assert "1 delivered in all, 0 waiting" in synced.out + synced.err


def test_a_refused_key_is_said_and_nothing_is_lost(belljar: Belljar, server_of_traces: Cloud) -> None:
    """F30: with the wrong key the sync ends with status 4 and the reason, without the key; the trace waits."""
    env = {"BELLJAR_CLOUD_URL": server_of_traces.url, "BELLJAR_API_KEY": "bj_" + "f" * 32}
    belljar("run", "-c", "1", env=env)
    refused = belljar("traces", "sync", env=env)
    assert refused.status == 4
    assert "401" in refused.last()
    assert "f" * 32 not in refused.err
    mine = belljar("traces", "status", "--json", env=env).json[0]
    assert (mine["pending"], bool(mine["parked"])) == (1, True)
    assert not server_of_traces.stored


def test_what_was_made_for_one_key_is_not_sent_with_another(belljar: Belljar, server_of_traces: Cloud) -> None:
    """A trace waits for the server and key it was captured for; status shows it, also when another is configured."""
    other = {"BELLJAR_CLOUD_URL": server_of_traces.url, "BELLJAR_API_KEY": "bj_" + "e" * 32}
    belljar("run", "-c", "1", env={**other, "BELLJAR_CONFIG": _no_flush(belljar)})
    assert belljar("traces", "sync", env=environment(server_of_traces)).status == 0
    assert not server_of_traces.stored
    there = belljar("traces", "status", "--json", env=environment(server_of_traces)).json
    assert [(each["configured"], each["pending"]) for each in there] == [(True, 0), (False, 1)]
    assert "another key" in belljar("traces", "status", env=environment(server_of_traces)).out


def test_what_a_replaced_key_left_is_named_and_dropped(belljar: Belljar, server_of_traces: Cloud) -> None:
    """F33: traces of a key that was rotated are shown as that key's, and kept until they are dropped by name."""
    server_of_traces.always = lost()
    old = environment(server_of_traces)
    belljar("run", "-c", "1", env={**old, "BELLJAR_CONFIG": _no_flush(belljar)})
    new = {**old, "BELLJAR_API_KEY": "bj_" + "9" * 32}
    ours, theirs = belljar("traces", "status", "--json", env=new).json
    assert (ours["configured"], theirs["configured"]) == (True, False)
    assert theirs["pending"] == 1
    shown = belljar("traces", "status", env=new).out
    assert "another key" in shown
    assert theirs["id"] in shown
    for wrong in (ours["id"], "../spool", "0" * 16):
        assert belljar("traces", "drop", "--destination", wrong, env=new).status == 2
    assert belljar("traces", "drop", "--destination", theirs["id"], env=old).status == 2, "it is configured"
    dropped = belljar("traces", "drop", "--destination", theirs["id"], env=new)
    assert (dropped.status, dropped.err.strip()) == (0, "belljar: 1 trace dropped")
    _, theirs = belljar("traces", "status", "--json", env=new).json
    assert (theirs["pending"], theirs["counters"]["dropped.by_hand"]) == (0, 1)


def test_without_a_server_there_is_nothing_to_sync(belljar: Belljar) -> None:
    """F34: `sync` says what to set; `status` says where traces go."""
    done = belljar("traces", "sync")
    assert done.status == 2
    assert "BELLJAR_CLOUD_URL" in done.last()
    assert "belljar.trace" in belljar("traces", "status").out
    assert belljar("traces", "status", "--json").json == []
