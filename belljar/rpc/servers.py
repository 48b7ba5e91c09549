"""Which MCP servers there are: a standard `mcp.json`, read into frozen `ServerSpec`s.

    {"mcpServers": {"git":    {"command": "mcp-server-git", "args": ["-r", "."], "env": {"TOKEN": "${GIT_TOKEN}"}},
                    "search": {"url": "https://example.org/mcp", "headers": {"Authorization": "Bearer ${KEY:-none}"}}}}

The file is shared with other programs, so keys that mean nothing here are passed over: `autoApprove` and the like grant
nothing, because authority does not come from this file. What we do use is read strictly, and each complaint is one line
with the way to the place. `${VAR}` and `${VAR:-default}` expand in `env`, `headers` and `url` only; in `args` they
would put a secret where every process of the machine can read it. The environment is a mapping handed in: nothing here
reads `os.environ`. Values never appear in messages nor in the `repr` of a spec; `spec.secrets` has them for the
sanitizer.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from belljar import show
from belljar.errors import ConfigError
from belljar.limits import MIB
from belljar.rpc import jsontext

__all__ = ["MAX_FILE_BYTES", "ServerSpec", "is_secret", "load_servers", "parse_servers"]

MAX_FILE_BYTES = 1 * MIB
_MAX_NAME = 64
# What a server gets of our own environment, and all it gets: enough to find its interpreter and its cache.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
_HTTP_TYPES = frozenset({"http", "streamable-http", "streamable_http", "streamableHttp", "streamableHTTP"})
# Shorter values (`1`, `on`) would blank out half of every trace, and nobody's secret is that short.
_MIN_SECRET = 4

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SECRET_NAME = re.compile(
    r"KEY|TOKEN|SECRET|PASS|PWD|CRED|AUTH|PRIVATE|DSN|COOKIE|SESSION|JWT|BEARER|SIGNATURE|WEBHOOK|CONN|LICEN[CS]E"
    r"|(?:^|[_.-])(?:PW|PIN|PAT|PSK|OTP|SALT|SEED|CERT|SID)(?:$|[_.-])",
    re.IGNORECASE,
)
# Never a secret, whatever the name: known values are masked everywhere, and these are in every second trace.
_SETTING = re.compile(
    r"true|false|yes|no|on|off|none|null|enabled|disabled|default|auto"
    r"|trace|debug|verbose|info|notice|warn|warning|error|critical|fatal|silent|quiet"
    r"|production|development|staging|testing|localhost|stdio",
    re.IGNORECASE,
)
# No secret by itself; one if the name says so.
_PLAIN = re.compile(
    r"[A-Za-z]{1,5}|[0-9]{1,5}|[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}"  # a word, a number or port, a version or address
    r"|[a-z]{2,3}[_-][A-Z]{2}(?:\.[A-Za-z0-9-]{3,12})?|(?:C\.)?utf-?8|[A-Z][a-z]+/[A-Z][A-Za-z_]{2,30}"  # locale, zone
    r"|(?:https?://)?[a-z][a-z0-9-]{0,40}(?:\.[a-z][a-z0-9-]{0,40}){0,5}(?:\.[a-z]{2,12}|:[0-9]{2,5})(?::[0-9]{2,5})?/?"
    r"|(?:--?[a-z]+(?:-[a-z]+){0,6}(?:=[a-z]{1,12}|=[0-9]{1,6})?[ ]?){1,8}"  # options
    r"|(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][\w.@+ -]{0,80})+(?::(?:/[\w.@+ -]{0,80})+)*",  # a path, or several
    re.IGNORECASE,
)
# A part of a path or a host that no one named by hand.
_DRAWN = re.compile(r"(?=[A-Za-z_-]*[0-9])(?=[0-9_-]*[A-Za-z])[A-Za-z0-9_-]{16,}")
_SCHEME = re.compile(r"(?:bearer|basic|token|apikey)\s+", re.IGNORECASE)
# What people leave in the examples of a README. Whole values only.
_PLACEHOLDER = re.compile(
    r"<[^<>]*>|\{\{.*\}\}|\.{3,}|\*{3,}|(?:[a-z]{1,4}[-_])*x{3,}"
    r"|(?:please[-_ ]?)?(?:change|replace|fill)[-_ ]?(?:me|this|it|in|with.*)"
    r"|(?:insert|enter|put|paste)[-_ ]your.*|your[-_ ].*"
    r"|(?:the|my)[-_ ](?:api[-_ ]?)?(?:key|token|secret|password)(?:[-_ ]here)?|(?:api[-_ ]?)?(?:key|token)[-_ ]here"
    r"|todo|tbd|fixme|placeholder",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One server as configured: a program to start (`command`) or an endpoint (`url`); never both, never neither."""

    name: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """The whole environment of the program: the few inherited variables and the entry's own, expanded."""
    env_names: tuple[str, ...] = ()
    """Names of the entry's own variables, sorted."""
    cwd: str | None = None
    """Absolute folder to start in; None is the folder we are in."""
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    trust: str = ""
    """`annotations` if the user takes this server's word for what is read-only."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Values to be masked wherever they turn up."""

    @property
    def origin(self) -> str:
        """`https://host:port` of the endpoint, fit to be shown; empty for a program."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}" if self.url else ""


def load_servers(path: Path, environ: Mapping[str, str]) -> Mapping[str, ServerSpec]:
    """The servers of a file, by name, in its order.

    Raises:
        ConfigError: no such file, not a regular file, more than 1 MiB, or as `parse_servers`.
    """
    shown = show.text(str(path), max_chars=200)
    try:
        # A FIFO would block the open, and a device would never end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a path"
        raise ConfigError(f"{shown}: {reason}; give the path of an mcp.json with --servers") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"{shown}: not a file; give the path of an mcp.json with --servers")
        with open(descriptor, "rb", closefd=False) as file:
            text = file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    return parse_servers(text, environ, source=shown)


def parse_servers(
    text: str | bytes, environ: Mapping[str, str], *, source: str = "mcp.json"
) -> Mapping[str, ServerSpec]:
    """The servers of an `mcp.json`'s text, by name, in its order; entries with `"disabled": true` are left out.

    Raises:
        ConfigError: not JSON, more than 1 MiB, a wrong type, a rule broken, an unset variable or a placeholder.
    """
    try:
        document = jsontext.parse(text, max_bytes=MAX_FILE_BYTES)
    except jsontext.JsonError as exc:
        raise ConfigError(f"{source}: {exc}; expected an object with mcpServers") from None
    root = _Place(source, "", document)
    root.object()
    entries = root.child("mcpServers")
    specs = [_spec(entries.child(name), name, environ) for name in entries.object()]
    return MappingProxyType({spec.name: spec for spec in specs if spec is not None})


@dataclass(frozen=True, slots=True)
class _Place:
    """A value of the document and the way to it, so that a complaint can say where."""

    source: str
    path: str
    value: Any

    def child(self, key: str | int) -> _Place:
        plain = isinstance(key, str) and key.isascii() and key.replace("-", "_").isidentifier()
        step = f".{key}" if plain else f"[{show.value(key, max_chars=80)}]"
        holder: Any = self.value
        value = holder.get(key) if isinstance(key, str) else holder[key]
        return _Place(self.source, f"{self.path}{step}".removeprefix("."), value)

    def fail(self, what: str) -> ConfigError:
        return ConfigError(f"{self.source}: {self.path}{': ' if self.path else ''}{what}")

    def object(self) -> dict[str, Any]:
        value: Any = self.value
        if not isinstance(value, dict):
            raise self.fail("must be an object")
        return cast("dict[str, Any]", value)

    def text(self) -> str:
        value: Any = self.value
        if not isinstance(value, str):
            raise self.fail("must be text")
        if "\0" in value:
            raise self.fail("holds a NUL character")
        return value

    def texts(self) -> tuple[_Place, ...]:
        value: Any = self.value
        if not isinstance(value, list):
            raise self.fail("must be a list of texts")
        return tuple(self.child(index) for index in range(len(cast("list[Any]", value))))

    def literal(self) -> str:
        """Text in which no variable may stand."""
        if "${" in self.text():
            raise self.fail("variables do not expand here, where every process can read them; put it into env")
        return self.value


def _spec(entry: _Place, name: str, environ: Mapping[str, str]) -> ServerSpec | None:
    _check_name(entry, name)
    keys = entry.object()
    if _flag(entry, "disabled"):
        return None
    if ("command" in keys) == ("url" in keys):
        raise entry.fail("give a command or a url" + (", not both" if "url" in keys else ""))
    trust = entry.child("trust").text() if "trust" in keys else ""
    if trust not in ("", "annotations"):
        raise entry.child("trust").fail('must be "annotations" or left out')
    _check_type(entry, keys)
    return _endpoint(entry, name, trust, environ) if "url" in keys else _program(entry, name, trust, environ)


def _check_name(entry: _Place, name: str) -> None:
    if not name or len(name) > _MAX_NAME or not name.isprintable() or any(c in ":/" or c.isspace() for c in name):
        raise entry.fail(f"a server's name has 1 to {_MAX_NAME} visible characters, none of them blank, ':' or '/'")


def _check_type(entry: _Place, keys: dict[str, Any]) -> None:
    allowed = _HTTP_TYPES if "url" in keys else {"stdio"}
    for key in ("type", "transport"):
        if key in keys and entry.child(key).text() not in allowed:
            kind = "url" if "url" in keys else "command"
            raise entry.child(key).fail(f"does not fit a {kind}; use {'http' if kind == 'url' else 'stdio'}")


def _flag(entry: _Place, key: str) -> bool:
    value = entry.object().get(key, False)
    if not isinstance(value, bool):
        raise entry.child(key).fail("must be true or false")
    return value


# Programs


def _program(entry: _Place, name: str, trust: str, environ: Mapping[str, str]) -> ServerSpec:
    keys = entry.object()
    if "headers" in keys:
        raise entry.child("headers").fail("belongs to a url")
    values = _Values(environ)
    own = values.table(entry.child("env"), _ENV_NAME, hints=True) if "env" in keys else {}
    inherited = {key: environ[key] for key in _INHERITED if key in environ}
    return ServerSpec(
        name=name,
        command=_command(entry.child("command")),
        args=tuple(arg.literal() for arg in entry.child("args").texts()) if "args" in keys else (),
        env=MappingProxyType({**inherited, **own}),
        env_names=tuple(sorted(own)),
        cwd=_folder(entry.child("cwd")) if keys.get("cwd") is not None else None,
        trust=trust,
        secrets=values.secrets(),
    )


def _command(place: _Place) -> str:
    command = place.literal()
    # `./server` would be whatever the folder we happen to stand in holds.
    if not command or (os.sep in command and not os.path.isabs(command)):
        raise place.fail("give a name to be found in PATH, or an absolute path")
    return command


def _folder(place: _Place) -> str:
    if not os.path.isabs(place.literal()):
        raise place.fail("give an absolute path")
    return place.value


# Endpoints


def _endpoint(entry: _Place, name: str, trust: str, environ: Mapping[str, str]) -> ServerSpec:
    keys = entry.object()
    for key in ("args", "env", "cwd"):
        if key in keys:
            raise entry.child(key).fail("belongs to a command")
    values = _Values(environ)
    headers = values.table(entry.child("headers"), _HEADER_NAME, hints=False) if "headers" in keys else {}
    for key, value in headers.items():
        if not value.isascii() or not value.isprintable():
            raise entry.child("headers").child(key).fail("holds a character that no header can carry")
    url = values.expand(entry.child("url"))
    _check_url(entry.child("url"), url, values)
    for value in headers.values():
        values.keep(value, _SCHEME.sub("", value))
    return ServerSpec(name=name, url=url, headers=MappingProxyType(headers), trust=trust, secrets=values.secrets())


def _check_url(place: _Place, url: str, values: _Values) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise place.fail("is not a URL") from None
    if not url.isascii() or not url.isprintable() or " " in url or not parts.hostname:
        raise place.fail("is not a URL; internationalized names are written in their xn-- form")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts)):
        raise place.fail("must be https; http only to this machine (127.0.0.1, ::1, localhost)")
    if parts.fragment:
        raise place.fail("has a fragment (#...), which no server sees")
    values.keep(parts.password or "")


def _is_loopback(parts: SplitResult) -> bool:
    try:
        return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


# Values


class _Values:
    """Expands variables and remembers what must stay secret."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._secrets: set[str] = set()

    def secrets(self) -> frozenset[str]:
        return frozenset(self._secrets)

    def keep(self, *values: str) -> None:
        self._secrets.update(value for value in values if len(value) >= _MIN_SECRET)

    def expand(self, place: _Place) -> str:
        """The text with each `${VAR}` and `${VAR:-default}` replaced; what came from the environment is a secret."""

        def replaced(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            value = self._environ.get(name, "") if default is not None else self._environ.get(name)
            if value is None:
                raise place.fail(f"the variable {name} is not set; set it, or write ${{{name}:-default}}")
            if name not in _INHERITED:
                self.keep(value)
            return value or default or ""

        return _VARIABLE.sub(replaced, place.text())

    def table(self, place: _Place, names: re.Pattern[str], *, hints: bool) -> dict[str, str]:
        """`env` or `headers`, expanded; `hints`: a literal counts as a secret unless it is plainly a setting."""
        table: dict[str, str] = {}
        for key in place.object():
            each = place.child(key)
            if names.fullmatch(key) is None:
                raise each.fail("is not a name that can stand here")
            table[key] = value = self.expand(each)
            if _PLACEHOLDER.fullmatch(_SCHEME.sub("", value.strip())):
                raise each.fail("still holds a placeholder; put the real value there, or a ${VARIABLE}")
            if hints and is_secret(key, value, literal="${" not in each.value):
                self.keep(value, _password(value))
        return table


def is_secret(name: str, value: str, *, literal: bool) -> bool:
    """What people write into `env` by hand is a secret, unless it is plainly something else.

    Truth values, log levels and the like never are. Short words and numbers, versions, locales, hosts, options and
    paths are if the name says so (`PIN=4821`). With a variable in it, the variable's value is kept anyway.
    """
    if _SETTING.fullmatch(value) is not None:
        return False
    if _SECRET_NAME.search(name) is not None:
        return True
    return literal and (_PLAIN.fullmatch(value) is None or _DRAWN.search(value) is not None)


def _password(url: str) -> str:
    """Of `postgres://user:password@host`; it also travels alone."""
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""
