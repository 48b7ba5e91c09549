"""The model that stands in for missing targets, if the environment names one: `BELLJAR_AI_URL`, `_MODEL`, `_KEY`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from belljar.config import Config
    from belljar.faker.ai import Completer

__all__ = ["completer"]


def completer(environ: Mapping[str, str], config: Config, secrets: Iterable[str]) -> Completer | None:
    """It, with its prompts masked on their way out; None where no URL is named.

    Args:
        secrets: what the servers are told and nobody else may know.

    Raises:
        ConfigError: the URL leads elsewhere without https, or the second pass has no such model.
    """
    if not environ.get("BELLJAR_AI_URL"):
        return None
    from belljar.faker.ai import ChatCompleter, chat_settings
    from belljar.tracing.outbound import Outbound
    from belljar.tracing.sanitizer import Sanitizer
    from belljar.tracing.second_pass import SecondPass

    settings = chat_settings(environ)
    assert settings is not None
    known = {secret for secret in (*secrets, settings.key, config.tracing.api_key) if secret}
    # Both passes: whoever runs the model keeps what it was asked.
    second = SecondPass(spacy_model=config.tracing.spacy_model)
    return ChatCompleter(settings, Outbound(Sanitizer(known=known), second))
