"""Logs hold no personal data; metrics cannot grow without end."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from cityloop_common import telemetry


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """The log of one test."""
    stream = io.StringIO()
    telemetry.configure_logging("info", stream=stream)
    yield stream
    telemetry.configure_logging("info")


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    "text, kept",
    [
        ("蒙KA1234 parked", "[plate] parked"),
        ("蒙K·A1234", "[plate]"),
        ("京AD12345", "[plate]"),
        ("粤Z1234港", "[plate]"),
        ("call 13912345678", "call [phone]"),
        ("+86 139 1234 5678", "[phone]"),
        ("Bearer abc.def", "Bearer [token]"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln", "[token]"),
        ("019abf31-7c00-7000-8000-139123456789", "019abf31-7c00-7000-8000-139123456789"),
        ("1795525046270-0", "1795525046270-0"),
        ("place p1 has 40 of 120", "place p1 has 40 of 120"),
    ],
)
def test_personal_data_is_masked_and_ids_are_not(text: str, kept: str) -> None:
    """Plates, phones, tokens; ids stay readable."""
    assert telemetry.redact(text) == kept


def test_a_log_line_is_json_without_secrets(out: io.StringIO) -> None:
    """By key and by value, at any depth, in exceptions too."""
    log = telemetry.get_logger("test")
    try:
        raise ValueError("plate 蒙KA1234")
    except ValueError:
        log.exception("place-full", place_id="p1", api_key="k", seen=["13912345678"], more={"token": "t", "note": "蒙KA1234"})
    (line,) = lines(out)
    assert (line["event"], line["place_id"], line["level"], line["logger"]) == ("place-full", "p1", "error", "test")
    assert (line["api_key"], line["seen"], line["more"]) == ("[redacted]", ["[phone]"], {"token": "[redacted]", "note": "[plate]"})
    assert "KA1234" not in str(line["exception"])


def test_libraries_log_the_same_way(out: io.StringIO) -> None:
    """One format, one stream, one redaction."""
    logging.getLogger("library").warning("user %s", "13912345678")
    (line,) = lines(out)
    assert (line["event"], line["level"]) == ("user [phone]", "warning")


def test_lines_of_a_request_carry_its_id(out: io.StringIO) -> None:
    """So that a problem's request id leads to its lines."""
    with telemetry.RequestScope("r-1"):
        telemetry.get_logger("test").info("inside")
    telemetry.get_logger("test").info("outside")
    assert [line.get("request_id") for line in lines(out)] == ["r-1", None]


def test_the_level_is_kept(out: io.StringIO) -> None:
    """Below it nothing is written, access lines included."""
    telemetry.configure_logging("warning", stream=out)
    telemetry.get_logger("test").info("quiet")
    telemetry.access_line({"event": "request"})
    telemetry.get_logger("test").warning("loud")
    assert [line["event"] for line in lines(out)] == ["loud"]


def test_labels_are_bounded() -> None:
    """Whatever becomes a label by mistake, the number of series has an end."""
    counted = telemetry.counter("test_bounded_total", "A test's", ("service", "kind"))
    for number in range(telemetry.MAX_LABEL_SETS + 100):
        counted.add("tiny", str(number))
    assert counted.value("tiny", "other") == 100
    assert counted.value("tiny", "0") == 1


def test_a_metric_wants_its_labels() -> None:
    """A forgotten label is an error where it happens."""
    counted = telemetry.gauge("test_labels", "A test's", ("service", "kind"))
    with pytest.raises(ValueError, match="labels"):
        counted.set("tiny", to=1)
