"""What the OTEL_* variables ask for, and ids and samplers, which need no OpenTelemetry."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.errors import ConfigError
from belljar.tracing import TraceIds
from belljar.tracing.otel import Telemetry
from belljar.tracing.spans.environment import read
from belljar.tracing.spans.ids import SpanRef, new_span_id, parse_traceparent, trace_id_of
from belljar.tracing.spans.sampling import RatioSampler

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": ""},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "true"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": " TRUE "},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:4318"},
    ],
)
def test_nothing_asked_for_is_nothing(environ: dict[str, str]) -> None:
    """F71: without an endpoint or an exporter, or with the SDK disabled, there is no telemetry at all."""
    assert Telemetry.from_environment(environ) is None


@pytest.mark.parametrize(
    ("environ", "exporters", "endpoint"),
    [
        (ENDPOINT, ("otlp",), "http://127.0.0.1:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h/base/"}, ("otlp",), "http://h/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://h/as/is"}, ("otlp",), "https://h/as/is"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h:1/x"}, ("otlp",), "http://h:1/x"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("otlp",), "http://localhost:4318/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ("otlp", "console"), "http://localhost:4318/v1/traces"),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "no"}, ("otlp",), "http://127.0.0.1:4318/v1/traces"),
    ],
)
def test_what_is_asked_for(environ: dict[str, str], exporters: tuple[str, ...], endpoint: str) -> None:
    """F71: the standard variables, those for traces before those for everything."""
    settings = read(environ)
    assert settings is not None
    assert (settings.exporters, settings.endpoint) == (exporters, endpoint)


def test_every_setting_is_read() -> None:
    """F71: headers, resource, timeouts, batches, content and the parent."""
    settings = read(
        {
            **ENDPOINT,
            "OTEL_EXPORTER_OTLP_HEADERS": "X-Api-Key=s3cr%3Det, authorization=Bearer%20tok-123",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5",
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "GZIP",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,team=a%20b",
            "OTEL_SERVICE_NAME": "mine",
            "OTEL_BSP_MAX_QUEUE_SIZE": "10",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "50",
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
            "TRACEPARENT": PARENT,
        }
    )
    assert settings is not None
    assert settings.headers == {"x-api-key": "s3cr=et", "authorization": "Bearer tok-123"}
    assert settings.resource == {"service.name": "mine", "team": "a b"}
    assert (settings.timeout_s, settings.compression, settings.certificate) == (2.5, "gzip", "/ca.pem")
    assert (settings.queue, settings.batch, settings.delay_ms, settings.content) == (10, 10, 20.0, True)
    assert settings.parent == SpanRef(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, 1, remote=True)
    assert settings.secrets == {"s3cr=et", "Bearer tok-123", "tok-123"}
    assert "s3cr" not in repr(settings)
    assert "tok-123" not in repr(settings)


@pytest.mark.parametrize(
    ("value", "content"),
    [("true", True), ("SPAN_AND_EVENT", True), ("EVENT_ONLY", False), ("NO_CONTENT", False), ("1", False), ("", False)],
)
def test_content_is_asked_for_in_so_many_words(value: str, content: bool) -> None:
    """Whatever does not say that spans shall hold content says that they shall not."""
    settings = read({**ENDPOINT, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": value})
    assert settings is not None
    assert settings.content is content


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "use otlp, console or none"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "no http or https URL"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://"}, "no http or https URL"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:hunter2@[::1"}, "no http or https URL"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "file:///etc/passwd"}, "no http or https URL"),
    ],
)
def test_spans_that_would_go_nowhere_are_an_error(environ: dict[str, str], said: str) -> None:
    """F71: never silent, and no value of the endpoint in the message."""
    with pytest.raises(ConfigError, match=said) as caught:
        Telemetry.from_environment(environ)
    assert "hunter2" not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "nan"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key=hunter2\r\nx: y"),
    ],
)
def test_a_value_that_means_nothing_is_warned_about(caplog: pytest.LogCaptureFixture, name: str, value: str) -> None:
    """As the specification says; the warning names the variable and holds no header."""
    with caplog.at_level(logging.WARNING):
        settings = read({**ENDPOINT, name: value})
    assert settings is not None
    assert (settings.sampler, settings.queue, settings.delay_ms, settings.timeout_s) == (RatioSampler(), 2048, 5e3, 10)
    assert (settings.compression, settings.headers) == ("none", {})
    (record,) = caplog.records
    assert name in record.getMessage()
    assert "hunter2" not in caplog.text


# Samplers


@pytest.mark.parametrize(
    ("name", "argument", "without", "sampled", "unsampled"),
    [
        ("always_on", "", True, True, True),
        ("always_off", "", False, False, False),
        ("parentbased_always_on", "", True, True, False),
        ("parentbased_always_off", "", False, True, False),
        ("parentbased_traceidratio", "0", False, True, False),
        ("parentbased_traceidratio", "1", True, True, False),
        ("traceidratio", "0", False, False, False),
        ("traceidratio", "", True, True, True),
    ],
)
def test_standard_samplers(name: str, argument: str, without: bool, sampled: bool, unsampled: bool) -> None:
    """F71: the six of the specification, asked without a parent, with a sampled one and with one that is not."""
    settings = read({**ENDPOINT, "OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument})
    assert settings is not None
    trace_id = trace_id_of(TraceIds()())
    parents = [None, SpanRef(trace_id, 1, 1), SpanRef(trace_id, 1, 0)]
    assert [settings.sampler(trace_id, parent).sampled for parent in parents] == [without, sampled, unsampled]


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.6, 0.9])
def test_a_ratio_of_our_own_ids_is_that_ratio(ratio: float) -> None:
    """Two bits of each UUIDv7 are fixed just where samplers look; the share is right all the same (6 sigma)."""
    ids, sampler = TraceIds(), RatioSampler(ratio)
    share = sum(sampler(trace_id_of(ids()), None).sampled for _ in range(5000)) / 5000
    assert abs(share - ratio) < 6 * (ratio * (1 - ratio) / 5000) ** 0.5


# Ids


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "ff" + PARENT[2:],
        PARENT + "-more",
        PARENT + "\n",
        PARENT.upper(),
        PARENT[:-1],
        "01" + PARENT[2:] + "-" + "x" * 9999,
    ],
)
def test_what_is_no_traceparent_is_none(text: str | None) -> None:
    """F71: https://www.w3.org/TR/trace-context-2/#traceparent-header."""
    assert parse_traceparent(text) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    found = parse_traceparent("01" + PARENT[2:-2] + "ff-more")
    assert found is not None
    assert found.traceparent == PARENT[:-2] + "03"


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 3))
def test_traceparent_round_trip(trace_id: int, span_id: int, flags: int) -> None:
    """parse(format(x)) == x."""
    ref = SpanRef(trace_id, span_id, flags, remote=True)
    assert parse_traceparent(ref.traceparent) == ref


def test_span_ids_are_never_digits_alone() -> None:
    """Sixteen digits may read as a card's number, and the sanitizer would be right to mask it."""
    assert not any(new_span_id().isdigit() for _ in range(20_000))


# Imports


def _python(code: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_is_imported_until_spans_are_built() -> None:
    """F71: asked for or not, a run's path imports no OpenTelemetry; the spans' building does."""
    code = """
import sys
from belljar.tracing.otel import Telemetry
loaded = lambda: any(name.startswith("opentelemetry.") and "exporter" not in name for name in sys.modules)
assert Telemetry.from_environment({}) is None
assert not any(name.startswith("opentelemetry") for name in sys.modules)
telemetry = Telemetry.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
run = telemetry.begin("019a0000-0000-7000-8000-000000000001", "local.default.x.y.abcd")
assert run.caller(1).traceparent.startswith("00-019a000000007000800000000000000")
assert not loaded()
telemetry.prepare()
assert loaded()
print(telemetry.shutdown(5))
"""
    assert _python(code) == "True"


def test_a_missing_exporter_is_named() -> None:
    """F71: OTLP is asked for and the extra is not installed: an error that says what to install."""
    code = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("opentelemetry.exporter"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
from belljar.errors import ConfigError
from belljar.tracing.otel import Telemetry
assert Telemetry.from_environment({"OTEL_TRACES_EXPORTER": "console"}) is not None
try:
    Telemetry.from_environment({"OTEL_TRACES_EXPORTER": "otlp"})
except ConfigError as exc:
    print(exc.message)
"""
    assert "pip install 'belljar[otlp]'" in _python(code)


def test_settings_that_are_not_asked_for_are_not_read(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever wants no spans is not bothered with what is wrong with them."""
    wrong: dict[str, Any] = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_BSP_MAX_QUEUE_SIZE": "x"}
    assert read(wrong) is None
    assert not caplog.records
