"""A server of things, as a Python object behind the faker's own seam, and what reached it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from belljar.faker.calls import Call, Reply, Tool
from belljar.faker.world import FakeWorld

__all__ = ["Client", "Tracker", "text_of", "value_of"]

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}


def _listed(name: str, /, **properties: Any) -> Tool:
    schema = {
        "type": "object",
        "properties": properties,
        "required": [n for n, s in properties.items() if "default" not in s],
    }
    return Tool(name, {"name": name, "inputSchema": schema})


_TOOLS = {
    tool.name: tool
    for tool in (
        _listed("create_issue", repo=_STRING, title=_STRING, body={**_STRING, "default": ""}),
        _listed("get_issue", repo=_STRING, issue_number=_INTEGER),
        _listed("update_issue", repo=_STRING, issue_number=_INTEGER, title=_STRING),
        _listed("close_issue", repo=_STRING, issue_number=_INTEGER),
        _listed("delete_issue", repo=_STRING, issue_number=_INTEGER),
        _listed("list_issues", repo=_STRING, state={**_STRING, "default": "all"}),
        _listed("search_issues", query=_STRING),
        _listed("write_note", name=_STRING, content=_STRING),
        _listed("append_note", name=_STRING, content=_STRING),
        _listed("read_note", name=_STRING),
        _listed("delete_note", name=_STRING),
        _listed("rename_note", old_name=_STRING, new_name=_STRING),
        _listed("list_notes"),
        _listed("create_labels", labels={"type": "array"}),
        _listed("list_labels"),
        _listed("frobnicate", what={**_STRING, "default": ""}),
    )
}


class Tracker:
    """Issues with numbers, and notes with names. `asked` holds what reached it."""

    def __init__(self) -> None:
        self.issues = {n: {"number": n, "title": f"real {n}", "state": "open", "id": 500 + n} for n in (1, 2, 3)}
        self.notes = {"x.txt": "the text of x", "y.txt": "the text of y"}
        self.asked: list[str] = []

    async def answer(self, tool: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(tool)
        match tool:
            case "list_issues" | "search_issues":
                return _json({"issues": list(self.issues.values()), "total_count": len(self.issues)})
            case "get_issue":
                found = self.issues.get(args["issue_number"])
                return _json(found) if found else {**_text("Not Found"), "isError": True}
            case "list_notes":
                return _text("\n".join(f"- {name}" for name in self.notes))
            case "read_note":
                found = self.notes.get(args["name"])
                return _text(found) if found is not None else {**_text("no such note"), "isError": True}
            case "list_labels":
                return {**_json({"labels": ["bug", "idea"]}), "structuredContent": {"labels": ["bug", "idea"]}}
            case _:
                raise AssertionError(f"{tool} reached the target")


def _text(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


def _json(value: Any) -> dict[str, Any]:
    return _text(json.dumps(value))


class Client:
    """Calls a world as the proxy does."""

    def __init__(self, world: FakeWorld, tracker: Tracker | None, tools: Mapping[str, Tool] | None = None) -> None:
        self.world = world
        self.tracker = tracker
        self.tools = tools if tools is not None else _TOOLS

    async def __call__(self, tool: str, /, **args: Any) -> Reply:
        tracker = self.tracker
        ask = None if tracker is None else tracker.answer
        call = Call("tracker", self.tools[tool], args, tools=self.tools, ask=ask)
        return await self.world.call(call, None if tracker is None else lambda: tracker.answer(tool, args))


def text_of(reply: Reply) -> str:
    (block,) = reply.result["content"]
    return block["text"]


def value_of(reply: Reply) -> Any:
    return json.loads(text_of(reply))
