"""No file can make an import end in anything but a balanced report or an error that says what is wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from smartdrive_dagster.landing.recorded.errors import FormatError, LogImportError
from smartdrive_dagster.landing.recorded.format_model import Format
from smartdrive_dagster.landing.recorded.formats import load_format, parse_format
from smartdrive_dagster.landing.recorded.importer import ImportReport, import_log
from smartdrive_dagster.landing.store import LandingStore

WIDE = parse_format(
    """
shape: wide
time: {column: t, form: iso8601}
columns: {v: {signal: SPEED, unit: mph}, r: {signal: RPM, unit: rpm}}
decimal: any
""",
    source="wide",
)
EPOCH = WIDE.model_copy(update={"time": WIDE.time.model_copy(update={"form": "epoch_s"})})
LONG = load_format("car-scanner")

CELLS = st.one_of(
    st.sampled_from(
        ["", "1", "86399", "1714595264", "nan", "inf", "1e400", "-", '"', '""', "5 km/h", "1,5", "0001-01-01"]
    ),
    st.sampled_from(
        ["9999-12-31T23:59:59-23:59", "2024-03-31T02:30", "Engine RPM", "Vehicle speed", "rpm", "mph", "٣"]
    ),
    st.floats().map(str),
    st.integers(-(10**20), 10**20).map(str),
    st.datetimes().map(str),
    st.text(max_size=8),
)
ROWS = st.lists(st.lists(CELLS, max_size=6), max_size=25)


def outcome(content: bytes, form: Format) -> ImportReport | None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "log.csv"
        path.write_bytes(content)
        store = LandingStore(str(Path(directory) / "landing"))
        try:
            return import_log(
                path,
                vin="1M8GDM9AXKP042788",
                secret=b"s" * 32,
                store=store,
                format=form,
                day=date(2024, 5, 1),
                time_zone="Europe/Berlin",
                received_at=datetime(2026, 1, 1, tzinfo=UTC),
            )
        except LogImportError:
            assert not store.list().objects
            return None


def balances(report: ImportReport) -> bool:
    parts = report.mapped + report.duplicate + sum(report.ignored.values()) + sum(report.quarantined.values())
    return report.read == parts


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([WIDE, EPOCH, LONG]))
def test_any_bytes_end_in_a_report_or_an_error(content, form):
    report = outcome(content, form)
    assert report is None or balances(report)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([(b"t,v,r\n", WIDE), (b"SECONDS;PID;VALUE;UNITS\n", LONG)]))
def test_any_bytes_below_a_header_balance(content, kind):
    report = outcome(kind[0] + content, kind[1])
    assert report is None or balances(report)


@settings(max_examples=250, deadline=None)
@given(ROWS, st.sampled_from([WIDE, EPOCH]))
def test_any_cells_of_a_wide_log_balance(rows, form):
    content = "\n".join(["t,v,r,x", *(",".join(row) for row in rows)]).encode("utf-8", "surrogatepass")
    report = outcome(content, form)
    assert report is None or balances(report)


@settings(max_examples=250, deadline=None)
@given(ROWS)
def test_any_cells_of_a_long_log_balance(rows):
    content = "\n".join(["SECONDS;PID;VALUE;UNITS", *(";".join(row) for row in rows)]).encode(
        "utf-8", "surrogatepass"
    )
    report = outcome(content, LONG)
    assert report is None or balances(report)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates())
YAML_VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3)
)


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=60) | st.dictionaries(st.sampled_from(list(Format.model_fields)), YAML_VALUES).map(yaml.dump)
)
def test_any_text_is_a_format_or_a_format_error(text):
    try:
        assert parse_format(text, source="any.yml").effect()
    except FormatError as error:
        assert str(error).startswith("any.yml: ")  # noqa: PT017 - either outcome is right
