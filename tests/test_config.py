"""Configuration: who may say what, in which order, and what becomes of mistakes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from belljar.cli._config import load
from belljar.config import Config, PoolConfig, TracingConfig
from belljar.errors import EXIT, Code, ConfigError
from belljar.limits import MIB, Limits

KEY = "bj_0123456789abcdef0123456789abcdef"

USER = """
servers = "mcp.json"
[limits]
wall = 10
memory = "128MiB"
[policy]
allow = ["git:*"]
deny = ["git:git_push"]
ask = ["git:git_commit"]
auto = ["git:git_show"]
[tracing]
enabled = false
cloud_url = "https://traces.example.com"
batch_size = 5
flush_interval_s = 1
max_retries = 0
exit_flush_s = 0.5
raw = true
[pool]
reuse = 4
size = 2
idle_s = 5
"""


class Place:
    """A home folder and a working directory."""

    def __init__(self, root: Path) -> None:
        self.home, self.cwd = root / "home", root / "cwd"
        self.user = self.home / ".config" / "belljar" / "belljar.toml"
        self.project = self.cwd / "belljar.toml"
        self.user.parent.mkdir(parents=True)
        self.cwd.mkdir()

    def load(self, environ: dict[str, str] | None = None, **options: Any) -> Config:
        return load(environ={"HOME": str(self.home)} | (environ or {}), cwd=self.cwd, **options)

    def refused(self, environ: dict[str, str] | None = None, **options: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load(environ, **options)
        message = caught.value.message
        assert EXIT[caught.value.code] == 2
        assert caught.value.code is Code.CONFIG_ERROR
        assert message.isprintable()
        assert len(message) < 1000
        return message


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_anything_the_defaults_hold(place: Place) -> None:
    """No file, no variable: documented limits, everything asks, traces stay here, folders by the XDG rules."""
    config = place.load()
    assert config.limits == Limits()
    assert config.policy.facts() == {"allow": [], "deny": [], "ask": [], "auto": []}
    assert config.tracing == TracingConfig(
        enabled=True, cloud_url=None, api_key=None, batch_size=10, flush_interval_s=5
    )
    assert config.pool == PoolConfig(reuse=1)
    assert config.servers is None
    assert config.paths.state == place.home / ".local/state/belljar"
    assert config.paths.data == place.home / ".local/share/belljar"
    assert config.paths.cache == place.home / ".cache/belljar"


def test_the_users_file_says_everything(place: Place) -> None:
    """F29: each key arrives in its place; batch and interval are configurable; paths are beside the file."""
    place.user.write_text(USER)
    config = place.load()
    assert (config.limits.wall, config.limits.memory) == (10.0, 128 * MIB)
    lists = {"allow": ["git:*"], "deny": ["git:git_push"], "ask": ["git:git_commit"], "auto": ["git:git_show"]}
    assert config.policy.facts() == lists
    assert config.tracing == TracingConfig(
        enabled=False,
        cloud_url="https://traces.example.com",
        batch_size=5,
        flush_interval_s=1,
        max_retries=0,
        exit_flush_s=0.5,
        raw=True,
    )
    assert config.pool == PoolConfig(reuse=4, size=2, idle_s=5)
    assert config.servers == place.user.parent / "mcp.json"
    place.user.write_text('servers = "~/mcp.json"')
    assert place.load().servers == place.home / "mcp.json"


def test_which_file_is_the_users(place: Place, tmp_path: Path) -> None:
    """--config, then BELLJAR_CONFIG, then XDG_CONFIG_HOME, then ~/.config; a relative XDG path counts as not set."""
    walls: dict[str, Path] = {}
    for wall, path in enumerate(("option.toml", "variable.toml", "xdg/belljar/belljar.toml"), 1):
        walls[path] = tmp_path / path
        walls[path].parent.mkdir(parents=True, exist_ok=True)
        walls[path].write_text(f"limits.wall = {wall}")
    place.user.write_text("limits.wall = 4")
    option, variable, xdg = walls["option.toml"], {"BELLJAR_CONFIG": str(walls["variable.toml"])}, str(tmp_path / "xdg")
    assert place.load(variable | {"XDG_CONFIG_HOME": xdg}, file=option).limits.wall == 1
    assert place.load(variable | {"XDG_CONFIG_HOME": xdg}).limits.wall == 2
    assert place.load({"XDG_CONFIG_HOME": xdg}).limits.wall == 3
    assert place.load({"XDG_CONFIG_HOME": "xdg", "BELLJAR_CONFIG": ""}).limits.wall == 4
    assert place.load({"XDG_STATE_HOME": xdg}).paths.state == tmp_path / "xdg" / "belljar"
    assert "no configuration file" in place.refused(file=tmp_path / "none.toml")
    assert "no configuration file" in place.refused({"BELLJAR_CONFIG": "none.toml"})


def test_options_stand_above_files_and_environment_above_the_file(place: Place) -> None:
    """The nearer word counts; patterns of options are added to those of the file."""
    place.user.write_text(USER)
    config = place.load(
        {"BELLJAR_CLOUD_URL": "http://127.0.0.1:8000", "BELLJAR_API_KEY": KEY},
        limits={"wall": "2"},
        allow=["time:*"],
        deny=["*"],
        auto=["time:*"],
        servers=Path("other.json"),
    )
    assert config.limits.wall == 2
    assert config.policy.allow == ("git:*", "time:*")
    assert config.policy.deny == ("git:git_push", "*")
    assert config.policy.auto == ("git:git_show", "time:*")
    assert (config.tracing.cloud_url, config.tracing.api_key) == ("http://127.0.0.1:8000", KEY)
    assert config.servers == place.cwd / "other.json"


def test_no_secret_is_in_a_repr(place: Place) -> None:
    """What is printed or logged of a configuration does not hold the key."""
    config = place.load({"BELLJAR_API_KEY": KEY})
    assert config.tracing.api_key == KEY
    assert KEY not in f"{config!r}{config.tracing!s}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[limits]\nwal = 1", "[limits] wal is no key we know; did you mean wall?"),
        ("[polcy]\nallow = []", "polcy is no key we know; did you mean policy?"),
        ("[tracing]\nbatchsize = 1", "did you mean batch_size?"),
        ("[pool]\nqqq = 1", "[pool] qqq is no key we know; there are: idle_s, reuse, size"),
        ('"\\u001b[2J" = 1', r"\x1b[2J is no key we know"),
        ("[limits]\nwall = '1MiB'", "limit wall=1MiB"),
        ('[limits]\nwall = "\\u001b[2J"', r"limit wall=\x1b[2J"),
        ("[limits]\nwall = true", "[limits] wall must be a number"),
        ("[limits]\nwall = nan", "limit wall=nan"),
        ("[limits]\nwall = -1", "limit wall=-1"),
        ("limits = 1", "limits must be a table"),
        ("[policy]\nallow = 'git:*'", "[policy] allow must be a list of patterns"),
        ("[policy]\nallow = ['git']", "no pattern: 'git'"),
        ("[tracing]\nenabled = 1", "[tracing] enabled must be true or false"),
        ("[tracing]\nbatch_size = 1.5", "[tracing] batch_size must be a whole number"),
        ("[tracing]\nbatch_size = true", "[tracing] batch_size must be a whole number"),
        ("[tracing]\nbatch_size = 0", "tracing.batch_size = 0: must be more than 0"),
        ("[tracing]\nflush_interval_s = inf", "tracing.flush_interval_s = inf: must be more than 0"),
        ("[tracing]\nmax_retries = -1", "must be 0 or more"),
        ("[tracing]\ncloud_url = 'http://example.com'", "must begin with https://"),
        ("[tracing]\ncloud_url = 'https://user:pw@example.com'", "BELLJAR_API_KEY"),
        ("[tracing]\ncloud_url = 'https://example.com?key=pw'", "query or fragment"),
        ("[tracing]\ncloud_url = 'https://[pw'", "is no URL"),
        ("[tracing]\ncloud_url = 'file:///pw'", "is no URL"),
        ("[pool]\nreuse = 0", "pool.reuse = 0: must be more than 0"),
        ("servers = ['pw']", "servers must be the path of an mcp.json"),
        ("[tool.belljar]\nlimits.wall = 1\n[tool.x]\n[x]", "beside [tool.belljar]: x is no key we know"),
        ("x = ", "no valid TOML"),
        ("x = " + "[" * 4000, "nested too deeply"),
        ("x" + ".x" * 4000 + " = 1", "longer than 4096"),
        ("# x\n" * 20_000, "more than 65536 bytes"),
    ],
)
def test_a_mistake_in_the_users_file_is_named(place: Place, text: str, words: str) -> None:
    """File, key and what to write instead, in one line; a password in the wrong place is not repeated."""
    place.user.write_text(text)
    message = place.refused()
    assert words in message
    assert message.startswith(str(place.user))
    assert "pw" not in message.removeprefix(str(place.user))


@pytest.mark.parametrize(
    "line", ["api_key = '{}'", "[tracing]\napi_key = '{}'", "[tracing]\nAPI_KEY = '{}'", "token = '{}'"]
)
@pytest.mark.parametrize("where", ["user", "project"])
def test_a_key_belongs_in_no_file(place: Place, line: str, where: str) -> None:
    """The message names the variable and not the key."""
    getattr(place, where).write_text(line.format(KEY))
    message = place.refused()
    assert "set the variable BELLJAR_API_KEY" in message
    assert KEY not in message


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"BELLJAR_CLOUD_URL": "http://example.com"}, "must begin with https://"),
        ({"BELLJAR_CLOUD_URL": "http://localhost.example.com"}, "must begin with https://"),
        ({"BELLJAR_CLOUD_URL": "https://example.com\r\nx: y"}, "is no URL"),
        ({"BELLJAR_API_KEY": f"{KEY}\r\nx: y"}, "the API key"),
        ({"BELLJAR_API_KEY": f"'{KEY} '"}, "the API key"),
    ],
)
def test_a_mistake_in_the_environment_is_named(place: Place, environ: dict[str, str], words: str) -> None:
    """A key or URL that could break a request is refused; the key is not shown."""
    message = place.refused(environ)
    assert words in message
    assert "the environment" in message
    assert KEY not in message


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "http://[::1]:9", "http://localhost", "https://example.com/base"]
)
def test_urls_that_may_be_used(place: Place, url: str) -> None:
    """https anywhere, http on this machine."""
    assert place.load({"BELLJAR_CLOUD_URL": url}).tracing.cloud_url == url


@pytest.mark.parametrize("form", ["{}", "[tool.belljar]\n{}"])
def test_a_project_file_narrows(place: Place, form: str) -> None:
    """F12: smaller limits and more denials count, also against options; larger limits are without effect."""
    place.user.write_text(USER)
    place.project.write_text(form.format('limits.wall = 5\nlimits.memory = "1GiB"\npolicy.deny = ["git:*"]'))
    config = place.load(limits={"wall": "20", "calls": "7"}, allow=["git:git_log"])
    assert (config.limits.wall, config.limits.memory, config.limits.calls) == (5.0, 128 * MIB, 7)
    assert config.policy.deny == ("git:git_push", "git:*")
    assert config.policy.allow == ("git:*", "git:git_log")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[policy]\nallow = ['*']", "[policy] allow"),
        ("[policy]\nask = []", "[policy] ask"),
        ("[policy]\nauto = ['*']", "[policy] auto"),
        ("servers = 'mcp.json'", "servers"),
        ("[tracing]\ncloud_url = 'https://evil.example.com'", "tracing"),
        ("[tracing]\nenabled = false", "tracing"),
        ("[pool]\nreuse = 100", "pool"),
        ("anything = 1", "anything"),
    ],
)
def test_a_project_file_that_would_widen_is_refused(place: Place, text: str, what: str) -> None:
    """F12: exit 2, naming the file, the line and where it may stand."""
    place.project.write_text(text)
    message = place.refused()
    assert message.startswith(f"{place.project}: {what} may not stand in a project file")
    assert "BELLJAR_CONFIG" in message


def test_the_users_own_file_is_no_project_file(place: Place) -> None:
    """Working in the folder of one's own configuration, or naming it, changes nothing."""
    place.project.write_text(USER)
    assert place.load(file=Path("belljar.toml")).policy.allow == ("git:*",)
    place.project.unlink()
    place.user.write_text(USER)
    place.project.symlink_to(place.user)
    assert place.load().policy.allow == ("git:*",)


def test_what_is_no_file_does_not_hold_us(place: Place) -> None:
    """A FIFO, a directory or a dangling link left in a working directory ends in an error, at once."""
    os.mkfifo(place.project)
    assert "is no regular file" in place.refused()
    place.project.unlink()
    place.project.mkdir()
    assert "is no regular file" in place.refused()
    place.project.rmdir()
    place.project.symlink_to("nowhere")
    assert "no configuration file" in place.refused()
    place.project.unlink()
    place.project.write_bytes(b"\xff")
    assert "is not UTF-8" in place.refused()


def test_options_that_are_none_are_refused(place: Place) -> None:
    """Limits and patterns of the command line are checked by the same rules."""
    assert "wal" in place.refused(limits={"wal": "1"})
    assert "no pattern" in place.refused(allow=["git"])
    assert "no pattern" in place.refused(auto=["git"])
