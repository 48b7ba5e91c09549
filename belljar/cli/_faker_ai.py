"""The model that stands in for missing targets, if the environment names one: `BELLJAR_AI_URL`, `_MODEL`, `_KEY`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from belljar.faker.ai import Completer

__all__ = ["completer"]


def completer(environ: Mapping[str, str]) -> Completer | None:
    """It, with its prompts masked on their way out; None where no URL is named.

    Raises:
        ConfigError: the URL leads elsewhere without https.
    """
    if not environ.get("BELLJAR_AI_URL"):
        return None
    from belljar.faker.ai import ChatCompleter, chat_settings
    from belljar.tracing.outbound import Outbound
    from belljar.tracing.sanitizer import Sanitizer

    settings = chat_settings(environ)
    assert settings is not None
    known = () if settings.key is None else (settings.key,)
    return ChatCompleter(settings, Outbound(Sanitizer(known=known)))
