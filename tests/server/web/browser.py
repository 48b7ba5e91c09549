"""A real, headless Chromium, driven through chromedriver by the WebDriver protocol itself.

The protocol is JSON over HTTP, and what the tests need of it is a dozen commands. The browser resolves no name and
reaches nothing but this machine; what it asks for, what it refuses and what scripts complain about is in its logs.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2

_Found = TypeVar("_Found")
_DEADLINE_S = 30.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
    "--window-size=1280,900",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
KEYS = {"Backspace": "\ue003", "Enter": "\ue007", "Escape": "\ue00c", "Tab": "\ue004"}


class Element:
    """One element of a page."""

    def __init__(self, browser: Browser, reference: str) -> None:
        self._browser = browser
        self.reference = reference

    @property
    def text(self) -> str:
        return self._browser.ask("GET", f"/element/{self.reference}/text")

    def click(self) -> None:
        self._browser.ask("POST", f"/element/{self.reference}/click", {})

    def type(self, text: str) -> None:
        self._browser.ask("POST", f"/element/{self.reference}/value", {"text": text})

    def attribute(self, name: str) -> str | None:
        return self._browser.ask("GET", f"/element/{self.reference}/attribute/{name}")


class Browser:
    """One session."""

    def __init__(self, client: httpx2.Client, session: str) -> None:
        self._client = client
        self._session = session

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One command of the protocol."""
        response = self._client.request(method, f"/session/{self._session}{path}", json=body)
        value = response.json()["value"]
        if response.status_code != 200:
            raise AssertionError(f"{value['error']}: {value['message'][:500]}")
        return value

    def open(self, url: str) -> None:
        self.ask("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        return self.ask("GET", "/url")

    def find(self, selector: str) -> Element:
        """The first element that fits; it is waited for."""
        return self.until(lambda: next(iter(self.all(selector)), None), selector)

    def all(self, selector: str) -> list[Element]:
        found = self.ask("POST", "/elements", {"using": "css selector", "value": selector})
        return [Element(self, each[_ELEMENT]) for each in found]

    def press(self, *keys: str) -> None:
        """Keys on whatever has the focus."""
        pressed = [KEYS.get(key, key) for key in keys]
        actions = [{"type": kind, "value": key} for key in pressed for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def run(self, script: str) -> Any:
        """The value of a script in the page."""
        return self.ask("POST", "/execute/sync", {"script": f"return {script}", "args": []})

    def cdp(self, command: str, **parameters: Any) -> Any:
        """A command of Chromium's own."""
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def cookies(self) -> list[dict[str, Any]]:
        return self.ask("GET", "/cookie")

    def forget(self) -> None:
        self.ask("DELETE", "/cookie")

    def requests(self) -> list[str]:
        """Address of everything it asked for since the last time."""
        entries = self.ask("POST", "/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """What its console said since the last time, refusals of the page's policy included."""
        return [entry["message"] for entry in self.ask("POST", "/se/log", {"type": "browser"})]

    def until(self, look: Callable[[], _Found | None], what: str) -> _Found:
        """What `look` finds in the end."""
        deadline = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"not seen in time: {what}, at {self.url}")


@contextmanager
def driver(program: str, chromium: str, folder: Path) -> Iterator[Callable[..., Any]]:
    """A running chromedriver; gives `browse(*flags)`, a context with one browser."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    process = subprocess.Popen(
        [program, f"--port={port}", "--allowed-ips=127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Nothing of the user's profile, caches or configuration.
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)},
    )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            _wait(client)
            yield _browsing(client, chromium)
    finally:
        process.terminate()
        process.wait(_DEADLINE_S)


def _browsing(client: httpx2.Client, chromium: str) -> Callable[..., Any]:
    @contextmanager
    def browse(*flags: str, scripts: bool = True) -> Iterator[Browser]:
        options = {
            "binary": chromium,
            "args": [*_FLAGS, *flags],
            "prefs": {} if scripts else {"profile.managed_default_content_settings.javascript": 2},
        }
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = client.post("/session", json={"capabilities": {"alwaysMatch": capabilities}}).json()["value"]
        assert "sessionId" in answer, answer
        browser = Browser(client, answer["sessionId"])
        try:
            yield browser
        finally:
            browser.ask("DELETE", "")

    return browse


def _wait(client: httpx2.Client) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        try:
            if client.get("/status").json()["value"]["ready"]:
                return
        except httpx2.TransportError:
            time.sleep(0.05)
    raise AssertionError("chromedriver did not start")
