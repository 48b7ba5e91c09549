"""What the verbs of `belljar faker sessions` share: the store, and how one of them ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from belljar.config import Config
    from belljar.faker.sessions import SessionStore
    from belljar.faker.sessions.document import Recorded
    from belljar.faker.sessions.redact import Redactor

__all__ = ["ConfigFile", "Debug", "Json", "Which", "end", "opened", "recorded", "redactor"]

Which = Annotated[str, typer.Argument(metavar="SESSION", help="Its id, or enough of the beginning.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ConfigFile = Annotated[str | None, typer.Option("--config", help="In place of the user's belljar.toml.")]
Debug = Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")]


def end(body: Callable[[SessionStore, Config], int], config: str | None, debug: bool) -> None:
    from belljar.cli import _ending, _setup

    if debug:
        _ending.log_to_stderr()
    file = None if config is None else Path(config)

    def with_store() -> int:
        settled = _setup.configure(config=file)
        with opened(settled) as store:
            return body(store, settled)

    raise typer.Exit(_ending.ending(with_store, debug=debug))


def opened(config: Config) -> SessionStore:
    """The sessions, those ended whose fakers are gone."""
    from belljar.faker.sessions import FILE, SessionStore

    store = SessionStore(config.paths.state / "faker" / FILE)
    store.reap()
    return store


def recorded(store: SessionStore, which: str) -> Recorded:
    session = store.session(which)
    return session, store.events(session.id), store.tools(session.id)


def redactor(config: Config) -> Redactor:
    """Both passes, under this user's key."""
    from belljar.cli._setup import servers_of
    from belljar.faker.sessions.redact import Redactor
    from belljar.tracing.outbound import Outbound
    from belljar.tracing.pseudonyms import load_or_make
    from belljar.tracing.sanitizer import Sanitizer
    from belljar.tracing.second_pass import SecondPass

    key = load_or_make(config.paths.state / "pseudonym.key")
    known = {secret for spec in servers_of(config).values() for secret in spec.secrets}
    second = SecondPass(pseudonym_key=key, spacy_model=config.tracing.spacy_model)
    return Redactor(Outbound(Sanitizer(known=known, pseudonym_key=key), second))
