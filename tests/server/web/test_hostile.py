"""A trace in which every text is an attack, on every page that shows it, in a real browser."""

from __future__ import annotations

import re
import socket
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.server.traces import call, trace_id, wire
from tests.server.web.browser import Browser
from tests.server.web.conftest import Site

ATTACKS = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror=window.pwned=1>',
    "'><svg onload=window.pwned=1>",
    "javascript:window.pwned=1",
    "{{7*7}}{% print(7*7) %}${7*7}<%= 7*7 %>",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "\x1b[31mred\x1b]0;title\x07\x08\r",
    '</pre></details></table><a hx-get="/status" hx-trigger="load" hx-target="body">',
    '" hx-on:click="window.pwned=1" autofocus onfocus="window.pwned=1',
    "<link rel=stylesheet href=http://evil.example/x.css>",
    '<meta http-equiv=refresh content="0;url=http://evil.example/">',
    "<base href=http://evil.example/>",
    "<form action=http://evil.example/><button autofocus>",
    "<style>*{background:url(http://evil.example/)}</style>",
    "<!--",
    "]]>",
    "&#x3c;script&#x3e;window.pwned=1&#x3c;/script&#x3e;",
    "%3Cscript%3Ewindow.pwned=1%3C/script%3E",
    "//evil.example/",
)
LARGE = "<img src=x onerror=window.pwned=1>" * 20_000
# What may neither be seen nor act in a page's text.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")

FORGED = """(() => ({
    pwned: typeof window.pwned,
    scripts: document.scripts.length,
    elements: document.querySelectorAll(
        'img, iframe, object, embed, base, style, meta[http-equiv], link:not([href^="/static/"])').length,
    handlers: [...document.querySelectorAll('*')].flatMap((e) => [...e.attributes]).filter(
        (a) => /^on|^hx-on|^style$/.test(a.name)).length,
    hx: [...document.querySelectorAll('[hx-get]')].map((e) => e.getAttribute('hx-get')),
    addresses: [...document.querySelectorAll('[href], [src], [action]')].map((e) => e.href?.baseVal ?? e.href ?? e.src
        ?? e.action).filter((a) => new URL(a, location).origin !== location.origin),
    focus: document.activeElement.tagName,
    text: document.documentElement.innerText + document.title,
}))()"""


def hostile(n: int, attack: str) -> dict[str, Any]:
    """A trace with the attack wherever a text can be."""
    hidden = call(1, tool=attack, args={attack: [attack, {attack: attack}]}, result=attack, taskId=attack)
    hidden |= {"source": attack, "sourceDetail": attack, "grant": attack, "errorCode": attack[:64]}
    hidden |= {"success": False, "state": "failed"}
    return wire(
        n,
        capabilityId=attack,
        workflowId=attack,
        intent=attack,
        success=False,
        errorCode=attack[:64],
        errorMessage=attack,
        taskResults=[hidden, call(2, tool="capability:a:b", isCapabilityCall=True)],
        decisions=[{"nodeId": "L3", "outcome": "true", "condition": attack}],
        metadata={
            "backend": attack,
            "walls": [attack],
            "sdkVersion": attack,
            "ledgerHead": attack,
            "redactions": {attack: 1},
            "truncated": {attack: 1},
        },
    )


def real(n: int, attack: str) -> dict[str, Any]:
    """One that is learned from, whatever its names are."""
    calls = [call(1, tool=f"{attack}:{attack}"[:200]), call(2, tool="s:t"), call(3, tool=attack[:200], success=False)]
    return wire(n, capabilityId=attack, intent=attack, success=n % 2 == 0, taskResults=calls)


def pages(n: int, attack: str) -> list[str]:
    """Where it is shown, and where it is asked for."""
    return [
        f"/traces/{trace_id(n)}",
        f"/capability?{urlencode({'name': attack})}",
        f"/traces?{urlencode({'workflow': attack, 'tool': attack, 'capability': attack})}",
        f"/traces?{urlencode({'since': attack})}",
        f"/capabilities?{urlencode({'after': attack})}",
        f"/learning?{urlencode({'intent': attack, 'context': attack, 'goal': attack})}",
        f"/login?{urlencode({'next': attack})}",
    ]


@pytest.mark.slow
def test_every_attack_is_inert_on_every_page(site: Site, browser: Browser) -> None:
    """No script runs, no element or handler is forged, nothing is asked of elsewhere, no unseen character is on a page.

    The texts themselves are there, to be read.
    """
    site.teach(*(hostile(n, attack) for n, attack in enumerate(ATTACKS)))
    site.teach(*(real(200 + n, attack) for n, attack in enumerate(ATTACKS)))
    site.add(*(hostile(100 + n, attack) | {"parentTraceId": trace_id(n)} for n, attack in enumerate(ATTACKS)))
    enter(site, browser)
    browser.requests()
    visited = [
        "/traces",
        "/capabilities",
        "/learning",
        "/status",
        *(p for n, a in enumerate(ATTACKS) for p in pages(n, a)),
    ]
    for path in visited:
        browser.open(site.url + path)
        browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true })")
        found = browser.run(FORGED)
        assert found["pwned"] == "undefined", path
        assert found["scripts"] == 2, path
        assert (found["elements"], found["handlers"], found["addresses"]) == (0, 0, []), path
        assert all(address.startswith(("/traces", "/learning")) for address in found["hx"]), path
        assert found["focus"] == "BODY", path
        assert not UNSEEN.search(found["text"]), path
    browser.open(f"{site.url}/traces/{trace_id(0)}")
    assert ATTACKS[0] in browser.run("document.body.innerText")
    browser.open(f"{site.url}/traces/{trace_id(4)}")
    assert "{{7*7}}" in browser.run("document.body.innerText")
    browser.open(f"{site.url}/traces/{trace_id(5)}")
    assert "\\u202egnp.exe" in browser.run("document.body.innerText")
    assert {address.partition("/")[0] for address in map(local(site), browser.requests())} == {""}
    refused = [line for line in browser.complaints() if "status of 40" not in line]
    assert refused == []


def local(site: Site) -> Any:
    return lambda address: address.removeprefix(site.url)


def enter(site: Site, browser: Browser) -> None:
    browser.open(f"{site.url}/login")
    browser.find("#key").type(site.key)
    browser.find("main button").click()
    browser.find("#results")


def test_the_policy_would_hold_what_escaping_let_through(site: Site, browser: Browser) -> None:
    """Were markup to get into a page after all: an inline script, a handler, a style, a picture from elsewhere are
    refused by the browser, and it says so."""
    enter(site, browser)
    browser.complaints()
    elsewhere = socket.create_server(("127.0.0.2", 0))
    elsewhere.setblocking(False)
    address = f"http://127.0.0.2:{elsewhere.getsockname()[1]}/"
    for attempt in (
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.pwned=1'}))",
        "document.body.insertAdjacentHTML('beforeend', '<img src=/static/none onerror=window.pwned=1>')",
        "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\" id=styled>x</p>')",
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"ELSEWHERE\">')",
        "document.body.insertAdjacentHTML('beforeend', '<iframe src=\"/traces\"></iframe>')",
        "fetch('ELSEWHERE').catch(() => 0)",
        "document.head.insertAdjacentHTML('beforeend', '<base href=\"ELSEWHERE\">')",
    ):
        browser.run(attempt.replace("ELSEWHERE", address))
        said = browser.until(lambda: [line for line in browser.complaints() if "Content Security" in line], attempt)
        assert said
    assert browser.run("typeof window.pwned") == "undefined"
    assert browser.run("getComputedStyle(document.getElementById('styled')).color") != "rgb(255, 0, 0)"
    assert browser.run("document.baseURI").startswith(site.url)
    with elsewhere, pytest.raises(BlockingIOError):
        elsewhere.accept()


@pytest.mark.parametrize(
    "value", [LARGE, [LARGE], {LARGE: 1}, [["<b>"] * 50_000], [{"a": n} for n in range(20_000)], 10**4000]
)
def test_a_large_value_is_cut(site: Site, value: Any) -> None:
    """A megabyte is not a page: what is shown is bounded and says that there is more; the JSON has all."""
    site.add(wire(1, taskResults=[call(result=value)]))
    client = site.login()
    began = time.perf_counter()
    page = client.get(f"/traces/{trace_id(1)}")
    assert time.perf_counter() - began < 5
    assert len(page.content) < 200_000
    assert "The JSON has all of it" in page.text or value == 10**4000
    assert "<img" not in page.text
    assert client.get(f"/traces/{trace_id(1)}/json").json()["taskResults"][0]["result"] == value


def test_many_large_calls_share_one_budget(site: Site) -> None:
    """A thousand calls with a kilobyte each, and hundreds of nested runs: a bounded page that says what it left out."""
    results = [call(n, result="<i>" + "x" * 700) for n in range(1, 1001)]
    site.add(wire(1, taskResults=results))
    site.add(*(wire(n, parentTraceId=trace_id(1), taskResults=[call()] * 5) for n in range(2, 300)))
    page = site.login().get(f"/traces/{trace_id(1)}")
    assert len(page.content) < 3_000_000
    assert page.text.count("<li class=") == 500
    assert "more are not drawn" in page.text
    assert "More nested runs" in page.text


def test_times_that_contradict_each_other_are_drawn(site: Site) -> None:
    """A call before its run, one for thirty years, a child that is its own grandparent: bars stay on their line."""
    site.add(
        wire(
            1,
            durationMs=0.0,
            taskResults=[
                call(1, timestamp="0001-01-01T00:00:00+00:00", durationMs=0.0),
                call(2, timestamp="9999-12-31T23:59:59Z", durationMs=1e12),
                call(3, timestamp="9999-12-31T23:59:59-23:59"),
            ],
            parentTraceId=trace_id(2),
        ),
        wire(2, parentTraceId=trace_id(1)),
    )
    page = site.login().get(f"/traces/{trace_id(1)}")
    assert page.status_code == 200
    bars = re.findall(r'<rect class="(?:call|run) \w+" x="([\d.]+)" y="4" width="([\d.]+)"', page.text)
    assert len(bars) == 5
    assert all(0 <= float(x) <= float(x) + float(width) <= 1000.001 for x, width in bars)
