"""Reads configuration: files and environment, once, into one frozen `Config`.

From weak to strong: the defaults; the user's `belljar.toml`; the environment; options; and then the project file, which
can only take away.

- The user's file is the first there is of `--config`, `$BELLJAR_CONFIG`, `$XDG_CONFIG_HOME/belljar/belljar.toml` (or
  `~/.config`). It may say everything but one: an API key comes from the environment alone, so that no file holds it.
- The project file is `belljar.toml` in the working directory, and whoever made that directory is a stranger. It may
  only narrow: `[limits]` to smaller values, `[policy] deny` to more. Anything else in it is an error, not a silent
  pass, and the error says where the line may stand.

Both are TOML, either at the top level or wholly under `[tool.belljar]`:

    servers = "mcp.json"          # beside this file
    [limits]
    wall = 10
    memory = "128MiB"
    [policy]
    allow = ["git:*"]
    deny = ["git:git_push"]
    auto = ["time:*"]
    [tracing]
    cloud_url = "https://traces.example.com"
    [pool]
    reuse = 1

No message shows a value: it might be a secret in the wrong place.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from belljar import show
from belljar.config import Config, Paths, PoolConfig, TracingConfig
from belljar.errors import ConfigError
from belljar.limits import KIB, Limits
from belljar.rpc.policy import Policy

__all__ = ["API_KEY", "CLOUD_URL", "CONFIG", "load"]

API_KEY = "BELLJAR_API_KEY"
CLOUD_URL = "BELLJAR_CLOUD_URL"
CONFIG = "BELLJAR_CONFIG"

_FILE = "belljar.toml"
# Far more than a person writes; a TOML parser is not linear in everything.
_MAX_BYTES = 64 * KIB
_MAX_LINE = 4096
_SECRETS = frozenset({"api_key", "apikey", "api-key", "key", "token", "secret", "password"})

_Table = Mapping[str, Any]
_Section = TypeVar("_Section", Limits, Policy, TracingConfig, PoolConfig)


def load(
    *,
    environ: Mapping[str, str],
    cwd: Path,
    file: Path | None = None,
    servers: Path | None = None,
    limits: Mapping[str, str] | None = None,
    allow: Iterable[str] = (),
    deny: Iterable[str] = (),
    auto: Iterable[str] = (),
) -> Config:
    """The configuration of one call of the program. `file` to `auto` are its options.

    Raises:
        ConfigError: a file that is missing, unreadable or no TOML; an unknown key or a value that is not what its key
            asks for; a project file that would widen; a limit or pattern among the options that is none.
    """
    path = _user_file(environ, cwd, file)
    config = Config(_paths(environ))
    if path is not None:
        config = _with_file(config, path, _home(environ))
    config = _with_environment(config, environ)
    config = _with_options(config, cwd, servers, limits or {}, Policy(tuple(allow), tuple(deny), (), tuple(auto)))
    project = cwd / _FILE
    if os.path.lexists(project) and not _same(project, path):
        config = _narrowed(config, project)
    return config


# Where


def _user_file(environ: Mapping[str, str], cwd: Path, option: Path | None) -> Path | None:
    if option is not None or environ.get(CONFIG):
        # Joining with an absolute path gives that path.
        return cwd / (option or Path(environ[CONFIG]))
    folder = _xdg(environ, "XDG_CONFIG_HOME", ".config")
    default = None if folder is None else folder / "belljar" / _FILE
    return default if default is not None and os.path.lexists(default) else None


def _paths(environ: Mapping[str, str]) -> Paths:
    def folder(name: str, below_home: str) -> Path:
        base = _xdg(environ, name, below_home)
        if base is None:
            raise ConfigError(f"neither {name} nor HOME is an absolute path: set one")
        return base / "belljar"

    return Paths(
        state=folder("XDG_STATE_HOME", ".local/state"),
        data=folder("XDG_DATA_HOME", ".local/share"),
        cache=folder("XDG_CACHE_HOME", ".cache"),
    )


def _xdg(environ: Mapping[str, str], name: str, below_home: str) -> Path | None:
    """A base folder by the XDG rules: a path that is not absolute counts as not set."""
    set_to = environ.get(name, "")
    if os.path.isabs(set_to):
        return Path(set_to)
    home = _home(environ)
    return None if home is None else home / below_home


def _home(environ: Mapping[str, str]) -> Path | None:
    home = environ.get("HOME") or environ.get("USERPROFILE") or ""
    if os.path.isabs(home):
        return Path(home)
    try:  # services are often started without HOME
        import pwd

        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except (ImportError, KeyError):
        return None


def _same(project: Path, user: Path | None) -> bool:
    try:
        return user is not None and project.samefile(user)
    except OSError:
        return False


# The user's file


def _with_file(config: Config, path: Path, home: Path | None) -> Config:
    shown = show.text(str(path), max_chars=200)
    document = _document(path, shown)
    _refuse_secrets(document, shown)
    _refuse_unknown(document, _SECTIONS.keys() | {"servers"}, shown, "")
    servers = document.get("servers")
    if servers is not None and not isinstance(servers, str):
        raise ConfigError(f"{shown}: servers must be the path of an mcp.json")
    return replace(
        config,
        limits=_limits(config.limits.with_, _table(document, "limits", shown), shown),
        policy=_section(config.policy, document, "policy", shown),
        tracing=_section(config.tracing, document, "tracing", shown),
        pool=_section(config.pool, document, "pool", shown),
        servers=config.servers if servers is None else _beside(path, servers, home),
    )


def _beside(path: Path, named: str, home: Path | None) -> Path:
    """A path named in a file: relative to that file, or to the home folder."""
    return home / named[2:] if named.startswith("~/") and home is not None else path.parent / named


def _section(section: _Section, document: _Table, name: str, shown: str) -> _Section:
    table = _table(document, name, shown)
    keys = _SECTIONS[name]
    _refuse_unknown(table, keys.keys(), shown, f"[{name}] ")
    values: dict[str, Any] = {}
    for key, value in table.items():
        wanted, fits = keys[key]
        if not fits(value):
            raise ConfigError(f"{shown}: [{name}] {key} must be {wanted}")
        values[key] = tuple(cast("list[Any]", value)) if isinstance(value, list) else value
    return _located(lambda: replace(section, **values), shown)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or isinstance(value, float)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, cast("list[Any]", value)))


_Keys = dict[str, tuple[str, Callable[[Any], bool]]]
_BOOL = ("true or false", _is_bool)
_INT = ("a whole number", _is_int)
_NUMBER = ("a number", _is_number)
_PATTERNS = ("a list of patterns", _is_texts)
_SECTIONS: dict[str, _Keys] = {
    "limits": {},
    "policy": {"allow": _PATTERNS, "deny": _PATTERNS, "ask": _PATTERNS, "auto": _PATTERNS},
    "tracing": {
        "enabled": _BOOL,
        "cloud_url": ("a URL", _is_text),
        "batch_size": _INT,
        "flush_interval_s": _NUMBER,
        "max_retries": _INT,
        "exit_flush_s": _NUMBER,
        "raw": _BOOL,
        "pseudonyms": _BOOL,
        "spacy_model": ("the name of an installed spaCy model", _is_text),
        "spool_max_bytes": _INT,
        "spool_max_age_s": _NUMBER,
    },
    "pool": {"reuse": _INT, "size": _INT, "idle_s": _NUMBER},
}


# Environment and options


def _with_environment(config: Config, environ: Mapping[str, str]) -> Config:
    url, key = environ.get(CLOUD_URL), environ.get(API_KEY)
    changes: dict[str, Any] = {}
    if url:
        changes["cloud_url"] = url
    if key:
        changes["api_key"] = key
    return replace(config, tracing=_located(lambda: replace(config.tracing, **changes), "the environment"))


def _with_options(
    config: Config,
    cwd: Path,
    servers: Path | None,
    limits: Mapping[str, str],
    said: Policy,
) -> Config:
    return replace(
        config,
        limits=config.limits.with_(**limits),
        policy=config.policy.and_(said),
        servers=config.servers if servers is None else cwd / servers,
    )


# The project file


def _narrowed(config: Config, path: Path) -> Config:
    shown = show.text(str(path), max_chars=200)
    document = _document(path, shown)
    _refuse_secrets(document, shown)
    for key in document:
        if key not in ("limits", "policy"):
            raise _widens(shown, show.name(key))
    table = _table(document, "policy", shown)
    for key in table:
        if key != "deny":
            raise _widens(shown, f"[policy] {show.name(key)}")
    deny = _section(Policy(), document, "policy", shown).deny

    def smaller(**limits: str | float) -> Limits:
        return config.limits.narrowed(limits)

    return replace(
        config,
        limits=_limits(smaller, _table(document, "limits", shown), shown),
        policy=replace(config.policy, deny=(*config.policy.deny, *deny)),
    )


def _widens(shown: str, what: str) -> ConfigError:
    return ConfigError(
        f"{shown}: {what} may not stand in a project file, which can only narrow ([limits], [policy] deny): "
        f"move it to the file named by --config or {CONFIG}, or to ~/.config/belljar/{_FILE}"
    )


# Reading


def _document(path: Path, shown: str) -> _Table:
    document = _toml(_read(path, shown), shown)
    if "tool" not in document:
        return document
    _refuse_unknown(document, {"tool"}, shown, "beside [tool.belljar]: ")
    return _table(_table(document, "tool", shown), "belljar", shown)


def _read(path: Path, shown: str) -> str:
    try:
        # O_NONBLOCK: a FIFO left in a working directory must not hold us.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{shown} is no regular file: give a TOML file")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(_MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ConfigError(f"no configuration file {shown}: check the path") from None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot read {shown}: {exc.strerror if isinstance(exc, OSError) else exc}") from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{shown} has more than {_MAX_BYTES} bytes: make it shorter")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{shown} is not UTF-8: save it as UTF-8") from None


def _toml(text: str, shown: str) -> _Table:
    import tomllib  # most calls of the program find no file

    if any(len(line) > _MAX_LINE for line in text.split("\n")):
        raise ConfigError(f"{shown} has a line longer than {_MAX_LINE} characters: break it")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{shown} is nested too deeply: flatten it") from None
    except ValueError as exc:
        raise ConfigError(f"{shown} is no valid TOML: {show.text(str(exc), max_chars=200)}") from None


def _table(document: _Table, name: str, shown: str) -> _Table:
    table: object = document.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{shown}: {name} must be a table: write [{name}]")
    return cast("_Table", table)


def _refuse_secrets(document: _Table, shown: str) -> None:
    tables = [document, *(cast("_Table", value) for value in document.values() if isinstance(value, dict))]
    for key in (key for table in tables for key in table):
        if key.lower() in _SECRETS:
            raise ConfigError(f"{shown}: {key} is a secret and belongs in no file: set the variable {API_KEY}")


def _refuse_unknown(table: _Table, known: Iterable[str], shown: str, where: str) -> None:
    known = sorted(known)
    for key in table:
        if key not in known:
            raise ConfigError(f"{shown}: {where}{show.name(key)} is no key we know{_nearest(key, known)}")


def _nearest(key: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(key[:64], known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(known)}"


def _limits(change: Callable[..., Limits], table: _Table, shown: str) -> Limits:
    names = sorted(Limits.__dataclass_fields__)
    _refuse_unknown(table, names, shown, "[limits] ")
    for name, value in table.items():
        if not (_is_number(value) or isinstance(value, str)):
            raise ConfigError(f"{shown}: [limits] {name} must be a number, or text like 64MiB")
    return _located(lambda: change(**table), shown)


_Made = TypeVar("_Made")


def _located(make: Callable[[], _Made], shown: str) -> _Made:
    """What is made, or its error with the place it comes from."""
    try:
        return make()
    except ConfigError as exc:
        raise ConfigError(f"{shown}: {show.text(exc.message, max_chars=400)}") from None
