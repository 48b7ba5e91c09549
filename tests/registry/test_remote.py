"""A registry on the other end of a socket, good and bad, and what comes of a name through store and registry."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from belljar import fqdn
from belljar.config import TracingConfig
from belljar.errors import BelljarError, Code, ConfigError, UpstreamError, ValidationError
from belljar.registry import CapabilityStore, Resolver
from belljar.registry.capabilities import sha256_of
from belljar.registry.remote import Registry, Submission
from tests.registries import FakeRegistry, serving

pytestmark = pytest.mark.anyio

NOTES = fqdn.parse("acme.tools.git.notes")
ONE, TWO = "1\n", "2\n"
KEY = "bj_sesame-open-the-door"


def registry(far: FakeRegistry, *, key: str | None = KEY, total_s: float = 10.0) -> Registry:
    return Registry(TracingConfig(cloud_url=far.url, api_key=key), total_s=total_s)


def publish(far: FakeRegistry, code: str, **more: Any) -> fqdn.Fqdn:
    name = NOTES.at(sha256_of(code))
    far.put(name.exact, code, name.hash, **more)
    return name


async def test_what_is_published_can_be_fetched(far: FakeRegistry) -> None:
    """F10: code, names and hash make the way there and back, a byte order mark and all of Unicode too."""
    code = "\ufeff# \u00fc\u4e16\U0001f512\r\n1\n"
    name = NOTES.at(sha256_of(code))
    submission = Submission(name, code, {"type": "object"}, ("git:git_log",), ("git",), "d", ("x",))
    assert await registry(far).publish(submission) is True
    assert await registry(far).publish(submission) is False
    sent = json.loads(far.asked[0].body)
    assert sent == {
        "fqdn": name.exact,
        "sha256": name.hash,
        "code": code,
        "schema": {"type": "object"},
        "permissions": ["git:git_log"],
        "servers": ["git"],
        "description": "d",
        "dependencies": ["x"],
    }
    fetched = await registry(far).fetch(NOTES)
    assert fetched is not None
    assert (fetched.fqdn, fetched.code, fetched.origin) == (name, code, far.url)


async def test_the_key_goes_in_its_header_alone(far: FakeRegistry) -> None:
    """Not in a path, a query or a body; without a key there is no header."""
    await registry(far).fetch(NOTES)
    await registry(far, key=None).fetch(NOTES)
    with_key, without = far.asked
    assert with_key.headers["x-api-key"] == KEY
    assert "x-api-key" not in without.headers
    assert "authorization" not in with_key.headers
    assert with_key.path == "/api/registry/acme.tools.git.notes"
    assert with_key.headers["user-agent"].startswith("belljar/")


async def test_the_environment_is_ignored(far: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Proxies and netrc of the environment are not looked at."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    publish(far, ONE)
    assert await registry(far).fetch(NOTES) is not None
    assert "authorization" not in far.asked[0].headers


# Answers that are not what was asked for


@pytest.mark.parametrize(
    "answer",
    [
        {"fqdn": f"acme.tools.git.notes.{sha256_of(ONE)[:4]}", "sha256": sha256_of(ONE), "code": TWO},
        {"fqdn": f"acme.tools.git.notes.{sha256_of(ONE)}", "sha256": sha256_of(TWO), "code": TWO},
        {"fqdn": f"acme.tools.git.other.{sha256_of(ONE)[:4]}", "sha256": sha256_of(ONE), "code": ONE},
        {"fqdn": f"evil.tools.git.notes.{sha256_of(ONE)[:4]}", "sha256": sha256_of(ONE), "code": ONE},
        {"fqdn": "acme.tools.git.notes", "sha256": sha256_of(ONE).upper(), "code": ONE},
        {"fqdn": "acme.tools.git.notes", "sha256": sha256_of(ONE)[:4], "code": ONE},
        {"fqdn": "../../x", "sha256": sha256_of(ONE), "code": ONE},
        {"fqdn": "acme.tools.git.notes", "sha256": sha256_of(ONE), "code": [ONE]},
        {"fqdn": "acme.tools.git.notes", "code": ONE},
        {"fqdn": "acme.tools.git.notes", "sha256": "0" * 64, "code": "\ud800"},
        {},
        [],
        None,
    ],
)
async def test_another_code_than_the_hash_is_never_kept(far: FakeRegistry, store: CapabilityStore, answer: Any) -> None:
    """F11: nothing of an answer that contradicts itself or the question is kept; the registry is named."""
    far.instead = (200, {}, [json.dumps(answer).encode()])
    with pytest.raises(UpstreamError, match="nothing of it was kept") as caught:
        await Resolver(store, registry(far)).find(NOTES)
    assert caught.value.code is Code.UPSTREAM_UNAVAILABLE
    assert far.url in caught.value.message
    assert store.all() == []


async def test_a_hash_that_was_asked_for_is_the_one_that_is_taken(far: FakeRegistry, store: CapabilityStore) -> None:
    """Four digits or all: a registry that answers another version, truthfully named, is refused."""
    wanted = publish(far, ONE)
    publish(far, TWO)
    for name in (wanted, wanted.at(wanted.hash4)):
        far.known[name.exact] = far.known[NOTES.exact]
        with pytest.raises(UpstreamError, match="not the one with that hash"):
            await Resolver(store, registry(far)).find(name)
    assert store.all() == []


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"code": "1"', b'{"a":1,"a":2}', b"[" * 10**5, b"\xff", b"NaN"])
@pytest.mark.parametrize("status", [200, 500])
async def test_garbage_is_an_error_of_the_registry(far: FakeRegistry, body: bytes, status: int) -> None:
    """HTML, half a JSON, double keys: one line, no traceback, nothing of it echoed."""
    far.instead = (status, {}, [body])
    with pytest.raises(UpstreamError) as caught:
        await registry(far).fetch(NOTES)
    assert "\n" not in caught.value.message
    assert "<html>" not in caught.value.message


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (301, UpstreamError, "points elsewhere"),
        (400, ValidationError, "does not take this"),
        (401, ConfigError, "BELLJAR_API_KEY"),
        (403, ConfigError, "does not allow this"),
        (409, ValidationError, r"a7f3\x1b[31m is taken"),
        (429, UpstreamError, "HTTP 429"),
        (503, UpstreamError, "HTTP 503"),
    ],
)
async def test_a_refusal_says_what_to_do(far: FakeRegistry, status: int, kind: type[BelljarError], said: str) -> None:
    """Each status has its error; the server's own words are shown, not obeyed; no message holds the key."""
    far.instead = (status, {}, [json.dumps({"detail": "a7f3\x1b[31m is taken"}).encode()])
    submission = Submission(NOTES.at(sha256_of(ONE)), ONE, None, (), (), "")
    with pytest.raises(kind) as caught:
        await registry(far).publish(submission)
    assert said in caught.value.message
    assert "\x1b" not in caught.value.message
    assert KEY not in caught.value.message
    assert KEY not in repr(caught.value)


async def test_a_redirect_is_not_followed(far: FakeRegistry) -> None:
    """The key goes to nobody else, on this machine or another."""
    other = FakeRegistry()
    with serving(other) as url:
        for status in (301, 302, 303, 307, 308):
            far.instead = (status, {"location": f"{url}/api/registry/acme.tools.git.notes"}, [])
            with pytest.raises(UpstreamError, match="points elsewhere"):
                await registry(far).fetch(NOTES)
    assert other.asked == []


# Time and space


async def test_silence_ends_in_time(far: FakeRegistry) -> None:
    """A registry that never answers, one that drips its answer, one that accepts and says nothing: one deadline."""
    began = time.monotonic()
    far.hang = True
    with pytest.raises(UpstreamError, match="no answer within"):
        await registry(far, total_s=0.4).fetch(NOTES)
    far.hang, far.drip_s = False, 0.1
    far.instead = (200, {}, [b"x"] * 1000)
    with pytest.raises(UpstreamError, match="no answer within"):
        await registry(far, total_s=0.4).fetch(NOTES)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config = TracingConfig(cloud_url=f"http://127.0.0.1:{mute.getsockname()[1]}")
        with pytest.raises(UpstreamError, match="no answer within"):
            await Registry(config, total_s=0.4).fetch(NOTES)
    assert time.monotonic() - began < 5


async def test_nobody_there_is_said_at_once() -> None:
    """A closed port is named, with the kind of failure."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await Registry(TracingConfig(cloud_url=f"http://127.0.0.1:{port}")).fetch(NOTES)


async def test_a_flood_is_cut(far: FakeRegistry) -> None:
    """More than the bound is not read to its end; what is encoded is not decoded."""
    far.instead = (200, {}, [b"x" * (1 << 20)] * 64)
    with pytest.raises(UpstreamError, match="it has more than"):
        await registry(far).fetch(NOTES)
    far.instead = (200, {"content-encoding": "gzip"}, [b"\x1f\x8b"])
    with pytest.raises(UpstreamError, match="encoded"):
        await registry(far).fetch(NOTES)


def test_without_a_server_there_is_no_registry() -> None:
    with pytest.raises(ConfigError, match="BELLJAR_CLOUD_URL"):
        Registry(TracingConfig())


@pytest.mark.parametrize("url", ["http://registry.example.com", "ftp://localhost", "https://u:p@h.example"])
def test_the_key_never_travels_in_the_clear(url: str) -> None:
    """https, except on this machine; no user name or password in a URL."""
    with pytest.raises(ConfigError):
        TracingConfig(cloud_url=url, api_key=KEY)


# Names, through store and registry


async def test_a_second_load_asks_nobody(far: FakeRegistry, store: CapabilityStore) -> None:
    """F10: in this process and in the next, by each form of the name."""
    name = publish(far, ONE)
    found = await Resolver(store, registry(far)).find(NOTES)
    assert (found.code, found.kept.pinned, found.kept.origin) == (ONE, True, far.url)
    far.asked.clear()
    for again in (NOTES, name, name.at(name.hash4)):
        assert (await Resolver(store, registry(far)).find(again)).kept == found.kept
        assert (await Resolver(store).find(again)).code == ONE
    assert far.asked == []


async def test_a_new_hash_under_a_known_name_is_not_agreed_to(far: FakeRegistry, store: CapabilityStore) -> None:
    """F11: it comes back unpinned, with what was known before it; the name itself goes on meaning the old one."""
    first = publish(far, ONE)
    names = Resolver(store, registry(far))
    await names.find(NOTES)
    second = publish(far, TWO)
    for find in (names.fetch(NOTES), names.find(second)):
        found = await find
        assert (found.kept.fqdn, found.kept.pinned) == (second, False)
        assert found.before is not None
        assert found.before.fqdn == first
    assert (await names.find(NOTES)).code == ONE
    names.store.pin(found.kept)
    assert (await names.find(NOTES)).code == TWO
    assert (await names.find(first)).kept.pinned


async def test_a_file_that_is_gone_is_fetched_again_and_is_the_same(far: FakeRegistry, store: CapabilityStore) -> None:
    """The registry may not use the occasion: it is asked for the hash that is known."""
    name = publish(far, ONE)
    names = Resolver(store, registry(far))
    await names.find(NOTES)
    file = store._folder / "code" / name.hash
    file.unlink()
    publish(far, TWO)
    assert (await names.find(NOTES)).code == ONE
    file.unlink()
    far.known[name.exact] = far.known[NOTES.exact]
    with pytest.raises(UpstreamError, match="not the one with that hash"):
        await names.find(NOTES)


async def test_what_was_withdrawn_is_for_those_who_have_it(far: FakeRegistry, store: CapabilityStore) -> None:
    """Refused to who never agreed to it; fetched again for who did."""
    name = publish(far, ONE, yanked=True)
    names = Resolver(store, registry(far))
    for wanted in (NOTES, name):
        with pytest.raises(ValidationError, match="withdrawn"):
            await names.find(wanted)
    assert store.all() == []
    store.add(NOTES, ONE)
    (store._folder / "code" / name.hash).unlink()
    assert (await names.find(NOTES)).code == ONE


async def test_a_local_name_is_never_asked_for(far: FakeRegistry, store: CapabilityStore) -> None:
    """Nobody can answer for a name that was never published."""
    far.put(f"local.default.git.notes.{sha256_of(ONE)}", ONE, sha256_of(ONE))
    with pytest.raises(ValidationError, match="capability add"):
        await Resolver(store, registry(far)).find(fqdn.parse("git:notes"))
    assert far.asked == []


async def test_unknown_everywhere(far: FakeRegistry, store: CapabilityStore) -> None:
    """Says who was asked."""
    with pytest.raises(ValidationError, match=far.url):
        await Resolver(store, registry(far)).find(NOTES)
    with pytest.raises(ValidationError, match="no registry is configured"):
        await Resolver(store).find(NOTES)


async def test_a_damaged_file_is_not_replaced_in_silence(far: FakeRegistry, store: CapabilityStore) -> None:
    """F11: somebody changed it; a person has to know."""
    name = publish(far, ONE)
    names = Resolver(store, registry(far))
    await names.find(NOTES)
    (store._folder / "code" / name.hash).write_text(TWO)
    with pytest.raises(ValidationError, match="is damaged"):
        await names.find(NOTES)


async def test_many_at_once(far: FakeRegistry, store: CapabilityStore) -> None:
    """Sixteen first loads of one name end with one version, pinned."""
    publish(far, ONE)
    async with anyio.create_task_group() as tasks:
        for _ in range(16):
            tasks.start_soon(Resolver(store, registry(far)).find, NOTES)
    assert len(store.all()) == 1
