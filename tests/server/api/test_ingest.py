"""POST /api/traces: what is stored, what is refused, and how each is said."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx2
import msgpack
import pytest

from belljar.server.metrics import OUTCOMES
from tests.server.api.conftest import SQLITE_ALONE, Api, Serve, task, trace, until

JSON = {"content-type": "application/json"}
MSGPACK = {"content-type": "application/msgpack"}
GZIP = {"content-encoding": "gzip"}


def packed(value: Any) -> bytes:
    data = msgpack.packb(value)
    assert isinstance(data, bytes)
    return data


def stored(client: httpx2.Client, one: dict[str, Any]) -> dict[str, Any]:
    answer = client.get(f"/api/traces/{one['traceId']}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_batch_is_stored(client: httpx2.Client) -> None:
    """F36: every trace has its result, in order; each can be read back as it was sent, under the key's user."""
    batch = [trace(userId="somebody else"), trace(success=False, errorCode="CALL_LIMIT", errorMessage="boom")]
    answer = client.post("/api/traces", json={"traces": batch})
    assert answer.status_code == 200
    results = [{"traceId": one["traceId"], "status": "stored"} for one in batch]
    assert answer.json() == {"received": 2, "stored": 2, "duplicates": 0, "results": results, "errors": []}
    first, second = (stored(client, one) for one in batch)
    assert first["taskResults"][0] | batch[0]["taskResults"][0] == first["taskResults"][0]
    assert (first["capabilityId"], first["durationMs"], first["decisions"]) == (
        batch[0]["capabilityId"],
        batch[0]["durationMs"],
        batch[0]["decisions"],
    )
    assert first["userId"] not in (None, "somebody else")
    assert (second["errorCode"], second["errorMessage"]) == ("CALL_LIMIT", "boom")
    assert {"priority", "predicted", "tdError"} <= first.keys()


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("kind", ["application/json; charset=UTF-8", "application/msgpack", "application/x-msgpack"])
def test_every_form_of_a_body(client: httpx2.Client, kind: str, bare: bool, gzipped: bool) -> None:
    """F36: JSON or msgpack, gzipped or not, an object or the bare list."""
    one = trace(intent="größer ✓")
    value: Any = [one] if bare else {"traces": [one], "from": "a newer client"}
    body = packed(value) if "msgpack" in kind else json.dumps(value).encode()
    headers = {"content-type": kind, **(GZIP if gzipped else {})}
    answer = client.post("/api/traces", content=gzip.compress(body) if gzipped else body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert stored(client, one)["intent"] == "größer ✓"


def test_the_same_batch_twice(client: httpx2.Client) -> None:
    """F37: once stored, then duplicates; the same id with other content is rejected, and the first stays."""
    batch = [trace() for _ in range(5)]
    assert client.post("/api/traces", json={"traces": batch}).json()["stored"] == 5
    again = client.post("/api/traces", json={"traces": batch})
    assert (again.status_code, again.json()["stored"], again.json()["duplicates"]) == (200, 0, 5)
    other = client.post("/api/traces", json={"traces": [{**batch[0], "durationMs": 99}, trace()]})
    assert other.status_code == 207
    assert [result["status"] for result in other.json()["results"]] == ["rejected", "stored"]
    assert other.json()["results"][0]["code"] == "CONTENT_MISMATCH"
    assert other.json()["errors"][0]["index"] == 0
    assert stored(client, batch[0])["durationMs"] == 12.5


def test_a_frozen_body_in_another_form_is_a_duplicate(client: httpx2.Client) -> None:
    """F37: what counts is the content, not how it travelled."""
    one = trace()
    assert client.post("/api/traces", json=[one]).json()["stored"] == 1
    assert client.post("/api/traces", content=packed([one]), headers=MSGPACK).json()["duplicates"] == 1


def test_one_bad_trace_does_not_hurt_the_others(client: httpx2.Client) -> None:
    """F32, F36: each bad one is named by index, id and field; no value is repeated; the rest is stored."""
    good, bad = trace(), trace(durationMs="<script>long")
    answer = client.post("/api/traces", json={"traces": [bad, good, {"traceId": "x' OR 1=1"}, 7, None, "s", []]})
    assert answer.status_code == 207
    wire = answer.json()
    assert (wire["received"], wire["stored"]) == (7, 1)
    assert [result["status"] for result in wire["results"]] == ["rejected", "stored", *["rejected"] * 5]
    assert [error["index"] for error in wire["errors"]] == [0, 2, 3, 4, 5, 6]
    assert wire["errors"][0]["traceId"] == bad["traceId"]
    assert "durationMs" in wire["errors"][0]["message"]
    assert wire["errors"][1]["traceId"] is None
    assert "script" not in answer.text
    assert "OR 1=1" not in answer.text
    assert stored(client, good)["traceId"] == good["traceId"]


def test_a_batch_of_bad_traces_alone(client: httpx2.Client) -> None:
    """F36: is still a batch that was read: 207, nothing stored."""
    answer = client.post("/api/traces", json={"traces": [{}, {}]})
    assert (answer.status_code, answer.json()["stored"], len(answer.json()["errors"])) == (207, 0, 2)


def test_an_empty_batch(client: httpx2.Client) -> None:
    """Nothing to do is well."""
    answer = client.post("/api/traces", json={"traces": []})
    assert (answer.status_code, answer.json()["results"]) == (200, [])


@SQLITE_ALONE
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"traceId": "019A0000-0000-7000-8000-000000000001"}, "traceId is a UUID in lower case"),
        ({"durationMs": -1}, "durationMs"),
        ({"durationMs": 1e13}, "30 years"),
        ({"taskResults": [task(1), task(2, durationMs=-0.5)]}, "taskResults.1: durationMs"),
        ({"taskResults": [task(1), task(2, args=1, state="done")]}, "taskResults.1.state"),
        ({"taskResults": [task(1, timestamp="yesterday")]}, "taskResults.0: timestamp"),
        ({"decisions": [{"nodeId": "L1", "outcome": "maybe"}]}, "decisions.0: nodeId"),
        ({"success": 1}, "success"),
        ({"timestamp": "2026-01-02T03:04:05"}, "ISO 8601"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp"),
        ({"capabilityHash": "xyz"}, "capabilityHash"),
        ({"parentTraceId": "../../etc/passwd"}, "parentTraceId"),
        ({"taskResults": {}}, "taskResults"),
        ({"taskResults": [{}] * 5001}, "taskResults"),
        ({"decisions": [{"nodeId": "L1", "outcome": "true"}] * 1001}, "decisions"),
        ({"metadata": {"mockedShare": 2}}, "mockedShare"),
        ({"metadata": []}, "metadata"),
        ({"capabilityId": "x" * 401}, "capability"),
        ({"workflowId": "x" * 300}, "workflow"),
    ],
)
def test_a_wrong_field_is_named(client: httpx2.Client, changes: dict[str, Any], field: str) -> None:
    """F36: a rejected trace says which field was wrong."""
    answer = client.post("/api/traces", json=[trace(**changes)])
    result = answer.json()["results"][0]
    assert (answer.status_code, result["status"], result["code"]) == (207, "rejected", "VALIDATION_ERROR")
    assert field in result["message"]


def test_the_older_names_and_unknown_fields(client: httpx2.Client, api: Api) -> None:
    """`error` and `toolId` are taken; what nobody knows is kept out, and counted."""
    call = task()
    call["toolId"] = call.pop("tool")
    one = trace(error="older", taskResults=[{**call, "zz": 1}], newer={"a": 1})
    assert client.post("/api/traces", json=[one]).status_code == 200
    back = stored(client, one)
    assert (back["errorMessage"], back["taskResults"][0]["tool"]) == ("older", "git:git_log")
    assert "newer" not in back
    assert api.metric("belljar_traces_ignored_fields_total") == 2


def test_a_client_that_masks_nothing(client: httpx2.Client, api: Api) -> None:
    """F24, F25: secrets and personal data that a foreign client left in are masked before anything is written."""
    secret, mail = "AKIAZ7VRSQ5TJN2XMPLQ", "ann.lee@corp.com"
    one = trace(errorMessage=f"for {mail}", taskResults=[task(args={"key": secret, "password": "hunter2"})])
    batch = [trace(), one, trace()]
    assert client.post("/api/traces", json=batch).json()["stored"] == 3
    back = stored(client, one)
    assert (back["errorMessage"], back["taskResults"][0]["args"]["password"]) == ("for [EMAIL]", "[REDACTED]")
    assert back["metadata"]["redactions"]["EMAIL"] == 1
    assert secret not in json.dumps(back)
    assert api.metric("belljar_traces_masked_total") == 1
    assert client.post("/api/traces", json=batch).json()["duplicates"] == 3


def test_what_was_masked_before_is_left_alone(client: httpx2.Client, api: Api) -> None:
    """Placeholders and counts of our own client come back as they were."""
    notes = {"redactions": {"EMAIL": 2, "SECRET": 1}, "truncated": {"/taskResults/0/result": 20000}}
    one = trace(intent="mail [EMAIL]", metadata={"backend": "wasm", **notes})
    assert client.post("/api/traces", json=[one]).status_code == 200
    back = stored(client, one)
    assert back["intent"] == "mail [EMAIL]"
    assert {name: back["metadata"][name] for name in notes} == notes
    assert api.metric("belljar_traces_masked_total") == 0


def test_a_trace_is_brought_under_the_cap(client: httpx2.Client) -> None:
    """F26: whatever a client sends, what is kept of one trace has a bound."""
    long = trace(taskResults=[task(n, result="x" * 9000) for n in range(100)])
    wide = trace(taskResults=[task(1, result=list(range(100_000)))])
    assert client.post("/api/traces", json=[long, wide]).json()["stored"] == 2
    for one in (long, wide):
        assert len(client.get(f"/api/traces/{one['traceId']}").content) < 300 * 1024


def test_numbers_and_characters_no_database_holds(client: httpx2.Client) -> None:
    """NUL, huge integers, 1e300, HTML and SQL in every field: stored or refused one by one, never a 500."""
    nasty = "\x00'; DROP TABLE execution_trace; --<script>alert(1)</script>\x1b[2J\u202e"
    args = {"n": 10**40, "f": 1e300, nasty: [nasty, -(2**63) - 1]}
    one = trace(intent=nasty, errorMessage=nasty, capabilityId=nasty, taskResults=[task(args=args, tool=nasty)])
    answer = client.post("/api/traces", json=[one, trace()])
    assert answer.status_code in (200, 207)
    assert answer.json()["results"][1]["status"] == "stored"
    if answer.json()["results"][0]["status"] == "stored":
        assert stored(client, one)["taskResults"][0]["args"]["n"] == 10**40


def test_a_time_far_ahead_does_not_head_the_list(client: httpx2.Client) -> None:
    """A client's clock is not believed: the year 9999 is not the newest for ever."""
    client.post("/api/traces", json=[trace(timestamp="9999-12-31T23:59:59Z")])
    client.post("/api/traces", json=[late := trace(timestamp="2100-01-01T00:00:00Z")])
    newest = client.get("/api/traces?limit=1").json()["traces"][0]
    assert newest["traceId"] == late["traceId"]


# Bodies that are none


@SQLITE_ALONE
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", JSON, 400, "BAD_REQUEST"),
        (b"{", JSON, 400, "BAD_REQUEST"),
        (b"\xff\xfe", JSON, 400, "BAD_REQUEST"),
        (b"7", JSON, 400, "BAD_REQUEST"),
        (b'"traces"', JSON, 400, "BAD_REQUEST"),
        (b"{}", JSON, 400, "BAD_REQUEST"),
        (b'{"traces":{}}', JSON, 400, "BAD_REQUEST"),
        (b'{"traces":[],"traces":[]}', JSON, 400, "BAD_REQUEST"),
        (b'{"traces":[NaN]}', JSON, 400, "BAD_REQUEST"),
        (b'{"traces":[1e999]}', JSON, 400, "BAD_REQUEST"),
        (b'{"traces":["\\ud800"]}', JSON, 400, "BAD_REQUEST"),
        (b"[" * 10_000 + b"]" * 10_000, JSON, 400, "BAD_REQUEST"),
        (b"[" + b"{}," * 300_000 + b"{}]", JSON, 400, "BAD_REQUEST"),
        (b"[]", JSON | GZIP, 400, "BAD_REQUEST"),
        (gzip.compress(b"[]", mtime=0)[:-4], JSON | GZIP, 400, "BAD_REQUEST"),
        (gzip.compress(b"[]", mtime=0) + b"x", JSON | GZIP, 400, "BAD_REQUEST"),
        (gzip.compress(b"[", mtime=0) + gzip.compress(b"]", mtime=0), JSON | GZIP, 400, "BAD_REQUEST"),
        (gzip.compress(b" " * (40 << 20), mtime=0), JSON | GZIP, 413, "TOO_LARGE"),
        (b" " * (9 << 20), JSON, 413, "TOO_LARGE"),
        (b"\xc1", MSGPACK, 400, "BAD_REQUEST"),
        (b"\x80\x80", MSGPACK, 400, "BAD_REQUEST"),
        (b"\x91" * 10_000 + b"\xc0", MSGPACK, 400, "BAD_REQUEST"),
        (b"\x91" * 200 + b"\xc0", MSGPACK, 400, "BAD_REQUEST"),
        (b"\xdd\x00\x04\x93\xe0" + b"\x90" * 300_000, MSGPACK, 400, "BAD_REQUEST"),
        (b"\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", MSGPACK, 400, "BAD_REQUEST"),
        (b"\x91\xc4\x01a", MSGPACK, 400, "BAD_REQUEST"),
        (b"\x91\xd4\x05a", MSGPACK, 400, "BAD_REQUEST"),
        (b"\x91\xd6\xff\x00\x00\x00\x00", MSGPACK, 400, "BAD_REQUEST"),
        (b"\x82\xa1a\x01\xa1a\x02", MSGPACK, 400, "BAD_REQUEST"),
        (b"\x81\x01\x01", MSGPACK, 400, "BAD_REQUEST"),
        (b"\x91\xa2\xff\xfe", MSGPACK, 400, "BAD_REQUEST"),
        (b"[]", {}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"[]", {"content-type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"[]", {"content-type": "application/json; charset=latin-1"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"[]", JSON | {"content-encoding": "br"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"[]", JSON | {"content-encoding": "gzip, gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
    ids=lambda value: f"{value[:12]!r}" if isinstance(value, bytes) else None,
)
def test_a_body_that_is_none(
    client: httpx2.Client, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """F36: 400, 413 or 415 as a problem, whatever the bytes; and the server goes on."""
    answer = client.post("/api/traces", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert client.get("/healthz").status_code == 200


def test_the_place_of_a_fault_is_said(client: httpx2.Client) -> None:
    """F36: where the JSON breaks, and nothing of what stands there."""
    answer = client.post("/api/traces", content=b'{"traces":\n [hunter2]}', headers=JSON)
    assert "line 2 column 3" in answer.json()["detail"]
    assert "hunter2" not in answer.text


def test_at_most_a_hundred(client: httpx2.Client) -> None:
    """F36: 100 are stored, 101 refused as a whole with 413, so that a syncer halves them."""
    assert client.post("/api/traces", json={"traces": [trace() for _ in range(100)]}).json()["stored"] == 100
    answer = client.post("/api/traces", json={"traces": [trace() for _ in range(101)]})
    assert (answer.status_code, answer.json()["code"]) == (413, "TOO_MANY_TRACES")
    assert len(client.get("/api/traces?limit=200").json()["traces"]) == 100


def test_a_body_without_a_length_is_bounded(serve: Serve) -> None:
    """Chunks are counted as they come: 413 long before an endless body ends."""
    api = serve(max_body_bytes=100_000)
    sent = 0

    def endless() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 10_000
            yield b" " * 10_000

    try:
        answer = api.client().post("/api/traces", content=endless(), headers=JSON)
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"
    except httpx2.WriteError:
        pass  # the answer was there; a client that is still writing may miss it
    assert sent < 10_000_000
    until(lambda: api.metric("belljar_http_requests_total", method="POST", route="/api/traces", status="413") == 1)


def test_every_outcome_is_counted(client: httpx2.Client, api: Api) -> None:
    """Traces received equal the sum of what became of them."""
    one = trace()
    for batch in ([one, trace()], [one, {}], [{**one, "durationMs": 1}]):
        client.post("/api/traces", json=batch)
    counts = {outcome: api.metric("belljar_traces_total", outcome=outcome) for outcome in OUTCOMES}
    assert counts == {"stored": 2, "duplicate": 1, "rejected": 2, "retry": 0}
    assert api.metric("belljar_traces_received_total") == sum(counts.values())
