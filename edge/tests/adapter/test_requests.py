from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smartdrive_edge.adapter import requests
from smartdrive_edge.adapter.requests import RefusedRequestError, Request, current

ALLOWED = [
    *("ATZ", "ATE0", "ATL0", "ATS0", "ATH1", "ATAT1", "ATST32", "ATTP0", "ATTP6", "ATTPA"),
    *("ATRV", "ATIGN", "ATDPN", "ATI"),
    *("0100", "010C", "010C0D", "010C0D0511042F", "020C00", "0202000C00", "03", "07", "0A", "0900", "0902"),
]
REFUSED = {
    "": "empty",
    "\r": "control",
    "04": "clears",
    "0400": "clears",
    "14FFFFFF": "clears",
    "08": "operates",
    "0801": "operates",
    "2E1234": "writes",
    "31010203": "routines",
    "22F190": "not on the list",
    "3E00": "not on the list",
    "ATSP0": "EEPROM",
    "ATSPA6": "EEPROM",
    "ATPP0CSV23": "EEPROM",
    "ATBRD23": "speed of the line",
    "ATMA": "monitors",
    "ATTPA6": "not on the list",
    "ATST5": "not on the list",
    "ATE1": "not on the list",
    "ATH0": "not on the list",
    "ATD": "not on the list",
    "ATWS": "not on the list",
    "ATSH7E0": "not on the list",
    "ATAT2": "not on the list",
    "STPX": "not on the list",
    "01": "not on the list",
    "010": "not on the list",
    "010C1": "not on the list",
    "010C0D0511042F05": "not on the list",
    "020C": "not on the list",
    "0300": "not on the list",
    "0A00": "not on the list",
    "09": "not on the list",
    "09020A": "not on the list",
    "0101GG": "not on the list",
    "0C": "not on the list",
    "010c": "capitals",
    "atz": "capitals",
    "aTSP0": "capitals",
    "AT Z": "spaces",
    " 0100": "spaces",
    "01 0C": "spaces",
    "0100\r": "control",
    "0100\n": "control",
    "0100\r04": "control",
    "ATZ\x00": "control",
    "\x0b03": "control",
    "010\uff10": "ASCII",
    "\u0660100": "ASCII",
    "\uff21TZ": "ASCII",
    "ATT\u03a12": "ASCII",
    "\u0131": "ASCII",
}
# Written anew, so that the code and this cannot err alike by copying.
READS_ONLY = re.compile(
    rb"(AT(Z|E0|L0|S0|H1|AT1|RV|IGN|DPN|I|ST[0-9A-F][0-9A-F]|TP[0-9A-C])"
    rb"|01([0-9A-F][0-9A-F]){1,6}|02([0-9A-F]{4}){1,3}|03|07|0A|09[0-9A-F][0-9A-F])\r"
)


@pytest.mark.parametrize("text", ALLOWED)
def test_what_only_reads_may_be_asked(text: str) -> None:
    assert Request(text).wire == text.encode() + b"\r"


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
def test_everything_else_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(RefusedRequestError, match=REFUSED[text]):
        Request(text)


@pytest.mark.parametrize("what", [b"0100", None, 4, ["04"]])
def test_only_text_makes_a_request(what: object) -> None:
    with pytest.raises(RefusedRequestError, match="text"):
        Request(what)  # type: ignore[arg-type]


def test_text_that_pretends_to_be_other_text_is_refused() -> None:
    class Trick(str):
        def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
            return b"04"

    with pytest.raises(RefusedRequestError):
        Request(Trick("0100"))


def test_a_request_cannot_be_changed_into_another() -> None:
    with pytest.raises(RefusedRequestError):
        dataclasses.replace(Request("0100"), text="04")
    forged = Request("0100")
    object.__setattr__(forged, "text", "04")
    with pytest.raises(RefusedRequestError):
        _ = forged.wire


ANYTHING = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="0123456789ABCDEFabcdefATSPZRVI \r\n\x00>", max_size=16),
    st.sampled_from([*ALLOWED, *REFUSED]).flatmap(
        lambda text: st.tuples(st.just(text), st.text(alphabet="0A4\r \n\x00\uff10", max_size=3)).map("".join)
    ),
)


@given(ANYTHING)
def test_no_text_becomes_bytes_outside_the_list(text: str) -> None:
    try:
        wire = Request(text).wire
    except RefusedRequestError:
        return
    assert READS_ONLY.fullmatch(wire)


@given(st.lists(st.integers(-10, 300), max_size=8))
def test_pids_make_a_request_only_if_there_are_one_to_six_of_one_byte(pids: list[int]) -> None:
    if 1 <= len(pids) <= 6 and all(0 <= pid <= 255 for pid in pids):
        assert current(*pids).pids == tuple(pids)
    else:
        with pytest.raises(RefusedRequestError):
            current(*pids)


def test_a_request_knows_its_service_and_pids() -> None:
    assert (Request("010C0D").mode, Request("010C0D").pids) == (1, (0x0C, 0x0D))
    assert (Request("020C000D00").mode, Request("020C000D00").pids) == (2, (0x0C, 0x0D))
    assert (requests.PERMANENT_CODES.mode, requests.PERMANENT_CODES.pids) == (10, ())
    assert (requests.VOLTAGE.mode, requests.VOLTAGE.pids) == (None, ())
