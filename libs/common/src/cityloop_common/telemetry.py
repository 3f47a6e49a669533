"""Logs and metrics: JSON lines without personal data, and Prometheus metrics with bounded labels.

Metrics are defined once per module and carry a `service` label, so several services can run in one process.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from typing import Any, Generic, Literal, TextIO, TypeVar

import orjson
import prometheus_client
import structlog
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from structlog.typing import EventDict, Processor

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST
LogLevel = Literal["debug", "info", "warning", "error"]

_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领"
# Longest first. GA 36-2018: province, authority letter, five characters, six for new energy; a dot may stand between.
_PERSONAL = re.compile(
    r"(?P<token>eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|(?<=Bearer )[\w.~+/=-]+)"
    rf"|(?P<plate>[{_PROVINCES}][ ·•.-]?[A-Za-z][ ·•.-]?[A-Za-z0-9]{{4,6}}[挂学警港澳]?)"
    r"|(?P<phone>(?<![0-9A-Za-z_-])(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![0-9A-Za-z_-]))"
)
_SECRET_KEYS = re.compile(r"plate|phone|mobile|token|authorization|password|secret|cookie|api_?key|private", re.IGNORECASE)
_request_id: ContextVar[str] = ContextVar("request_id", default="")


def redact(text: str) -> str:
    """The text with plates, phone numbers and tokens replaced by `[plate]`, `[phone]`, `[token]`."""
    return _PERSONAL.sub(lambda hit: f"[{hit.lastgroup}]", text)


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _redacted_item(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redact(str(value))


def _redacted_item(key: str, value: object) -> object:
    if isinstance(value, (str, bytes)) and _SECRET_KEYS.search(key):
        return "[redacted]"
    return _redacted(value)


def redact_event(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Processor: masks keys named like secrets and values that look like personal data."""
    for key, value in event.items():
        event[key] = _redacted_item(key, value)
    return event


def _add_request_id(_logger: object, _method: str, event: EventDict) -> EventDict:
    request_id = _request_id.get()
    if request_id:
        event.setdefault("request_id", request_id)
    return event


class RequestScope:
    """`with RequestScope(request_id):` every log line written inside carries this request id."""

    __slots__ = ("_before", "_request_id")

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def __enter__(self) -> None:
        self._before = _request_id.set(self._request_id)

    def __exit__(self, *_: object) -> None:
        _request_id.reset(self._before)


def _to_json(event: MutableMapping[str, Any], **_kwargs: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logging(level: LogLevel = "info", *, stream: TextIO | None = None) -> None:
    """One JSON line per event on stdout; the libraries' own logging goes the same way.

    Safe to call again: the last call decides.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    after: list[Processor] = [structlog.processors.format_exc_info, redact_event]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = _JsonHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *after,
                structlog.processors.JSONRenderer(serializer=_to_json),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    for name in ("uvicorn.access", "httpx", "httpcore"):  # our own access line has no query values
        logging.getLogger(name).setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """`log = get_logger(__name__)`; `log.info("place-full", place_id=...)`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger


def access_line(event: dict[str, object]) -> None:
    """One line per answered request, written straight to the log's stream: the general way costs ten times as much.

    Only bounded values and ids go in; text that a caller chose is redacted by whoever calls.
    """
    root = logging.getLogger()
    if root.level > logging.INFO or not root.handlers:
        return
    handler = root.handlers[0]
    if isinstance(handler, _JsonHandler):
        handler.stream.write(_to_json(event) + "\n")
        handler.stream.flush()


class _JsonHandler(logging.StreamHandler[TextIO]):
    """The one handler of this process."""


_Metric = TypeVar("_Metric", prometheus_client.Counter, prometheus_client.Gauge, prometheus_client.Histogram)
_OTHER = "other"
MAX_LABEL_SETS = 500


class _Bounded(Generic[_Metric]):
    """A metric whose number of label sets cannot grow without end: past the limit they count as `other`."""

    def __init__(self, metric: _Metric, labels: Sequence[str]) -> None:
        self._metric: _Metric = metric
        self._labels = tuple(labels)
        self._children: dict[tuple[str, ...], _Metric] = {}

    def _child(self, values: tuple[str, ...]) -> _Metric:
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._metric} takes the labels {self._labels}")
            if len(self._children) >= MAX_LABEL_SETS:
                values = (values[0], *[_OTHER] * (len(values) - 1))
            child = self._metric.labels(*values) if values else self._metric
            self._children[values] = child
        return child


class Counter(_Bounded[prometheus_client.Counter]):
    """Only grows. Label values in the order they were declared."""

    def add(self, *labels: str, by: float = 1) -> None:
        self._child(labels).inc(by)

    def value(self, *labels: str) -> float:
        """What it stands at; for tests and `doctor`."""
        return _sample(self._child(labels))


class Gauge(_Bounded[prometheus_client.Gauge]):
    """Goes up and down."""

    def set(self, *labels: str, to: float) -> None:
        self._child(labels).set(to)

    def add(self, *labels: str, by: float = 1) -> None:
        self._child(labels).inc(by)

    def read_from(self, *labels: str, source: Callable[[], float]) -> None:
        """Asks `source` whenever it is scraped."""
        self._child(labels).set_function(source)

    def value(self, *labels: str) -> float:
        """What it stands at; for tests and `doctor`."""
        return _sample(self._child(labels))


class Histogram(_Bounded[prometheus_client.Histogram]):
    """How long, how many: observations in buckets."""

    def observe(self, *labels: str, value: float) -> None:
        self._child(labels).observe(value)

    def count(self, *labels: str) -> float:
        """How many observations; for tests."""
        return next(s.value for m in self._child(labels).collect() for s in m.samples if s.name.endswith("_count"))


def _sample(metric: prometheus_client.Counter | prometheus_client.Gauge) -> float:
    return next(s.value for m in metric.collect() for s in m.samples if not s.name.endswith("_created"))


SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)


def counter(name: str, meaning: str, labels: Sequence[str] = ("service",)) -> Counter:
    """`HELD = counter("parking_holds_total", "Holds by outcome", ("service", "outcome"))`; labels never carry ids."""
    return Counter(prometheus_client.Counter(name, meaning, labels), labels)


def gauge(name: str, meaning: str, labels: Sequence[str] = ("service",)) -> Gauge:
    """A value that is set: `outbox_unpublished_rows`."""
    return Gauge(prometheus_client.Gauge(name, meaning, labels), labels)


def histogram(name: str, meaning: str, labels: Sequence[str] = ("service",), *, buckets: Sequence[float] = SECONDS_BUCKETS) -> Histogram:
    """Durations in seconds unless the name says another unit."""
    return Histogram(prometheus_client.Histogram(name, meaning, labels, buckets=tuple(buckets)), labels)


def exposition() -> bytes:
    """All metrics of this process in Prometheus' text format."""
    return generate_latest()


prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
