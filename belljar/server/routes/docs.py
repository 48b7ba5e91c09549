"""/docs: the OpenAPI document as a page. Made here, of text alone: no script, no font, no request to anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

__all__ = ["page", "router"]

router = APIRouter(include_in_schema=False)

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{overflow:auto;border:1px solid #8886;padding:.6rem;border-radius:.3rem}
summary{cursor:pointer;padding:.4rem 0}
details{border-top:1px solid #8886}
table{border-collapse:collapse}td{padding:.1rem 1rem .1rem 0;vertical-align:top}
.method{display:inline-block;min-width:4.5rem;font-weight:700}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The page."""
    return HTMLResponse(page(request.app.openapi()), headers={"content-security-policy": _POLICY})


def page(document: dict[str, Any]) -> str:
    """An OpenAPI document as HTML."""
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    body = "".join(_operations(document))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{escape(info.get('description', ''))}</p>"
        f'<p><a href="/openapi.json">openapi.json</a></p>{body}</html>'
    )


def _operations(document: dict[str, Any]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (
                f'<details><summary><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code> '
                f"{escape(operation.get('summary', ''))}</summary><p>{escape(operation.get('description', ''))}</p>"
                f"{_parameters(operation)}{_body(operation)}{_answers(operation)}</details>"
            )


def _parameters(operation: dict[str, Any]) -> str:
    rows = [(p["name"], f"{p['in']}; {p.get('description', '')}") for p in operation.get("parameters", ())]
    return f"<h4>Parameters</h4>{_table(rows)}" if rows else ""


def _body(operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    examples = [f"<p><code>{escape(kind)}</code></p>{_example(entry)}" for kind, entry in content.items()]
    return f"<h4>Body</h4>{''.join(examples)}" if examples else ""


def _answers(operation: dict[str, Any]) -> str:
    answers: dict[str, Any] = operation.get("responses", {})
    examples = "".join(_example(entry) for a in answers.values() for entry in a.get("content", {}).values())
    return f"<h4>Answers</h4>{_table([(status, a.get('description', '')) for status, a in answers.items()])}{examples}"


def _example(entry: dict[str, Any]) -> str:
    return f"<pre>{escape(json.dumps(entry['example'], indent=2))}</pre>" if "example" in entry else ""


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td><code>{escape(str(a))}</code></td><td>{escape(b)}</td></tr>" for a, b in rows)
    return f"<table>{cells}</table>"
