from __future__ import annotations

from typing import Any

import pytest
from smartdrive_edge.adapter.answers import Answer, Failure, NoAnswer, Outcome
from smartdrive_edge.adapter.discovery import Car
from smartdrive_edge.adapter.frames import Dialect
from smartdrive_edge.adapter.requests import Request
from smartdrive_edge.collector.codes import FIRST_AFTER_S, CodeScan

CAR = Car(Dialect("6"), 0, frozenset({0x0C}), None)
NONE_STORED = "7E8024300"
P0301_STORED = "7E80443010301"
P0301_PENDING = "7E80447010301"
NONE_PERMANENT = "7E8024A00"
LAMP_ON = "7E806410181076500"
LAMP_OFF = "7E806410100076500"


def answer(request: Request, *lines: str) -> Outcome:
    return Answer(request, lines, 0.0, 0.1)


def silence(request: Request) -> Outcome:
    return NoAnswer(request, Failure.NO_DATA, "NO DATA", 0.0, 0.2)


def scan(it: CodeScan, now: float, answers: dict[str, str | None]) -> tuple[list[str], dict[str, Any] | None]:
    """Ask until the scan is through: what was asked, and what the last answer gave."""
    asked: list[str] = []
    while it.is_due(now):
        request = it.next_request(now)
        asked.append(request.text)
        line = answers[request.text]
        found = it.take(silence(request) if line is None else answer(request, line), CAR)
        if found is not None or len(asked) == 4:
            return asked, found
        now += 0.1
    return asked, None


def driving(every_s: float = 600.0) -> CodeScan:
    it = CodeScan(every_s=every_s)
    it.begin(1000.0)
    return it


def test_nothing_is_asked_before_a_drive_nor_in_its_first_seconds() -> None:
    assert not CodeScan(every_s=600.0).is_due(1e9)
    it = driving()
    assert not it.is_due(1000.0 + FIRST_AFTER_S - 0.1)
    assert it.is_due(1000.0 + FIRST_AFTER_S)


def test_a_scan_asks_for_the_three_lists_and_the_lamp_one_per_turn_and_is_whole_at_the_end() -> None:
    answers = {"03": P0301_STORED, "07": P0301_PENDING, "0A": NONE_PERMANENT, "0101": LAMP_ON}
    asked, found = scan(driving(), 1020.0, answers)
    assert asked == ["03", "07", "0A", "0101"]
    assert found is not None
    assert found["mil"] is True
    assert [code["code"] for code in found["stored"]] == ["P0301"]
    assert found["stored"][0]["title"] == "Cylinder 1 Misfire Detected"
    assert [code["code"] for code in found["pending"]] == ["P0301"]
    assert found["permanent"] == []


def test_a_list_that_was_not_answered_is_null_and_not_empty() -> None:
    _, found = scan(driving(), 1020.0, {"03": NONE_STORED, "07": NONE_PERMANENT, "0A": None, "0101": None})
    assert found == {"stored": [], "pending": None, "permanent": None, "mil": None}


def test_a_car_that_lists_nothing_gives_no_scan_whatever_its_lamp_says() -> None:
    asked, found = scan(driving(), 1020.0, {"03": None, "07": None, "0A": None, "0101": LAMP_ON})
    assert len(asked) == 4
    assert found is None


@pytest.mark.parametrize("answered", [True, False])
def test_the_next_scan_comes_its_time_later_whatever_this_one_gave(answered: bool) -> None:
    it = driving(every_s=600.0)
    lines = {"03": NONE_STORED, "07": "7E8024700", "0A": NONE_PERMANENT, "0101": LAMP_OFF}
    scan(it, 1020.0, dict(lines) if answered else dict.fromkeys(lines))
    assert not it.is_due(1619.9)
    assert it.is_due(1620.0)


def test_a_new_drive_begins_its_scan_anew() -> None:
    it = driving()
    it.take(answer(it.next_request(1020.0), P0301_STORED), CAR)
    it.begin(5000.0)
    assert not it.is_due(5000.0)
    answers = {"03": NONE_STORED, "07": "7E8024700", "0A": NONE_PERMANENT, "0101": LAMP_OFF}
    asked, found = scan(it, 5020.0, answers)
    assert asked == ["03", "07", "0A", "0101"]
    assert found == {"stored": [], "pending": [], "permanent": [], "mil": False}
