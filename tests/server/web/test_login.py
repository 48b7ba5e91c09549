"""Logging in and out: what the cookie is, whose word is believed, and what an attacker gets."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from belljar.server.store import keys
from belljar.server.store.engine import open_database
from belljar.server.store.schema import web_session
from belljar.server.web.session import local_path
from tests.server.web.conftest import Site, log_in, site_on, token_of

PAGES = ("/traces", "/traces/rows", f"/traces/{'0' * 8}-0000-7000-8000-{'0' * 12}", "/capabilities", "/capability")
ADMIN_PAGES = ("/keys", "/status")
FORMS = ("/logout", "/keys/create", "/keys/revoke")
ELSEWHERE = (
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "https://evil.example/",
    "https:evil.example",
    "javascript:alert(1)",
    "evil",
    "",
    "/é",
    "/a\r\nset-cookie: x=y",
    "/" + "a" * 2000,
    "/login?next=/login",
    "/logout",
)


def session_cookie(client: httpx2.Client) -> str:
    (value,) = [cookie.value for cookie in client.cookies.jar if "session" in cookie.name]
    assert value
    return value


def test_every_page_asks_for_a_login(site: Site) -> None:
    """Without a session each page leads to the login form, and from there back to itself."""
    for path in (*PAGES, *ADMIN_PAGES):
        response = site.client().get(path)
        assert response.status_code == 303
        assert response.headers["location"].startswith("/login")
    response = site.client().get("/capability?name=a.b.c.d")
    assert response.headers["location"] == "/login?next=%2Fcapability%3Fname%3Da.b.c.d"
    client = site.client()
    assert log_in(client, site.key, next="/capability?name=a.b.c.d").headers["location"] == "/capability?name=a.b.c.d"


def test_htmx_without_a_session_is_told_to_go_to_the_login(site: Site) -> None:
    """A part of a page never is the login form: the whole page goes there, and comes back to where it was."""
    for current, target in (
        (f"{site.url}/traces?tool=a:b", "/login?next=%2Ftraces%3Ftool%3Da%3Ab"),
        ("https://evil.example//evil.example/", "/login"),
        ("http://[", "/login"),
    ):
        response = site.client(**{"hx-request": "true", "hx-current-url": current}).get("/traces/rows")
        assert (response.status_code, response.headers["hx-redirect"]) == (200, target)
        assert not response.text


def test_the_cookie_is_a_random_id_stored_hashed(site: Site) -> None:
    """The browser gets a new id each time, HttpOnly and SameSite=Strict, and not the key; the store has its hash."""
    client = site.client()
    response = log_in(client, site.key)
    cookie = next(value for value in response.headers.get_list("set-cookie") if "session" in value)
    for flag in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert flag in cookie
    assert "Domain" not in cookie
    first, second = session_cookie(client), session_cookie(site.login())
    assert first != second
    assert site.key not in (first, second)
    with site.api.db.read() as connection:
        stored = set(connection.scalars(select(web_session.c.session_hash)))
    assert stored == {hashlib.sha256(value.encode()).hexdigest() for value in (first, second)}


def test_elsewhere_than_on_this_machine_the_cookie_is_secure(sqlite_url: str) -> None:
    """Reached by another name it is Secure and has the prefix that binds it to this host; nothing less is read."""
    db = open_database(sqlite_url)
    with site_on(db, allowed_hosts=("belljar.example",)) as site:
        client = site.client(host="belljar.example")
        page = client.get("/login")
        cookie = page.headers["set-cookie"]
        assert cookie.startswith("__Host-belljar_login=")
        assert "Secure" in cookie
        assert "Domain" not in cookie
        # As a browser would behind a proxy that ends TLS: it keeps the cookie and sends it.
        sent = {"cookie": cookie.partition(";")[0]}
        response = client.post("/login", data={"token": token_of(page), "key": site.key}, headers=sent)
        assert response.status_code == 303, response.text
        session = next(value for value in response.headers.get_list("set-cookie") if "session" in value)
        assert session.startswith("__Host-belljar_session=")
        assert "Secure" in session
        # As over plain http, where it keeps none: said, not looped.
        refused = site.client(host="belljar.example").post("/login", data={"token": "x", "key": site.key})
        assert refused.status_code == 400
        assert "https" in refused.text
    db.close()


def test_a_planted_session_is_not_taken_over(site: Site) -> None:
    """Fixation: whatever id the browser had before, it has another after login; one that was valid is ended."""
    attacker = site.login()
    planted = session_cookie(attacker)
    victim = site.client()
    name = next(cookie.name for cookie in attacker.cookies.jar if "session" in cookie.name)
    victim.cookies.set(name, planted, domain="127.0.0.1")
    token = token_of(site.client().get("/login"))
    login_cookie = name.replace("session", "login")
    victim.cookies.set(login_cookie, token, domain="127.0.0.1")
    response = victim.post("/login", data={"token": token, "key": site.key})
    assert response.status_code == 303
    assert planted not in response.headers["set-cookie"]
    assert attacker.get("/traces").status_code == 303


@pytest.mark.parametrize("wrong", ["", "bj_", "bj_" + "A" * 32, "x" * 500, "bj_\x00", "é", "{{7*7}}", "<b>"])
def test_a_wrong_key_does_not_open(site: Site, wrong: str) -> None:
    """One answer for all that is wrong with a key, which is not repeated."""
    client = site.client()
    response = log_in(client, wrong)
    assert response.status_code == 401
    assert "no valid API key" in response.text
    assert len(wrong) < 5 or wrong not in response.text
    assert client.get("/traces").status_code == 303


def test_a_key_must_be_allowed_to_read(site: Site) -> None:
    """A key that may only send does not open the pages, and one that may only read does not show the keys."""
    assert log_in(site.client(), site.api.key("acme", "ingest")).status_code == 403
    reader = site.login(site.api.key("acme", "read"))
    assert reader.get("/traces").status_code == 200
    assert reader.get("/keys").status_code == 403
    assert 'href="/keys"' not in reader.get("/traces").text
    assert "This process" not in reader.get("/status").text
    token = token_of(reader.get("/traces"))
    before = len(keys.list_keys(site.api.db))
    assert reader.post("/keys/create", data={"token": token, "scope": "admin"}).status_code == 403
    assert reader.post("/keys/revoke", data={"token": token, "id": site.owner.key_id}).status_code == 403
    assert len(keys.list_keys(site.api.db)) == before


def test_too_many_logins_wait(site: Site) -> None:
    """After twenty attempts at once there is 429 and Retry-After, for the right key, too."""
    client = site.client()
    token = token_of(client.get("/login"))
    statuses = [client.post("/login", data={"token": token, "key": "bj_" + "A" * 32}).status_code for _ in range(25)]
    assert statuses[:20] == [401] * 20
    assert 429 in statuses[20:]
    late = client.post("/login", data={"token": token, "key": site.key})
    if late.status_code == 429:
        assert int(late.headers["retry-after"]) >= 1


@pytest.mark.parametrize("path", ["/login", *FORMS])
@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_form_needs_its_token(site: Site, path: str, token: str | None) -> None:
    """CSRF: without the session's own token nothing is done, whatever else is right."""
    client = site.login()
    data = {"key": site.key, "id": site.owner.key_id, "scope": "admin"} | ({} if token is None else {"token": token})
    if path == "/login":
        client.get("/login")
    response = client.post(path, data=data)
    assert response.status_code in (400, 403)
    assert client.get("/traces").status_code == 200
    assert [key.revoked_at for key in keys.list_keys(site.api.db)] == [None]


def test_one_sessions_token_is_not_anothers(site: Site) -> None:
    """Nor does the token of somebody else's session help."""
    mine, theirs = site.login(), site.login()
    token = token_of(theirs.get("/traces"))
    assert token != token_of(mine.get("/traces"))
    assert mine.post("/logout", data={"token": token}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_sites_form_is_refused(site: Site, headers: dict[str, str]) -> None:
    """Even with the right token: a post that a browser says comes from elsewhere does nothing."""
    client = site.login()
    token = token_of(client.get("/traces"))
    assert client.post("/logout", data={"token": token}, headers=headers).status_code == 403
    assert client.get("/traces").status_code == 200


@pytest.mark.parametrize("candidate", ELSEWHERE)
def test_login_leads_to_no_other_place(site: Site, candidate: str) -> None:
    """Open redirect: `next` is a path of this server, or it is not followed; in the form and in the answer."""
    assert local_path(candidate) == "/traces"
    client = site.client()
    page = client.get("/login", params={"next": candidate})
    assert 'name="next" value="/traces"' in page.text
    response = client.post("/login", data={"token": token_of(page), "key": site.key, "next": candidate})
    assert response.headers["location"] == "/traces"


def test_logout_ends_the_session_on_the_server(site: Site) -> None:
    """The id is worth nothing afterwards, to whoever kept it."""
    client = site.login()
    kept = dict(client.cookies)
    response = client.post("/logout", data={"token": token_of(client.get("/traces"))})
    assert response.headers["location"] == "/login"
    again = site.client()
    again.cookies.update(kept)
    assert again.get("/traces").status_code == 303


def test_a_session_ends_with_its_time_and_with_its_key(site: Site) -> None:
    """Expired or revoked: out at once."""
    client = site.login()
    late = datetime.now(UTC) - timedelta(seconds=1)
    with site.api.db.write() as connection:
        connection.execute(web_session.update().values(expires_at=late))
    assert client.get("/traces").status_code == 303
    client = site.login()
    assert keys.revoke_key(site.api.db, site.owner.key_id, now=datetime.now(UTC))
    assert client.get("/traces").status_code == 303


@pytest.mark.parametrize("value", ["x" * 5000, "é", "'; DROP TABLE web_session", "\x01", ""])
def test_a_cookie_that_is_none_opens_nothing(site: Site, value: str) -> None:
    """Nor does it break anything."""
    name = f"belljar_session_{site.api.address[1]}"
    response = site.client().get("/traces", headers=[(b"cookie", f"{name}={value}".encode())])
    assert response.status_code == 303


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"token=" + b"a" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"&".join(b"a%d=1" % n for n in range(50)), "application/x-www-form-urlencoded", 400),
        (b"token=%ff", "application/x-www-form-urlencoded", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b'{"token": 1}', "application/json", 415),
        (b"--x\r\n", "multipart/form-data; boundary=x", 415),
    ],
)
def test_what_is_no_form_is_refused(site: Site, content: bytes, kind: str, status: int) -> None:
    """Bounded, text, few fields, one encoding; the answer is a page."""
    response = site.login().post("/logout", content=content, headers={"content-type": kind})
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/html")


def test_without_keys_there_is_nobody_to_log_in(sqlite_url: str) -> None:
    """`--no-auth`: the pages are open, as tenant `default`; forms carry a token nevertheless."""
    db = open_database(sqlite_url)
    with site_on(db, no_auth=True) as site:
        client = site.client()
        page = client.get("/keys")
        assert page.status_code == 200
        assert "Log out" not in page.text
        assert client.get("/login").headers["location"] == "/traces"
        assert client.post("/keys/create", data={"scope": "read"}).status_code == 403
        made = client.post("/keys/create", data={"token": token_of(page), "scope": "read"})
        assert made.status_code == 200
    db.close()


def test_a_fast_session_is_slowed_down_like_its_key(sqlite_url: str) -> None:
    """Pages take from the key's bucket."""
    db = open_database(sqlite_url)
    limits: dict[str, Any] = {"rate_per_s": 0.01, "rate_burst": 3}
    with site_on(db, **limits) as site:
        client = site.login()
        assert [client.get("/traces").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    db.close()
