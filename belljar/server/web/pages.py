"""The routes of the web UI, and `add_web`, which gives them to an application.

A page is made in one of the server's threads: who looks, what is stored, and the HTML, one after the other. What goes
wrong is a page too. Pages say what they may load: scripts and styles of this server and nothing else, none of it
inline; forms go nowhere else; nobody frames them. Without scripts everything can be read and done; htmx adds that the
list of traces follows what arrives and that filters take effect at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import HTMLResponse, Response

from belljar import __version__
from belljar.server import logs
from belljar.server.answers import encoded
from belljar.server.edge import request_id
from belljar.server.problems import Problem
from belljar.server.services import Services, now
from belljar.server.store import keys, maintenance, queries
from belljar.server.store.keys import Scope
from belljar.server.web import capabilities, views
from belljar.server.web.display import environment
from belljar.server.web.learning import learning_page
from belljar.server.web.session import HOME, Door, LoginNeeded, Viewer, form_of, local_path, redirect, to_login
from belljar.server.web.views import Wanted

__all__ = ["POLICY", "add_web"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# Same-origin: with no-referrer a browser says `Origin: null` when it sends our forms.
_HEADERS = {"content-security-policy": POLICY, "referrer-policy": "same-origin"}
_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_MAX_KEYS = 500
_DAYS = {"": "until it is revoked", "7": "for 7 days", "30": "for 30 days", "90": "for 90 days", "365": "for a year"}
_UNCHANGED = 204

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Web:
    """What the pages of one application share."""

    def __init__(self, parts: Services) -> None:
        self.parts = parts
        self.door = Door(parts)
        self._files = {file.name: file.read_bytes() for file in _STATIC.iterdir() if file.suffix in _TYPES}
        self._templates = environment()
        shared: dict[str, Any] = {
            "version": __version__,
            "static": {name: f"/static/{name}?v={_digest(data)}" for name, data in self._files.items()},
        }
        self._templates.globals |= shared  # pyright: ignore[reportUnknownMemberType]  # of anything, says Jinja

    def page(self, template: str, viewer: Viewer | None, status: int = 200, /, **values: Any) -> Response:
        """A template as an answer."""
        given = {"viewer": viewer, "open": self.door.open, **values}
        html = self._templates.get_template(template).render(given)
        return HTMLResponse(html.encode("utf-8", "replace"), status, headers=_HEADERS)

    def file(self, name: str) -> Response:
        """A style, a script or a picture. Its address holds its digest: it may be kept for ever."""
        data = self._files.get(name)
        if data is None:
            raise Problem(404, "there is no such file")
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(data, headers=headers, media_type=_TYPES[Path(name).suffix])


def add_web(app: FastAPI) -> None:
    """Give an application of `create_app` the web UI."""
    app.state.web = Web(app.state.services)
    app.include_router(router)


class _Page(APIRoute):
    """A route whose problems are pages."""

    def get_route_handler(self) -> _Handler:
        """As FastAPI's, with a way out for each thing that ends a page early."""
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await answer(request)
            except LoginNeeded:
                return to_login(request)
            except Problem as problem:
                return _problem(request, problem)

        return handler


router = APIRouter(include_in_schema=False, route_class=_Page)


def _problem(request: Request, problem: Problem) -> Response:
    response = _web(request).page(
        "problem.html",
        None,
        problem.status,
        title=HTTPStatus(problem.status).phrase,
        detail=problem.detail,
        request_id=request_id(request.scope),
    )
    response.headers.update(problem.headers)
    return response


def _web(request: Request) -> Web:
    return cast("Web", request.app.state.web)


async def _answer(request: Request, make: Callable[[Web, Viewer], Response], scope: Scope = Scope.READ) -> Response:
    """What `make` gives, for whoever may see it."""
    web = _web(request)
    return await web.parts.run("page", lambda: make(web, web.door.viewer(request, scope)))


async def _done(
    request: Request, make: Callable[[Web, Viewer, dict[str, str]], Response], scope: Scope = Scope.READ
) -> Response:
    """The same for a form: the token is checked before anything is done."""
    web = _web(request)
    form = await form_of(request, web.parts)

    def work() -> Response:
        viewer = web.door.viewer(request, scope)
        web.door.check(viewer, form)
        return make(web, viewer, form)

    return await web.parts.run("form", work)


# In and out


@router.get("/")
async def home() -> Response:
    """The list of traces is where one begins."""
    return redirect(HOME)


@router.get("/login")
async def login(request: Request) -> Response:
    """The form; who is in already goes on."""
    web = _web(request)

    def work() -> Response:
        onward = local_path(request.query_params.get("next", ""))
        try:
            web.door.viewer(request)
        except LoginNeeded:
            return _login_form(request, web, onward, "")
        return redirect(onward)

    return await web.parts.run("login", work)


def _login_form(request: Request, web: Web, onward: str, complaint: str, status: int = 200) -> Response:
    token = web.door.login_token(request)
    any_key = keys.any_key(web.parts.db, now=now())
    page = web.page("login.html", None, status, token=token, onward=onward, complaint=complaint, any_key=any_key)
    return web.door.remember_login(request, page, token)


@router.post("/login")
async def enter(request: Request) -> Response:
    """Log in with a key."""
    web = _web(request)
    if web.door.open:
        return redirect(HOME)
    form = await form_of(request, web.parts)

    def work() -> Response:
        try:
            return web.door.enter(request, form)
        except Problem as problem:
            onward = local_path(form.get("next", ""))
            response = _login_form(request, web, onward, problem.detail, problem.status)
            response.headers.update(problem.headers)
            return response

    return await web.parts.run("login", work)


@router.post("/logout")
async def leave(request: Request) -> Response:
    """Log out."""
    return await _done(request, lambda web, viewer, form: web.door.leave(request, viewer))


# Traces


@router.get("/traces")
async def traces(request: Request) -> Response:
    """The list, with its filter."""
    return await _answer(request, lambda web, viewer: _list(request, web, viewer, "traces.html"))


@router.get("/traces/rows")
async def rows(request: Request) -> Response:
    """The first page of the list alone, for those who have it: nothing if it is still the same."""

    def make(web: Web, viewer: Viewer) -> Response:
        return _list(request, web, viewer, "rows.html", seen=request.query_params.get("seen", ""))

    return await _answer(request, make)


def _list(request: Request, web: Web, viewer: Viewer, template: str, seen: str | None = None) -> Response:
    params = request.query_params
    wanted, cursor = Wanted.of(params), params.get("cursor", "") if seen is None else ""
    found = views.trace_list(web.parts.db, viewer.who.tenant_id, wanted, cursor, now())
    if seen == found.seen:
        return Response(status_code=_UNCHANGED, headers=_HEADERS)
    live = not cursor and params.get("live", "") != "off"
    return web.page(
        template, viewer, here="traces", list=found, live=live, spans=views.SPANS, address=_address(request)
    )


def _address(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


@router.get("/traces/{trace_id}")
async def trace(request: Request, trace_id: str) -> Response:
    """One trace."""

    def make(web: Web, viewer: Viewer) -> Response:
        found = views.trace_page(web.parts.db, viewer.who.tenant_id, trace_id)
        if found is None:
            raise Problem(404, "there is no such trace")
        return web.page("trace.html", viewer, here="traces", trace=found)

    return await _answer(request, make)


@router.get("/traces/{trace_id}/json")
async def trace_json(request: Request, trace_id: str) -> Response:
    """One trace as it is stored, to keep: a download, so that no browser shows it as something of ours."""

    def make(web: Web, viewer: Viewer) -> Response:
        found = queries.get_trace(web.parts.db, viewer.who.tenant_id, trace_id)
        if found is None:
            raise Problem(404, "there is no such trace")
        name = f"trace-{found.summary.trace_id}.json"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(encoded(found.to_wire()), headers=headers, media_type="application/json")

    return await _answer(request, make)


@router.post("/traces/{trace_id}/anonymize")
async def anonymize(request: Request, trace_id: str) -> Response:
    """Take out of one trace what could say who or what."""

    def make(web: Web, viewer: Viewer, _form: dict[str, str]) -> Response:
        if not maintenance.anonymize(web.parts.db, viewer.who.tenant_id, [trace_id], now=now()):
            raise Problem(404, "there is no such trace")
        logs.event("trace anonymized", by=viewer.who.key_id)
        return redirect(f"/traces/{trace_id}")

    return await _done(request, make, Scope.ADMIN)


# Capabilities


@router.get("/capabilities")
async def capability_list(request: Request) -> Response:
    """All of them, by name."""
    after = request.query_params.get("after", "")

    def make(web: Web, viewer: Viewer) -> Response:
        found = capabilities.capabilities(web.parts.db, viewer.who.tenant_id, after=after)
        return web.page("capabilities.html", viewer, here="capabilities", names=found, after=after)

    return await _answer(request, make)


@router.get("/capability")
async def capability(request: Request) -> Response:
    """One of them; its name is in the query, because a name nobody could parse may hold anything."""
    name = request.query_params.get("name", "")

    def make(web: Web, viewer: Viewer) -> Response:
        found = views.capability_page(web.parts.db, viewer.who.tenant_id, name)
        if found is None:
            raise Problem(404, "no capability of this name ran or was published")
        return web.page("capability.html", viewer, here="capabilities", page=found)

    return await _answer(request, make)


# Learning


@router.get("/learning")
async def learning(request: Request) -> Response:
    """What was learned and why it is believed; with a question in the query, what would be suggested."""

    def make(web: Web, viewer: Viewer) -> Response:
        page = learning_page(web.parts.db, web.parts.scoring, viewer.who.tenant_id, request.query_params, now=now())
        return web.page("learning.html", viewer, here="learning", page=page, address=_address(request))

    return await _answer(request, make)


# Keys


@router.get("/keys")
async def key_list(request: Request) -> Response:
    """The tenant's keys."""
    return await _answer(request, lambda web, viewer: _keys(web, viewer), Scope.ADMIN)


@router.post("/keys/create")
async def create_key(request: Request) -> Response:
    """Make a key and show it, this once."""

    def make(web: Web, viewer: Viewer, form: dict[str, str]) -> Response:
        scopes, label = filter(None, form["scopes"].split(",")), form.get("label", "").strip()
        at, days = now(), form.get("days", "")
        if days not in _DAYS:
            raise Problem(400, "a key works for one of the times that the form offers")
        ends = at + timedelta(days=int(days)) if days else None
        made = keys.create_key(web.parts.db, viewer.who.tenant, list(scopes), label=label, expires_at=ends, now=at)
        logs.event("key created", key=made.id, by=viewer.who.key_id)
        return _keys(web, viewer, made=made)

    return await _done(request, make, Scope.ADMIN)


@router.post("/keys/revoke")
async def revoke_key(request: Request) -> Response:
    """End a key of this tenant, and its sessions."""

    def make(web: Web, viewer: Viewer, form: dict[str, str]) -> Response:
        key_id = form.get("id", "")
        if not keys.revoke_key(web.parts.db, key_id, now=now(), tenant_name=viewer.who.tenant):
            raise Problem(404, "there is no such key, or it was revoked before")
        logs.event("key revoked", key=key_id, by=viewer.who.key_id)
        return redirect("/keys")

    return await _done(request, make, Scope.ADMIN)


def _keys(web: Web, viewer: Viewer, made: keys.NewKey | None = None) -> Response:
    """Working ones first, the newest first."""
    at, found = now(), keys.list_keys(web.parts.db, viewer.who.tenant)
    found.sort(key=lambda key: (key.works(at), key.created_at), reverse=True)
    left_out = max(0, len(found) - _MAX_KEYS)
    return web.page(
        "keys.html",
        viewer,
        here="keys",
        keys=found[:_MAX_KEYS],
        left_out=left_out,
        made=made,
        scopes=list(Scope),
        days=_DAYS,
        at=at,
    )


# The rest


@router.get("/status")
async def status(request: Request) -> Response:
    """What is stored, and how the process does."""

    def make(web: Web, viewer: Viewer) -> Response:
        found = views.status(web.parts, viewer.who.tenant_id, admin=viewer.admin, now=now())
        return web.page("status.html", viewer, here="status", status=found)

    return await _answer(request, make)


@router.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    """Open to everybody: the login page needs them."""
    return _web(request).file(name)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
