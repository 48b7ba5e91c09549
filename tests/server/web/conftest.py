"""A served web UI, a person's HTTP client, and a browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx2
import pytest

from belljar.server.settings import Settings
from belljar.server.store import ingest, keys, learned
from belljar.server.store.engine import Database, open_database
from belljar.server.store.keys import Principal
from belljar.tracing.types import decode
from tests.conftest import Needs
from tests.server.api.conftest import Api, serving
from tests.server.web.browser import Browser, driver

TOKEN = re.compile(r'name="token" value="([^"]+)"')


@dataclass(frozen=True)
class Site:
    """A server with its web UI and one key that may do everything."""

    api: Api
    key: str
    owner: Principal

    @property
    def url(self) -> str:
        return self.api.url

    def add(self, *wires: dict[str, Any], learn: ingest.Learn | None = None) -> None:
        """Store traces of the owner's."""
        now = datetime.now(UTC)
        for start in range(0, len(wires), 100):
            some = [decode(wire) for wire in wires[start : start + 100]]
            results = ingest.ingest(self.api.db, self.owner, some, now=now, learn=learn)
            assert {result.status for result in results} == {"stored"}, results

    def teach(self, *wires: dict[str, Any]) -> None:
        """Store them, and learn from them."""
        self.add(*wires, learn=partial(learned.learn, now=datetime.now(UTC)))

    def client(self, **headers: str) -> httpx2.Client:
        """Somebody with a cookie jar who has not logged in; follows nothing by itself."""
        return self.api.client("", **headers)

    def login(self, key: str | None = None, **fields: str) -> httpx2.Client:
        """Somebody who has."""
        client = self.client()
        response = log_in(client, self.key if key is None else key, **fields)
        assert response.status_code == 303, response.text
        return client


def log_in(client: httpx2.Client, key: str, **fields: str) -> httpx2.Response:
    """Fill the login form in and send it."""
    found = token_of(client.get("/login"))
    return client.post("/login", data={"token": found, "key": key, **fields})


def token_of(page: httpx2.Response) -> str:
    """What the forms of a page carry."""
    found = TOKEN.search(page.text)
    assert found, page.text
    return found[1]


@contextmanager
def site_on(db: Database, **settings: Any) -> Iterator[Site]:
    """A site on a database."""
    now = datetime.now(UTC)
    key = keys.create_key(db, "acme", ["admin"], label="a person", now=now).key
    owner = keys.authenticate(db, key, now=now)
    assert owner is not None
    with serving(Settings(database="(opened)", **{"rate_per_s": 0.0, **settings}), db) as api:
        yield Site(api, key, owner)


@pytest.fixture
def site(sqlite_url: str) -> Iterator[Site]:
    """On an SQLite file."""
    db = open_database(sqlite_url)
    with site_on(db) as found:
        yield found
    db.close()


Browse = Callable[..., Any]


@pytest.fixture(scope="session")
def browse(needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browse]:
    """`with browse(*flags, scripts=True) as browser`: Chromium with a profile of its own."""
    (program,), (chromium,) = needs("chromedriver"), needs("chromium")
    with driver(program, chromium, tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def browser(browse: Browse) -> Iterator[Browser]:
    """The usual one."""
    with browse() as found:
        yield found
