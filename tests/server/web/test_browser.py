"""The way a person goes, in headless Chromium: by mouse, by keyboard, in the dark, without scripts, on a telephone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.server.traces import call, trace_id, wire
from tests.server.web.browser import Browser
from tests.server.web.conftest import Browse, Site
from tests.server.web.test_hostile import enter

FOCUS = "document.activeElement.id || document.activeElement.tagName"
PAGES = (
    "/traces",
    f"/traces/{trace_id(2)}",
    "/capabilities",
    "/capability?name=local.default.git.release_notes",
    "/learning?intent=release+notes&context=git:git_log",
)

# Texts whose contrast with what is behind them is below what WCAG 2.2 AA asks of small text.
PALE = """(() => {
    const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map(
        (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce(
        (sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (e) => { for (; e; e = e.parentElement) {
        const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; }
        return [255, 255, 255]; };
    return [...document.querySelectorAll('body *')].filter((e) => e.offsetParent && [...e.childNodes].some(
        (n) => n.nodeType === 3 && n.data.trim())).map((e) => {
        const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
        return [(a + 0.05) / (b + 0.05), e.tagName + '.' + e.className]; }).filter(([ratio]) => ratio < 4.5);
})()"""

UNLABELLED = """(() => [
    ...[...document.querySelectorAll('input:not([type=hidden]):not([hidden]), select')].filter((e) => !e.labels.length),
    ...[...document.querySelectorAll('a, button, summary')].filter((e) => !e.innerText.trim() && !e.ariaLabel
        && e.offsetParent),
    ...[...document.querySelectorAll('svg')].filter((e) => e.getAttribute('aria-hidden') !== 'true'
        && !e.closest('[aria-hidden=true]')),
    ...[...document.querySelectorAll('[id]')].filter(
        (e) => document.querySelectorAll('#' + CSS.escape(e.id)).length > 1),
].map((e) => e.outerHTML.slice(0, 200)).concat(
    document.querySelectorAll('h1').length === 1 ? [] : ['not one h1'],
    document.documentElement.lang ? [] : ['no language'],
    document.querySelectorAll('main').length === 1 ? [] : ['not one main']))()"""


def fill(site: Site) -> None:
    now = datetime.now(UTC)
    site.teach(
        wire(1, timestamp=(now - timedelta(seconds=9)).isoformat()),
        wire(
            2,
            timestamp=(now - timedelta(seconds=5)).isoformat(),
            success=False,
            errorCode="RPC_ERROR",
            errorMessage="mail to [EMAIL] failed",
            taskResults=[call(1, source="fake"), call(2, success=False, state="failed", errorCode="RPC_ERROR")],
            metadata={"redactions": {"EMAIL": 1}, "truncated": {"/x": 5}},
        ),
        wire(3, parentTraceId=trace_id(2), timestamp=(now - timedelta(seconds=4)).isoformat()),
    )


def test_login_list_trace_logout(site: Site, browser: Browser) -> None:
    """F85: in with a key, a new trace appears by itself, it opens, and after logging out nothing is left to see."""
    fill(site)
    enter(site, browser)
    assert browser.url == f"{site.url}/traces"
    (cookie,) = [cookie for cookie in browser.cookies() if "session" in cookie["name"]]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert browser.run("document.cookie") == ""
    assert len(browser.all("[data-row]")) == 3
    site.add(wire(4, timestamp=datetime.now(UTC).isoformat()))
    browser.find(f"#t-{trace_id(4)}")
    browser.find(f"#t-{trace_id(2)}").click()
    assert browser.find("h1").text == "local.default.git.release_notes.abab"
    browser.find(".waterfall summary").click()
    assert '"repo_path": "."' in browser.find(".waterfall pre").text
    assert "[EMAIL]" in [mark.text for mark in browser.all(".error mark")]
    browser.find(f".waterfall a[href='/traces/{trace_id(3)}']").click()
    browser.until(lambda: trace_id(3) in browser.url, "the nested run")
    browser.find("header button").click()
    browser.find("#key")
    browser.ask("POST", "/back", {})
    browser.open(f"{site.url}/traces/{trace_id(2)}")
    browser.find("#key")
    assert not [cookie for cookie in browser.cookies() if "session" in cookie["name"]]
    assert all(address.startswith(site.url) for address in browser.requests())
    assert browser.complaints() == []


def test_by_keyboard_alone(site: Site, browser: Browser) -> None:
    """Skip link first; `/` to the filter, Escape out of it; j and k through the rows, Enter opens; j, Enter a call."""
    fill(site)
    browser.open(f"{site.url}/login")
    browser.until(lambda: browser.run(FOCUS) == "key", "focus on the key")
    browser.press(*site.key, "Enter")
    browser.find("#results")
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    browser.press("Enter")
    assert browser.run(FOCUS) == "main"
    browser.press("/")
    assert browser.run(FOCUS) == "f-capability"
    browser.press("j")
    assert (browser.run(FOCUS), browser.run("document.activeElement.value")) == ("f-capability", "j")
    browser.press("Backspace", "Escape", "j")
    assert browser.run(FOCUS) == f"t-{trace_id(3)}"
    browser.press("j", "j", "j", "k")
    assert browser.run(FOCUS) == f"t-{trace_id(2)}"
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press("Enter")
    browser.until(lambda: trace_id(2) in browser.url, "the trace")
    browser.find(".waterfall")
    browser.press("j", "Enter")
    assert browser.run("document.activeElement.closest('details').open") is True


def test_the_focus_stays_when_the_list_is_renewed(site: Site, browser: Browser) -> None:
    """A trace that arrives does not take the row away from who is on it."""
    fill(site)
    enter(site, browser)
    browser.press("j", "j")
    site.add(wire(4, timestamp=datetime.now(UTC).isoformat()))
    browser.find(f"#t-{trace_id(4)}")
    assert browser.run(FOCUS) == f"t-{trace_id(2)}"


def test_a_filter_takes_effect_without_a_new_page(site: Site, browser: Browser) -> None:
    """htmx replaces the list alone; the address can be kept, and back goes back."""
    fill(site)
    enter(site, browser)
    browser.run("void (window.same = true)")
    browser.find("#f-outcome option[value=failed]").click()
    browser.until(lambda: len(browser.all("[data-row]")) == 1, "one trace")
    assert browser.run("window.same") is True
    assert "outcome=failed" in browser.url
    browser.ask("POST", "/back", {})
    browser.until(lambda: len(browser.all("[data-row]")) == 3, "all again")
    assert browser.complaints() == []


def test_a_suggestion_is_asked_for_and_its_evidence_opened(site: Site, browser: Browser) -> None:
    """F48: the form answers without a new page, nothing where nothing fits, and each trace is one click away."""
    fill(site)
    enter(site, browser)
    browser.find("nav a[href='/learning']").click()
    browser.find("#f-intent").type("release notes")
    browser.run("void (window.same = true)")
    browser.find(".filters button").click()
    browser.until(lambda: browser.all("#answer .evidence a"), "a suggestion")
    assert browser.run("window.same") is True
    assert "local.default.git.release_notes.abab" in browser.find("#answer .what").text
    browser.run("void (document.getElementById('f-intent').value = 'quantum chromodynamics')")
    browser.find(".filters button").click()
    browser.until(lambda: browser.all("#answer > .empty"), "nothing that fits")
    browser.ask("POST", "/back", {})
    browser.find("#answer .evidence a").click()
    browser.until(lambda: "/traces/" in browser.url, "the trace")
    assert browser.complaints() == []


def test_an_ended_session_leads_to_the_login(site: Site, browser: Browser) -> None:
    """The page that follows what arrives goes to the login by itself when the session is over."""
    fill(site)
    enter(site, browser)
    browser.forget()
    browser.find("#key")


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_light_and_dark_can_be_read(site: Site, browser: Browser, mode: str) -> None:
    """Both follow the system's wish, and every text has the contrast of WCAG AA; everything has a label."""
    fill(site)
    browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": mode}])
    browser.open(f"{site.url}/login")
    assert (browser.run(PALE), browser.run(UNLABELLED)) == ([], [])
    enter(site, browser)
    for path in (*PAGES, "/keys", "/status", "/traces/none"):
        browser.open(site.url + path)
        browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true })")
        assert (browser.run(PALE), browser.run(UNLABELLED)) == ([], []), path
        paper = browser.run("getComputedStyle(document.documentElement).backgroundColor")
        assert (paper == "rgb(20, 24, 26)") is (mode == "dark")


def test_without_scripts_everything_can_be_read_and_done(site: Site, browse: Browse) -> None:
    """Log in, filter, open a call, make a key, log out: HTML is enough."""
    fill(site)
    with browse(scripts=False) as browser:
        enter(site, browser)
        assert len(browser.all("[data-row]")) == 3
        assert browser.find(".live").text == ""
        browser.find("#f-outcome option[value=failed]").click()
        browser.find(".filters button").click()
        browser.until(lambda: len(browser.all("[data-row]")) == 1, "one trace")
        browser.find(f"#t-{trace_id(2)}").click()
        browser.find(".waterfall summary").click()
        assert '"repo_path"' in browser.find(".waterfall pre").text
        browser.open(f"{site.url}/keys")
        browser.find("main form.stack button").click()
        assert browser.find(".secret").text.startswith("bj_")
        browser.open(f"{site.url}/learning")
        browser.find("#f-intent").type("release notes")
        browser.find(".filters button").click()
        assert browser.find("#answer .evidence a").text == trace_id(3)[-6:]
        browser.find("header button").click()
        browser.find("#key")


def test_a_narrow_screen_needs_no_sideways_scrolling(site: Site, browser: Browser) -> None:
    """At 360 pixels no page is wider than the screen."""
    fill(site)
    enter(site, browser)
    browser.cdp("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    for path in (*PAGES, "/keys", "/status"):
        browser.open(site.url + path)
        browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true })")
        assert browser.run("document.documentElement.scrollWidth") <= 360, path
