"""What the standard `OTEL_*` variables ask for, read once from a mapping. Pure; no OpenTelemetry is imported.

Spans are asked for by an OTLP endpoint or by `OTEL_TRACES_EXPORTER`. A value that means nothing is warned about and
passed over, as the specification says; only what would make every span go nowhere is an error. An empty variable is an
unset one. No message holds a value of a header or of an endpoint.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

from belljar import show
from belljar.errors import ConfigError
from belljar.tracing.spans.ids import SpanRef, parse_traceparent
from belljar.tracing.spans.sampling import RatioSampler

__all__ = ["Settings", "read"]

_log = logging.getLogger("belljar.otel")

Exporter = Literal["otlp", "console"]

_KNOWN = ("otlp", "console")
_LOCAL = "http://localhost:4318"
_PATH = "/v1/traces"
_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURES = frozenset({"true", "span_only", "span_and_event"})
_COMPRESSIONS = ("none", "gzip", "deflate")
# Shorter values would blank out half of every trace.
_MIN_SECRET = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for."""

    exporters: tuple[Exporter, ...]
    endpoint: str = field(repr=False)
    """Where OTLP spans are posted to: the whole URL."""
    headers: Mapping[str, str] = field(repr=False)
    resource: Mapping[str, str]
    sampler: RatioSampler
    timeout_s: float = 10.0
    compression: str = "none"
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None
    queue: int = 2048
    batch: int = 512
    delay_ms: float = 5000.0
    content: bool = False
    parent: SpanRef | None = None

    @property
    def origin(self) -> str:
        """`https://host:port` of the endpoint, fit to be shown."""
        parts = urlsplit(self.endpoint)
        return show.name(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")

    @property
    def secrets(self) -> frozenset[str]:
        """Values that must not be seen in a trace: the headers', and a password in the endpoint."""
        found = set(self.headers.values()) | {value.partition(" ")[2] for value in self.headers.values()}
        found.add(unquote(urlsplit(self.endpoint).password or ""))
        return frozenset(value for value in found if len(value) >= _MIN_SECRET)


def read(environ: Mapping[str, str]) -> Settings | None:
    """What the environment asks for; None if that is nothing.

    Raises:
        ConfigError: spans are asked for in a way that is not there.
    """
    values = _Values(environ)
    exporters = _exporters(values)
    if not exporters:
        return None
    queue = values.whole("OTEL_BSP_MAX_QUEUE_SIZE", 2048)
    return Settings(
        exporters=exporters,
        endpoint=_endpoint(values, used="otlp" in exporters),
        headers=_pairs(values, *values.otlp("HEADERS"), lower=True),
        resource=_resource(values),
        sampler=_sampler(values),
        timeout_s=values.number(values.otlp("TIMEOUT")[0], 10.0, least=0.001),
        compression=values.one_of(values.otlp("COMPRESSION")[0], _COMPRESSIONS, "none"),
        certificate=values.otlp("CERTIFICATE")[1] or None,
        client_key=values.otlp("CLIENT_KEY")[1] or None,
        client_certificate=values.otlp("CLIENT_CERTIFICATE")[1] or None,
        queue=queue,
        batch=min(queue, values.whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)),
        delay_ms=values.number("OTEL_BSP_SCHEDULE_DELAY", 5000.0, least=1.0),
        content=values.get(_CAPTURE).lower() in _CAPTURES,
        parent=parse_traceparent(values.get("TRACEPARENT").lower()),
    )


class _Values:
    """Variables of an environment, without the blanks around them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def otlp(self, what: str) -> tuple[str, str]:
        """Name and value of the variable for traces, or else of the one for everything."""
        own = f"OTEL_EXPORTER_OTLP_TRACES_{what}"
        name = own if self.get(own) else f"OTEL_EXPORTER_OTLP_{what}"
        return name, self.get(name)

    def number(self, name: str, default: float, *, least: float) -> float:
        try:
            found = float(self.get(name) or default)
            if math.isfinite(found) and found >= least:
                return found
        except ValueError:
            pass
        _log.warning("%s is not a number from %g; %g is taken", name, least, default)
        return default

    def whole(self, name: str, default: int) -> int:
        return int(self.number(name, default, least=1))

    def one_of(self, name: str, known: tuple[str, ...], default: str) -> str:
        found = self.get(name).lower() or default
        if found in known:
            return found
        _log.warning("%s is none of %s; %s is taken", name, ", ".join(known), default)
        return default


def _exporters(values: _Values) -> tuple[Exporter, ...]:
    if values.get("OTEL_SDK_DISABLED").lower() == "true":
        return ()
    asked = [name.strip().lower() for name in values.get("OTEL_TRACES_EXPORTER").split(",") if name.strip()]
    if not asked:
        return ("otlp",) if values.otlp("ENDPOINT")[1] else ()
    if "none" in asked:
        return ()
    unknown = [name for name in asked if name not in _KNOWN]
    if len(unknown) == len(asked):
        raise ConfigError(
            f"OTEL_TRACES_EXPORTER={show.text(unknown[0], max_chars=40)} is not known; use otlp, console or none"
        )
    if unknown:
        _log.warning("OTEL_TRACES_EXPORTER names more than otlp and console; the rest is passed over")
    return tuple(name for name in _KNOWN if name in asked)


def _endpoint(values: _Values, *, used: bool) -> str:
    name, found = values.otlp("ENDPOINT")
    if not used:
        return _LOCAL + _PATH
    protocol, asked = values.otlp("PROTOCOL")
    if asked and asked != "http/protobuf":
        raise ConfigError(f"{protocol}={show.text(asked, max_chars=40)} is not spoken; set it to http/protobuf")
    url = found if found and "TRACES" in name else (found or _LOCAL).rstrip("/") + _PATH
    if not _is_http(url):
        raise ConfigError(f"{name} is no http or https URL; set it to one such as {_LOCAL}")
    return url


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _sampler(values: _Values) -> RatioSampler:
    name = values.get("OTEL_TRACES_SAMPLER").lower() or "parentbased_always_on"
    kind = name.removeprefix("parentbased_")
    if kind == "traceidratio":
        ratio = values.number("OTEL_TRACES_SAMPLER_ARG", 1.0, least=0.0)
        if ratio > 1.0:
            _log.warning("OTEL_TRACES_SAMPLER_ARG is over 1; 1 is taken")
        return RatioSampler(min(ratio, 1.0), parent_based=name != kind)
    if kind not in ("always_on", "always_off"):
        _log.warning("OTEL_TRACES_SAMPLER is none of the standard ones; parentbased_always_on is taken")
        return RatioSampler()
    return RatioSampler(float(kind == "always_on"), parent_based=name != kind)


def _resource(values: _Values) -> Mapping[str, str]:
    name = "OTEL_RESOURCE_ATTRIBUTES"
    found = dict(_pairs(values, name, values.get(name)))
    if service := values.get("OTEL_SERVICE_NAME"):
        found["service.name"] = service
    return found


def _pairs(values: _Values, name: str, text: str, *, lower: bool = False) -> Mapping[str, str]:
    """`a=b,c=d`, each part percent-encoded."""
    found = dict[str, str]()
    for entry in filter(None, map(str.strip, text.split(","))):
        key, is_pair, value = entry.partition("=")
        key = unquote(key).strip()
        value = unquote(value).strip()
        if not is_pair or not key or not (key + value).isprintable():
            _log.warning("%s has an entry that is no name=value; it is passed over", name)
            continue
        found[key.lower() if lower else key] = value
    return found
