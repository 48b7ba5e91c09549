"""`belljar faker classify`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Belljar


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    file = tmp_path / "tools.json"
    listed = [
        {"name": "write_file"},
        {"name": "read_file", "annotations": {"readOnlyHint": True}},
        {"name": "\x1b[31mevil", "description": "<b>"},
    ]
    file.write_text(json.dumps(listed))
    return file


def test_tools_of_a_file(belljar: Belljar, tools: Path) -> None:
    """F53: each tool of the list has name, operation, risk and reason; what is unknown is a write."""
    done = belljar("faker", "classify", "--tools", str(tools), "--json")
    assert done.status == 0
    assert done.json == [
        {"name": "write_file", "operation": "write", "risk": "high", "reason": "verb write"},
        {"name": "read_file", "operation": "read", "risk": "low", "reason": "annotation readOnlyHint"},
        {"name": "\x1b[31mevil", "operation": "write", "risk": "low", "reason": "unknown name"},
    ]
    shown = belljar("faker", "classify", "--tools", str(tools))
    assert "write_file" in shown.out
    assert "\x1b" not in shown.out


def test_overrides_of_a_file(belljar: Belljar, tools: Path) -> None:
    """F54: an override wins; a file that is none is named, with exit 2."""
    overrides = tools.with_name("overrides.json")
    overrides.write_text('{"read_*": "write"}')
    done = belljar("faker", "classify", "--tools", str(tools), "--overrides", str(overrides), "--json")
    assert done.json[1] == {"name": "read_file", "operation": "write", "risk": "low", "reason": "override"}
    overrides.write_text('{"read_*": "maybe"}')
    done = belljar("faker", "classify", "--tools", str(tools), "--overrides", str(overrides))
    assert done.status == 2
    assert "read_*" in done.last()


@pytest.mark.parametrize("content", ["", "[]]", '{"name": "x"}', "[1]", '[{"name": 1}]'])
def test_a_list_that_is_none(belljar: Belljar, tools: Path, content: str) -> None:
    """Exit 2 and one line that says what to write."""
    tools.write_text(content)
    done = belljar("faker", "classify", "--tools", str(tools))
    assert done.status == 2
    assert len(done.err.strip().splitlines()) == 1


def test_tools_of_servers(belljar: Belljar) -> None:
    """The tools of configured servers are asked for, and the server is named with each."""
    config = belljar.folder / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"time": {"command": "mcp-server-time"}}}))
    done = belljar("faker", "classify", "--servers", str(config), "--json")
    assert {(each["server"], each["name"], each["operation"]) for each in done.json} == {
        ("time", "get_current_time", "read"),
        ("time", "convert_time", "read"),
    }
