"""Logging is the process's own, so each case is a process."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smartdrive_edge.redaction import redact, redacted

VIN = "WVWZZZ1JZXW000001"
PROGRAM = """
import logging, threading, warnings, structlog
from smartdrive_edge.logs import set_up
early = structlog.get_logger("smartdrive_edge.early")
set_up({format!r}, {level!r})
{body}
"""


def logged(body: str, *, format: str = "json", level: str = "INFO") -> str:  # noqa: A002
    program = PROGRAM.format(format=format, level=level, body=body)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    return done.stderr


def lines(body: str, level: str = "INFO") -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged(body, level=level).splitlines()]


def test_structured_and_plain_loggers_write_the_same_json_lines() -> None:
    one, other = lines(
        "structlog.get_logger('smartdrive_edge.a').info('opened', port='/dev/ttyUSB0', tries=3)\n"
        "logging.getLogger('smartdrive_edge.b').warning('lost %s:%d', 'home', 8883)"
    )
    assert (one["event"], one["port"], one["tries"], one["level"], one["logger"]) == (
        "opened",
        "/dev/ttyUSB0",
        3,
        "info",
        "smartdrive_edge.a",
    )
    assert (other["event"], other["level"], other["logger"]) == ("lost home:8883", "warning", "smartdrive_edge.b")
    for line in (one, other):
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize("name", ["obd.OBDCommand", "paho.mqtt"])
def test_libraries_write_once_and_as_we_do(name: str) -> None:
    (line,) = lines(f"import obd\nlogging.getLogger({name!r}).warning('odd {VIN}')")
    assert (line["event"], line["logger"]) == ("odd [VIN]", name)


WAYS = [
    f"early.info('car {VIN}')",
    f"early.info('car', vin={VIN!r})",
    f"early.info('car', found={{'cars': [({VIN!r},)]}})",
    f"early.info('car', found={{{VIN!r}: 1}})",
    f"early.info('car', raw=b'{VIN}')",
    f"early.info('car', error=ValueError({VIN!r}))",
    f"logging.getLogger('x').info('car %s', {VIN!r})",
    f"logging.getLogger('x').info('car %(vin)s', {{'vin': {VIN!r}}})",
    f"warnings.warn({VIN!r})",
    f"try:\n  raise ValueError({VIN!r})\nexcept ValueError:\n  early.exception('failed')",
    f"def fail(): raise ValueError({VIN!r})\nt = threading.Thread(target=fail)\nt.start()\nt.join()",
    f"raise ValueError({VIN!r})",
]


@pytest.mark.parametrize("format", ["json", "text"])
def test_no_vin_is_written_in_whatever_way_it_comes(format: str) -> None:  # noqa: A002
    text = logged("\n".join(WAYS), format=format)
    assert text.count("[VIN]") >= len(WAYS)
    assert VIN not in text


def test_the_end_of_a_thread_and_of_the_program_is_one_json_line_each() -> None:
    thread, program = lines(
        "t = threading.Thread(target=lambda: 1 / 0, name='reader')\nt.start()\nt.join()\n1 / 0"
    )
    assert (thread["level"], thread["event"]) == ("critical", "thread reader ended by an error")
    assert (program["level"], program["event"]) == ("critical", "the program ended by an error")
    assert "ZeroDivisionError" in thread["exception"]
    assert "ZeroDivisionError" in program["exception"]


def test_what_is_below_the_level_is_not_written() -> None:
    body = "early.info('a')\nlogging.getLogger('b').info('b')\nearly.warning('c')"
    assert [line["event"] for line in lines(body, level="WARNING")] == ["c"]


def test_the_last_call_counts() -> None:
    text = logged("set_up('text', 'INFO')\nearly.info('opened', port='x')")
    assert "opened" in text
    assert len(text.splitlines()) == 1
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


NUMBERS = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.none())


@given(
    st.recursive(st.one_of(NUMBERS, st.text()), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_redacting_keeps_what_is_no_vin_and_can_be_written_as_json(value: object) -> None:
    clean = redacted(value)
    json.dumps(clean)
    if redact(repr(value)) == repr(value):
        assert clean == value


@pytest.mark.parametrize("number", [0.30000000000000004, 12345678901234567, -0.10000000000000001])
def test_a_number_with_seventeen_digits_is_no_vin(number: float) -> None:
    (line,) = lines(f"early.info('rate', value={number!r})")
    assert line["value"] == number
