"""Reading mcp.json: what is taken, what is refused in one line, and what is never shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.errors import EXIT, ConfigError
from belljar.rpc.servers import ServerSpec, load_servers, parse_servers

ENVIRON = {"PATH": "/usr/bin", "HOME": "/home/ada", "SECRET": "s3cret-value", "AWS_KEY": "not for servers", "EMPTY": ""}


def read(**servers: Any) -> dict[str, ServerSpec]:
    return dict(parse_servers(json.dumps({"mcpServers": servers}), ENVIRON))


def test_a_program_is_read_whole() -> None:
    """Command, arguments, environment: expanded, with PATH and HOME and nothing else of ours."""
    spec = read(git={"command": "mcp-server-git", "args": ["-r", "."], "env": {"TOKEN": "${SECRET}"}, "cwd": "/tmp"})[
        "git"
    ]
    assert (spec.name, spec.command, spec.args, spec.cwd) == ("git", "mcp-server-git", ("-r", "."), "/tmp")
    assert dict(spec.env) == {"PATH": "/usr/bin", "HOME": "/home/ada", "TOKEN": "s3cret-value"}
    assert spec.env_names == ("TOKEN",)
    assert spec.trust == ""


def test_an_endpoint_is_read_whole() -> None:
    """URL and headers expand; what they hold counts as secret, in whole and without its scheme."""
    entry = {
        "url": "https://example.org:8443/mcp?k=${SECRET}",
        "headers": {"Authorization": "Bearer abcdef-123"},
        "type": "http",
        "trust": "annotations",
    }
    spec = read(web=entry)["web"]
    assert spec.url == "https://example.org:8443/mcp?k=s3cret-value"
    assert spec.origin == "https://example.org:8443"
    assert spec.trust == "annotations"
    assert spec.secrets == {"s3cret-value", "Bearer abcdef-123", "abcdef-123"}


def test_a_default_stands_in_for_a_variable() -> None:
    """`${VAR:-default}` for a variable that is unset or empty; a default is no secret."""
    env = {"A": "${NOPE:-plain-default}", "B": "${EMPTY:-x}", "C": "${SECRET:-y}", "D": "${EMPTY}", "E": "${NOPE:-}"}
    spec = read(s={"command": "c", "env": env})["s"]
    assert {name: spec.env[name] for name in env} == {
        "A": "plain-default",
        "B": "x",
        "C": "s3cret-value",
        "D": "",
        "E": "",
    }
    assert spec.secrets == {"s3cret-value"}


def test_secrets_are_known_and_never_shown() -> None:
    """Values from variables, and literals whose names say so; repr shows none, nor any URL or header."""
    env = {"API_KEY": "literal-key", "MODE": "fast", "X": "pre ${SECRET}", "P": "${HOME}/x"}
    program = read(s={"command": "c", "env": env})["s"]
    assert program.secrets == {"literal-key", "s3cret-value"}
    endpoint = read(w={"url": "https://u:pass-word@h.org/${SECRET}", "headers": {"X-Key": "header-value"}})["w"]
    assert endpoint.secrets == {"pass-word", "s3cret-value", "header-value"}
    shown = repr(program) + repr(endpoint) + str(program)
    for secret in program.secrets | endpoint.secrets:
        assert secret not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PWD", "hunter2x"),
        ("PIN", "4821"),
        ("PGUSER_CRED", "tiger"),
        ("SENTRY_DSN", "https://o1.ingest.example.org/2"),
        ("X", "Zx9kQ72mB4"),
        ("X", "correct horse battery"),
        ("X", "123456789"),
        ("X", "/k3Jd82hs9Qx71mNbv5Zt40Lp"),
        ("X", "https://hooks.example.org/T024BE7LD/x8Jd72hQ"),
        ("X", "k3jd82hs9qx71mnbv5zt40lp.example.org"),
    ],
)
def test_what_is_written_by_hand_into_env_is_a_secret(name: str, value: str) -> None:
    """F24: a literal needs no telling name; only what is plainly a setting is none."""
    assert value in read(s={"command": "c", "env": {name: value}})["s"].secrets


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODE", "fast"),
        ("API_KEY_REQUIRED", "true"),
        ("AUTH", "disabled"),
        ("LOG_LEVEL", "WARNING"),
        ("NODE_ENV", "production"),
        ("PORT", "8080"),
        ("LANG", "en_US.UTF-8"),
        ("TZ", "Europe/Berlin"),
        ("HOST", "db.example.org"),
        ("ORIGIN", "https://example.org:8443/"),
        ("BIND", "127.0.0.1"),
        ("NODE_OPTIONS", "--max-old-space-size=4096 --no-warnings"),
        ("ROOT", "/srv/data/repo"),
        ("PYTHONPATH", "/srv/a:/srv/b"),
        ("DIR", "~/notes"),
    ],
)
def test_a_plain_setting_is_no_secret(name: str, value: str) -> None:
    """Known values are masked wherever they stand; a port or a path would blank out half of every trace."""
    assert read(s={"command": "c", "env": {name: value}})["s"].secrets == frozenset()


def test_the_password_of_a_literal_url_is_known_alone() -> None:
    """F24: who has the URL has the password in it."""
    secrets = read(s={"command": "c", "env": {"DB": "postgres://bob:Zx9kQ72m@h/db"}})["s"].secrets
    assert secrets == {"postgres://bob:Zx9kQ72m@h/db", "Zx9kQ72m"}


def test_other_programs_keys_are_passed_over_and_grant_nothing() -> None:
    """`autoApprove` and friends are ignored; `disabled` leaves a server out."""
    noise = {"autoApprove": ["*"], "alwaysAllow": ["x"], "timeout": 3, "icon": {}}
    specs = read(
        a={"command": "c", **noise}, b={"command": "c", "disabled": True}, c={"command": "c", "disabled": False}
    )
    assert list(specs) == ["a", "c"]
    assert specs["a"] == read(a={"command": "c"})["a"]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"command": "c", "args": ["a", "--token=${SECRET}"]}, "s.args[1]: variables do not expand here"),
        ({"command": "${SECRET}"}, "s.command: variables do not expand here"),
        ({"command": "c", "cwd": "${HOME}"}, "s.cwd: variables do not expand here"),
        ({"command": "c", "env": {"K": "${NOPE}"}}, "s.env.K: the variable NOPE is not set"),
        ({"url": "https://h.org", "headers": {"K": "a ${NOPE}"}}, "s.headers.K: the variable NOPE is not set"),
        ({}, "s: give a command or a url"),
        ({"command": "c", "url": "https://h.org"}, "s: give a command or a url, not both"),
        ({"command": 5}, "s.command: must be text"),
        ({"command": ""}, "s.command: give a name to be found in PATH, or an absolute path"),
        ({"command": "./server"}, "s.command: give a name to be found in PATH, or an absolute path"),
        ({"command": "a\0b"}, "s.command: holds a NUL character"),
        ({"command": "c", "args": "x"}, "s.args: must be a list of texts"),
        ({"command": "c", "args": ["x", 1]}, "s.args[1]: must be text"),
        ({"command": "c", "env": []}, "s.env: must be an object"),
        ({"command": "c", "env": {"A=B": "x"}}, 's.env["A=B"]: is not a name that can stand here'),
        ({"command": "c", "env": {"A": None}}, "s.env.A: must be text"),
        ({"command": "c", "cwd": "here"}, "s.cwd: give an absolute path"),
        ({"command": "c", "headers": {}}, "s.headers: belongs to a url"),
        ({"command": "c", "disabled": "yes"}, "s.disabled: must be true or false"),
        ({"command": "c", "trust": "all"}, 's.trust: must be "annotations" or left out'),
        ({"command": "c", "trust": True}, "s.trust: must be text"),
        ({"command": "c", "type": "http"}, "s.type: does not fit a command; use stdio"),
        ({"url": "https://h.org", "type": "sse"}, "s.type: does not fit a url; use http"),
        ({"url": "https://h.org", "transport": "stdio"}, "s.transport: does not fit a url; use http"),
        ({"url": "https://h.org", "args": []}, "s.args: belongs to a command"),
        ({"url": "http://h.org/mcp"}, "s.url: must be https"),
        ({"url": "http://127.0.0.1.evil.org/"}, "s.url: must be https"),
        ({"url": "ftp://h.org"}, "s.url: must be https"),
        ({"url": "https://h.org:99999/"}, "s.url: is not a URL"),
        ({"url": "https:///x"}, "s.url: is not a URL"),
        ({"url": "https://h.org/a b"}, "s.url: is not a URL"),
        ({"url": "https://h.org/#x"}, "s.url: has a fragment"),
        ({"url": "https://h.org", "headers": {"K": "a\r\nX: y"}}, "s.headers.K: holds a character that no header"),
        ({"url": "https://h.org", "headers": {"K:": "a"}}, 's.headers["K:"]: is not a name'),
        ("c", "s: must be an object"),
        (None, "s: must be an object"),
    ],
)
def test_a_wrong_entry_is_one_line_that_says_where(entry: Any, complaint: str) -> None:
    """Each mistake is a ConfigError (exit 2) with the way to the place, and never a value."""
    with pytest.raises(ConfigError) as caught:
        read(s=entry)
    assert caught.value.message.startswith(f"mcp.json: mcpServers.{complaint}")
    assert EXIT[caught.value.code] == 2
    assert "\n" not in caught.value.message
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    "value",
    ["changeme", "CHANGE_ME", "change-this", "<your token>", "<TOKEN>", "your-api-key", "YOUR_API_KEY_HERE", "xxx",
     "XXXXXXXX", "sk-xxxxxxxx", "todo", "placeholder", "replace-me", "...", "***", "insert-your-key", "{{ token }}",
     "my-api-key",
     "Bearer <token>", "Bearer your-token", " changeme "],
)  # fmt: skip
def test_a_placeholder_is_named_before_anything_starts(value: str) -> None:
    """F15: KEY=changeme and what else READMEs say is a named error, also when it comes from a variable."""
    with pytest.raises(ConfigError, match=r"s\.env\.KEY: still holds a placeholder"):
        read(s={"command": "c", "env": {"KEY": value}})
    with pytest.raises(ConfigError, match=r"s\.headers\.KEY: still holds a placeholder"):
        parse_servers(
            json.dumps({"mcpServers": {"s": {"url": "https://h.org", "headers": {"KEY": "${V}"}}}}),
            {"V": value.strip()},
        )


@pytest.mark.parametrize(
    "value", ["", "xx", "yourself", "production", "sk-live-9f8a", '["a"]', "1", "my-bucket", "a<b>c"]
)
def test_what_only_looks_a_little_like_a_placeholder_is_taken(value: str) -> None:
    """Ordinary values pass."""
    assert read(s={"command": "c", "env": {"KEY": value}})["s"].env["KEY"] == value


@pytest.mark.parametrize(
    "url", ["http://localhost:1/mcp", "http://127.0.0.1/x", "http://127.8.8.8:80", "http://[::1]:9/"]
)
def test_plain_http_is_for_this_machine(url: str) -> None:
    """Loopback needs no TLS."""
    assert read(s={"url": url})["s"].url == url


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a/b", "a\n", "a\x1b[1m", "a\u202eb", "x" * 65])
def test_a_bad_name_is_refused(name: str) -> None:
    """A server's name goes into policies, logs and prompts: visible, short, without their separators."""
    with pytest.raises(ConfigError, match="a server's name has 1 to 64 visible characters") as caught:
        read(**{name: {"command": "c"}})
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "mcp.json: "),
        ("[]", "mcp.json: must be an object"),
        ("{}", "mcp.json: mcpServers: must be an object"),
        ('{"mcpServers": []}', "mcp.json: mcpServers: must be an object"),
        (
            '{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}',
            "mcp.json: an object with the same key twice",
        ),
        ('{"mcpServers": {' + " " * (1 << 20) + "}}", "mcp.json: longer than 1048576 bytes"),
        (b"\xff", "mcp.json: not UTF-8"),
    ],
)
def test_a_document_that_is_none_is_one_line(text: str | bytes, complaint: str) -> None:
    """Not JSON, not the shape, a server twice, too large."""
    with pytest.raises(ConfigError) as caught:
        parse_servers(text, {})
    assert caught.value.message.startswith(complaint)


def test_a_file_is_read_with_its_path_in_complaints(tmp_path: Path) -> None:
    """load_servers names the file; one that is missing, a folder, a FIFO or a device is an error, not a wait."""
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"a": {"command": "c"}}}')
    assert list(load_servers(file, ENVIRON)) == ["a"]
    file.write_text('{"mcpServers": {"a": {}}}')
    with pytest.raises(ConfigError, match=r"mcp\.json: mcpServers\.a: give a command or a url"):
        load_servers(file, ENVIRON)
    with pytest.raises(ConfigError, match="No such file or directory; give the path"):
        load_servers(tmp_path / "none.json", ENVIRON)
    with pytest.raises(ConfigError, match="not a file"):
        load_servers(tmp_path, ENVIRON)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="not a file"):
        load_servers(tmp_path / "fifo", ENVIRON)
    with pytest.raises(ConfigError, match="not a file"):
        load_servers(Path("/dev/zero"), ENVIRON)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["${SECRET}", "${", "${NOPE}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["command", "args", "env", "url", "headers", "type", "trust", "cwd", "disabled", "K"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=3))
def test_any_document_is_specs_or_one_config_error(servers: dict[str, Any]) -> None:
    """No JSON value of any shape raises anything else, and no complaint holds a secret."""
    complaint = ""
    try:
        read(**servers)
    except ConfigError as exc:
        complaint = exc.message
    assert "\n" not in complaint
    assert "s3cret-value" not in complaint
