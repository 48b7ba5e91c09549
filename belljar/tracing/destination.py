"""Where traces go: one server and one key, and the name of the folder in which they wait for it.

What was made for one server or one key is never sent to another. So each pair has a folder of its own in the spool, and
each file in there says for which pair it was written; only an exact match is read. The key itself is written nowhere:
`key_id` is a digest of it, over a label and the URL, so that one key gives different ids at different servers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from belljar.errors import ConfigError

__all__ = ["Destination"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Destination:
    """A server and the key that is shown to it."""

    url: str
    """scheme://host[:port][/path]: host in lower case, no default port, no slash at the end."""
    key_id: str
    """16 hex digits over the URL and the API key; empty without a key."""

    @classmethod
    def of(cls, cloud_url: str, api_key: str | None) -> Destination:
        """The destination of a configured URL and key.

        Raises:
            ConfigError: the URL is none, or holds a user name, a password, a query or a fragment. It is not shown.
        """
        url = _normalized(cloud_url)
        return cls(url, _digest("belljar api key", url, api_key) if api_key else "")

    @property
    def id(self) -> str:
        """The name of its folder: 16 hex digits over the URL and the key's id."""
        return _digest("belljar destination", self.url, self.key_id)


def _digest(label: str, *parts: str) -> str:
    # Each part with its length, so that no two lists of parts read the same.
    text = "".join(f"{len(part)}:{part}" for part in (label, *parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def _normalized(cloud_url: str) -> str:
    try:
        parts = urlsplit(cloud_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("the cloud URL is no URL: write https://HOST") from None
    if not host or parts.scheme not in _DEFAULT_PORTS:
        raise ConfigError("the cloud URL is no URL: write https://HOST")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError("the cloud URL holds a user name, a password, a query or a fragment: write https://HOST")
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        shown = f"{shown}:{port}"
    return f"{parts.scheme}://{shown}{parts.path.rstrip('/')}"
