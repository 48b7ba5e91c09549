"""What the pages show, read as a program without scripts reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest

from belljar.server.store import keys
from belljar.server.store.registry import Publication, publish
from belljar.server.web import pages
from belljar.server.web.capabilities import interval
from belljar.server.web.display import MASK
from belljar.tracing.masking.masker import PLACEHOLDER
from belljar.tracing.masking.plain import TRUNCATED
from tests.server.traces import call, trace_id, wire
from tests.server.web.conftest import Site, token_of

ROW = re.compile(r'data-row href="/traces/([^"]+)"')
WEB = Path(pages.__file__).parent


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def seen(page: httpx2.Response) -> str:
    """Its words."""
    assert page.status_code == 200, page.text
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def listed(page: httpx2.Response) -> list[str]:
    assert page.status_code == 200, page.text
    return ROW.findall(page.text)


def test_every_page_has_the_strict_policy_and_nothing_inline(site: Site) -> None:
    """Scripts and styles of this server alone, none inline, no form elsewhere, no frame, nothing kept in a cache."""
    site.add(wire(1, success=False, errorCode="RPC_ERROR", errorMessage="no"))
    client = site.login()
    paths = ("/traces", f"/traces/{trace_id(1)}", "/capabilities", "/keys", "/status", "/traces/none", "/traces/rows")
    for page in [*(client.get(path) for path in paths), site.client().get("/login")]:
        policy = page.headers["content-security-policy"]
        for part in ("default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'"):
            assert part in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)|javascript:", page.text)
        assert set(re.findall(r'(?:src|href|action)="([^"/#][^"]*)"', page.text)) == set()
        assert not re.search(r'(?:src|href|action)="//', page.text)


def test_templates_trust_nothing() -> None:
    """No template marks anything safe or turns escaping off."""
    for template in (WEB / "templates").iterdir():
        assert not re.search(r"\|\s*safe|autoescape|Markup", template.read_text()), template.name


def test_static_files_are_kept_by_their_digest(site: Site) -> None:
    """Styles and scripts come from the package, without a login, typed, for ever; nothing else comes that way."""
    page = site.client().get("/login").text
    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(files) == 4
    for file in files:
        answer = site.client().get(file)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("..%2fpages.py", "htmx.LICENSE", "pages.py", "%00", "%2e%2e", "belljar.css%00"):
        assert site.client().get(f"/static/{name}").status_code in (303, 404)


def test_htmx_is_the_packaged_one_with_its_licence() -> None:
    """Version 2, BSD Zero Clause beside it."""
    assert 'version:"2.' in (WEB / "static" / "htmx.min.js").read_text()
    assert (WEB / "static" / "htmx.LICENSE").read_text().startswith("Zero-Clause BSD")


def test_an_empty_server_says_what_to_do(site: Site) -> None:
    """No traces yet: how to send some, with this server's address; filtered to nothing: how to see all."""
    client = site.login()
    words = seen(client.get("/traces"))
    assert f"BELLJAR_CLOUD_URL={site.url}" in words
    assert "BELLJAR_API_KEY=" in words
    assert "No trace fits" in seen(client.get("/traces?outcome=failed"))
    assert "Nothing ran yet" in seen(client.get("/capabilities"))
    assert "none yet" in seen(client.get("/status"))


def fill(site: Site) -> None:
    site.add(
        wire(1, timestamp=ago(50), workflowId="w1"),
        wire(2, timestamp=ago(40), success=False, errorCode="RPC_ERROR", errorMessage="no"),
        wire(3, timestamp=ago(30), capabilityId="acme.ops.pager.rotate.1f3a", capabilityHash="1f3a" * 16),
        wire(4, timestamp=ago(20), taskResults=[call(source="fake"), call(2, tool="fs:read")]),
        wire(5, timestamp=ago(7200)),
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [4, 3, 2, 1, 5]),
        ("outcome=failed", [2]),
        ("outcome=ok", [4, 3, 1, 5]),
        ("capability=git:release_notes", [4, 2, 1, 5]),
        ("capability=acme.ops.pager.rotate.1f3a", [3]),
        ("tool=fs:read", [4]),
        ("workflow=w1", [1]),
        ("since=1h", [4, 3, 2, 1]),
        ("mocked=yes", [4]),
        ("mocked=no&outcome=failed", [2]),
        ("tool=git:git_log&capability=%20acme.ops.pager.rotate%20&outcome=ok", [3]),
        ("unknown=1", [4, 3, 2, 1, 5]),
    ],
)
def test_filters(site: Site, query: str, expected: list[int]) -> None:
    """F85: each of them, and together; the list alone agrees; what was asked stays in the form."""
    fill(site)
    client = site.login()
    assert listed(client.get(f"/traces?{query}")) == [trace_id(n) for n in expected]
    assert listed(client.get(f"/traces/rows?{query}")) == [trace_id(n) for n in expected]


@pytest.mark.parametrize(
    "query",
    ["outcome=maybe", "since=yesterday", "cursor=abc", "mocked=1", f"tool={'x' * 401}", "tool=%00", "since=9999999"],
)
def test_a_filter_that_cannot_be_is_said(site: Site, query: str) -> None:
    """400, as a page with a way back."""
    page = site.login().get(f"/traces?{query}")
    assert page.status_code == 400
    assert "To the traces" in page.text


def test_paging_sees_each_trace_once(site: Site) -> None:
    """Older leads through all of them, also with a time that moves and while new ones arrive."""
    site.add(*(wire(n, timestamp=ago(60 + n)) for n in range(120)))
    client = site.login()
    page = client.get("/traces?since=24h")
    found = listed(page)
    site.add(wire(1000, timestamp=ago(0)))
    while older := re.search(r'id="older" rel="next" href="([^"]+)"', page.text):
        page = client.get(unescape(older[1]))
        assert "data-live" not in page.text
        found += listed(page)
    assert found == [trace_id(n) for n in range(120)]


def test_live_rows_come_only_when_they_changed(site: Site) -> None:
    """The poll is 204 while the list is the same, and the new list afterwards; paused there is no poll."""
    site.add(wire(1, timestamp=ago(9)))
    client = site.login()
    poll = re.compile(r'hx-get="([^"]+)" hx-trigger="every 3s"')
    found = poll.search(client.get("/traces?outcome=ok").text)
    assert found
    address = unescape(found[1])
    assert client.get(address).status_code == 204
    site.add(wire(2, timestamp=ago(1)))
    changed = client.get(address)
    assert listed(changed) == [trace_id(2), trace_id(1)]
    again = poll.search(changed.text)
    assert again
    assert client.get(unescape(again[1])).status_code == 204
    assert not poll.search(client.get("/traces?live=off").text)


def nested(site: Site) -> None:
    start = datetime.now(UTC) - timedelta(seconds=5)

    def at(ms: float) -> str:
        return (start + timedelta(milliseconds=ms)).isoformat()

    parent = wire(
        1,
        timestamp=at(0),
        durationMs=1000.0,
        success=False,
        errorCode="CAPABILITY_ERROR",
        errorMessage="ValueError: mail to [EMAIL] failed",
        taskResults=[
            call(1, timestamp=at(0), durationMs=100.0, callSite=7, args={"token": "[REDACTED]", "n": [{"deep": True}]}),
            call(2, tool="capability:ops:notify", timestamp=at(250), durationMs=500.0, isCapabilityCall=True),
            call(3, tool="fs:write", timestamp=at(900), durationMs=50.0, success=False, state="denied", isWrite=True,
                 errorCode="PERMISSION_DENIED", result="first line\nsecond line"),
        ],
        decisions=[{"nodeId": "L3", "outcome": "case:2", "condition": "x > 1"}],
        metadata={"backend": "wasm", "walls": ["wasm", "landlock"], "sdkVersion": "0.1", "ledgerHead": "cd" * 32,
                  "redactions": {"EMAIL": 1}, "truncated": {"/taskResults/0/result": 12345}, "errorLine": 9},
    )  # fmt: skip
    child = wire(
        2, parentTraceId=trace_id(1), timestamp=at(300), durationMs=400.0, capabilityId="acme.a.ops.notify.77aa"
    )
    child["taskResults"] = [call(1, tool="mail:send", timestamp=at(350), durationMs=200.0, args={"deep": {"down": 1}})]
    site.add(child, parent)


def test_a_trace_is_drawn_as_a_waterfall_with_nested_runs(site: Site) -> None:
    """F85: calls and child runs in the order they began, each bar where its time was, links to and from the parent."""
    nested(site)
    client = site.login()
    page = client.get(f"/traces/{trace_id(1)}")
    names = re.findall(r'<li class="depth-(\d)">.*?class="mono"[^>]*>([^<]+)<', page.text, re.DOTALL)
    assert names == [
        ("0", "git:git_log"),
        ("0", "capability:ops:notify"),
        ("1", "acme.a.ops.notify.77aa"),
        ("2", "mail:send"),
        ("0", "fs:write"),
    ]
    bars = re.findall(r'<rect class="(call|run) (good|bad)" x="([\d.]+)" y="4" width="([\d.]+)"', page.text)
    assert [(kind, how, float(x), float(width)) for kind, how, x, width in bars] == [
        ("call", "good", 0.0, 100.0),
        ("call", "good", 250.0, 500.0),
        ("run", "good", 300.0, 400.0),
        ("call", "good", 350.0, 200.0),
        ("call", "bad", 900.0, 50.0),
    ]
    assert f'href="/traces/{trace_id(2)}"' in page.text
    inside = page.text.partition("mail:send")[2]
    assert '"down": 1' in unescape(inside.partition("Arguments")[2].partition("Result")[0])
    below = client.get(f"/traces/{trace_id(2)}")
    assert f'href="/traces/{trace_id(1)}"' in below.text


def test_a_trace_tells_all_that_is_known_of_it(site: Site) -> None:
    """Arguments and results as JSON, texts in lines, masks marked, what was cut, decisions, the error, the learner."""
    nested(site)
    page = site.login().get(f"/traces/{trace_id(1)}")
    words = seen(page)
    for part in (
        "CAPABILITY_ERROR line 9",
        "denied",
        "PERMISSION_DENIED",
        "Masked: EMAIL 1.",
        "Shortened: /taskResults/0/result was 12,345 bytes.",
        "L3 case:2 x > 1",
        "walls wasm, landlock",
        "predicted 0.50, prediction error -0.50, priority 0.50",
        "cd" * 32,
        "line 7",
        "write",
        '"deep": true',
    ):
        assert part in words, part
    assert "first line\nsecond line" in page.text
    assert page.text.count("<mark>[REDACTED]</mark>") == 2  # in the preview and in full
    assert "<mark>[EMAIL]</mark>" in page.text


def test_marks_are_what_the_sanitizer_leaves() -> None:
    """Every form of a placeholder is found, and the mark of a cut text."""
    assert PLACEHOLDER.pattern in MASK.pattern
    assert MASK.fullmatch(TRUNCATED)


def test_the_json_of_a_trace_is_a_download(site: Site) -> None:
    """All of it, never shown by the browser as a page."""
    nested(site)
    answer = site.login().get(f"/traces/{trace_id(1)}/json")
    assert answer.json()["taskResults"][0]["args"]["token"] == "[REDACTED]"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_another_tenants_things_are_not_there(site: Site) -> None:
    """A trace, a list, a capability, a key of somebody else behave as absent."""
    fill(site)
    other = site.login(site.api.key("globex", "admin"))
    assert listed(other.get("/traces")) == []
    for path in (f"/traces/{trace_id(1)}", f"/traces/{trace_id(1)}/json", "/capability?name=acme.ops.pager.rotate"):
        assert other.get(path).status_code == 404
    assert "acme" not in seen(other.get("/capabilities"))
    keys_page = other.get("/keys")
    assert site.owner.key_id not in keys_page.text
    token = token_of(keys_page)
    assert other.post("/keys/revoke", data={"token": token, "id": site.owner.key_id}).status_code == 404
    assert keys.authenticate(site.api.db, site.key, now=datetime.now(UTC)) is not None


def test_capabilities_have_rates_with_their_range_and_usual_paths(site: Site) -> None:
    """Success of real runs alone, latency, what fails, the most frequent order of tools with repetitions together."""
    steps = [call(1), call(2), call(3, tool="fs:read")]
    real = [wire(n, timestamp=ago(n), durationMs=float(n), taskResults=steps) for n in range(1, 9)]
    failed = [wire(n, timestamp=ago(n), success=False, errorCode="RPC_ERROR", taskResults=[call(1)]) for n in (9, 10)]
    mocked = [wire(n, timestamp=ago(n), success=False, taskResults=[call(source="fake")]) for n in (11, 12)]
    other = wire(20, timestamp=ago(20), capabilityId="a name, not parsed <b>/?&#", taskResults=[])
    site.add(*real, *failed, *mocked, other)
    client = site.login()
    words = seen(client.get("/capabilities"))
    assert "80% 49%–94%" in words
    assert "git:git_log ×2 → fs:read" in words
    assert words.index("a\\x20name") < words.index("local.default.git.release_notes")
    page = client.get("/capability?name=local.default.git.release_notes")
    words = seen(page)
    for part in ("80% 49%–94%", "2 mocked", "RPC_ERROR 2", "8 of 12 git:git_log ×2 → fs:read", "Not published here"):
        assert part in words, part
    odd = re.search(r'href="(/capability\?name=a[^"]+)"', client.get("/capabilities").text)
    assert odd
    assert "no calls" in seen(client.get(unescape(odd[1])))
    assert client.get("/capability?name=never.ran.at.all").status_code == 404


def test_the_range_of_a_rate_is_wilsons() -> None:
    """Against published values; it never leaves 0 to 1 and is all of it for no runs."""
    assert interval(0, 0) == (0.0, 1.0)
    assert interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_capabilities_are_paged_by_name(site: Site) -> None:
    """Each once, in order, twenty-five a page."""
    site.add(*(wire(n, timestamp=ago(n), capabilityId=f"o.p.n.c{n:03}.abab") for n in range(60)))
    client = site.login()
    found, path = list[str](), "/capabilities"
    while path:
        page = client.get(path)
        found += re.findall(r'data-row href="/capability\?name=([^"]+)"', page.text)
        more = re.search(r'rel="next" href="([^"]+)"', page.text)
        path = unescape(more[1]) if more else ""
    assert found == [f"o.p.n.c{n:03}" for n in range(60)]


def test_a_published_capability_shows_its_code(site: Site) -> None:
    """What the registry has, also of one that never ran."""
    code = "# <script>alert(1)</script>\nawait mcp.pager.rotate()\n"
    digest = sha256(code.encode()).hexdigest()
    publication = Publication(
        fqdn="acme.ops.pager.rotate",
        code=code,
        sha256=digest,
        description="Hands <b>over</b>",
        permissions=("pager:*",),
    )
    publish(site.api.db, site.owner, publication, now=datetime.now(UTC))
    page = site.login().get("/capability?name=acme.ops.pager.rotate")
    assert "has not run yet" in page.text
    assert "await mcp.pager.rotate()" in page.text
    assert digest in page.text
    assert "<script>alert" not in page.text
    assert "<b>over" not in page.text


def test_a_trace_is_anonymized(site: Site) -> None:
    """F41: by who runs the server, with the session's token, once; whoever may only read is not offered it."""
    one = wire(intent="what nobody may read", taskResults=[call(1, args={"who": "nobody may read"})])
    site.add(one)
    client, path = site.login(), f"/traces/{one['traceId']}"
    reader = site.login(keys.create_key(site.api.db, "acme", ["read"], now=datetime.now(UTC)).key)
    assert "Anonymize" not in reader.get(path).text
    assert reader.post(f"{path}/anonymize", data={"token": token_of(reader.get(path))}).status_code == 403
    assert client.post(f"{path}/anonymize", data={"token": "x"}).status_code == 403
    token = token_of(client.get(path))
    assert "nobody may read" in client.get(path).text
    assert client.post(f"{path}/anonymize", data={"token": token}).headers["location"] == path
    page = client.get(path)
    assert "nobody may read" not in page.text
    assert "Anonymized" in seen(page)
    assert client.post("/traces/x/anonymize", data={"token": token}).status_code == 404


def test_a_key_is_shown_once_works_and_is_revoked(site: Site) -> None:
    """Created for this tenant with the scopes ticked, never shown again, out at once when revoked."""
    client = site.login()
    token = token_of(client.get("/keys"))
    made = client.post("/keys/create", data={"token": token, "label": "ci <b>", "scope": ["ingest", "read"]})
    shown = re.findall(r"bj_[A-Za-z0-9]{32}", made.text)
    assert len(shown) == 1
    who = keys.authenticate(site.api.db, shown[0], now=datetime.now(UTC))
    assert who is not None
    assert (who.tenant, sorted(who.scopes)) == ("acme", ["ingest", "read"])
    page = client.get("/keys")
    assert shown[0] not in page.text
    assert "ci &lt;b&gt;" in page.text
    assert client.post("/keys/revoke", data={"token": token, "id": who.key_id}).status_code == 303
    assert keys.authenticate(site.api.db, shown[0], now=datetime.now(UTC)) is None
    client.post("/keys/create", data={"token": token, "label": "short", "scope": "read", "days": "7"})
    (short,) = (key for key in keys.list_keys(site.api.db) if key.label == "short")
    assert short.expires_at is not None
    assert short.expires_at - short.created_at == timedelta(days=7)
    assert "ends" in seen(client.get("/keys"))
    assert client.post("/keys/revoke", data={"token": token, "id": who.key_id}).status_code == 404


@pytest.mark.parametrize(
    "changes", [{"scope": []}, {"scope": "root"}, {"days": "-1"}, {"label": "x" * 201}, {"label": "a\nb"}]
)
def test_a_key_that_cannot_be_is_not_made(site: Site, changes: dict[str, Any]) -> None:
    """No scope, an unknown one, a time that was not offered, a label that is no line: 400, and nothing was made."""
    client = site.login()
    data = {"token": token_of(client.get("/keys")), "scope": "read", **changes}
    assert client.post("/keys/create", data=data).status_code == 400
    assert len(keys.list_keys(site.api.db)) == 1


def test_status_counts(site: Site) -> None:
    """Traces, calls, and for those who run the server what became of what was sent."""
    fill(site)
    words = seen(site.login().get("/status"))
    for part in (
        "Traces 5",
        "In the last 24 hours 5",
        "Real calls, ever 5",
        "Mocked calls, ever 1",
        "Traces rejected 0",
    ):
        assert part in words, part


def test_a_database_that_does_not_answer_is_a_page_too(site: Site) -> None:
    """503 with Retry-After and nothing of the inside."""
    client = site.login()
    with site.api.db.write() as connection:
        connection.exec_driver_sql("ALTER TABLE execution_trace RENAME TO gone")
    page = client.get("/traces")
    assert page.status_code == 503
    assert "retry-after" in page.headers
    assert "execution_trace" not in page.text
