"""Unit tests of marts: those of the shipped models hold, and one that does not says how."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from smartdrive_dagster.lake.model_files import UnitTest
from smartdrive_dagster.lake.models import Model, ModelError, load_models
from smartdrive_dagster.lake.unit_tests import rows_of_given, run_unit_test
from smartdrive_dagster.tables import Days
from tests.lake.test_models import FILES, MART_YML, project

SHIPPED = load_models()
TESTS = [
    pytest.param(model, test, id=f"{model.name}-{test.name}")
    for model in SHIPPED.values()
    for test in model.unit_tests
]


@pytest.mark.parametrize(("model", "test"), TESTS)
def test_a_mart_makes_the_rows_that_its_twin_expects(model: Model, test: UnitTest) -> None:
    assert run_unit_test(model, test) is None


LONGER = [case for case in TESTS if case.values[1].first_date < case.values[1].last_date]  # type: ignore[union-attr]


@pytest.mark.parametrize(("model", "test"), LONGER)
def test_days_computed_one_by_one_equal_those_computed_at_once(model: Model, test: UnitTest) -> None:
    window = Days(test.first_date, test.last_date)
    singly = pl.concat(rows_of_given(model, test, Days(day, day)) for day in window)
    assert content(singly) == content(rows_of_given(model, test, window))


def content(rows: pl.DataFrame) -> list[str]:
    return sorted(map(repr, rows.iter_rows()))


def test_every_mart_has_a_unit_test() -> None:
    assert [model.name for model in SHIPPED.values() if not model.unit_tests] == []


UNIT_TESTS = """\
unit_tests:
  - name: a_maximum
    model: speeds
    overrides:
      vars: {first_date: 2025-06-10}
    given:
      - input: ref('stg_speed')
        rows:
          - {vehicle_id: A, event_date: 2025-06-10, speed_kmh: 50.5}
          - {vehicle_id: A, event_date: 2025-06-10, speed_kmh: 40}
    expect:
      rows:
        - {vehicle_id: A, max_speed_kmh: 50.5}
"""
TWIN = "marts/speeds.yml"
FIRST = MART_YML.count("\n") + 1


def speeds(root: Path, old: str = "", new: str = "") -> Model:
    assert old in UNIT_TESTS
    return load_models(project(root, FILES | {TWIN: MART_YML + UNIT_TESTS.replace(old, new, 1)}))["speeds"]


def difference(model: Model) -> str:
    return str(run_unit_test(model, model.unit_tests[0]) or "none")


def test_a_test_holds_over_a_given_view_and_over_what_the_view_reads(tmp_path: Path) -> None:
    assert difference(speeds(tmp_path)) == "none"
    assert difference(speeds(tmp_path, "ref('stg_speed')", 'source("silver", "telemetry")')) == "none"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "50.5}\n          - {vehicle_id: A",
            "50}\n          - {vehicle_id: A",
            "missing    vehicle_id: A, max_speed_kmh: 50.5\nunexpected vehicle_id: A, max_speed_kmh: 50.0",
        ),
        (
            "        - {vehicle_id: A, max_speed_kmh: 50.5}\n",
            "        []\n",
            "unexpected vehicle_id: A, local_date: 2025-06-10",
        ),
        (
            "max_speed_kmh: 50.5}",
            "max_speed_kmh: 50.5}\n        - {vehicle_id: A, max_speed_kmh: 50.5}",
            "missing    vehicle_id: A, max_speed_kmh: 50.5",
        ),
    ],
    ids=["another value", "a row too many", "a row twice"],
)
def test_a_test_that_does_not_hold_names_the_rows(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert difference(speeds(tmp_path, old, new)) == said


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("ref('stg_speed')", "stg_speed", 7, "neither ref('model') nor source('layer', 'table')"),
        ("ref('stg_speed')", "ref('stg_sped')", 7, "reads no staging.stg_sped; did you mean staging.stg_speed?"),
        ("ref('stg_speed')", "source('gold', 'trips')", 7, "a_maximum: speeds reads no gold.trips"),
        ("speed_kmh: 40", "sped_kmh: 40", 10, "staging.stg_speed has no column sped_kmh; did you mean speed_kmh?"),
        ("max_speed_kmh: 50.5}", "max_speed: 50.5}", 13, "speeds has no column max_speed"),
        ("speed_kmh: 40", "speed_kmh: [40]", 10, "expected a value"),
        ("expect:", "expected:", 11, "did you mean expect?"),
        ("model: speeds", "model: speed", 3, "the test is of speed, but this is the twin of speeds"),
        ("first_date: 2025-06-10", "first_date: June", 5, "June is no date"),
        ("-06-10}\n    given", "-06-10, last_date: 2025-06-01}\n    given", 5, "last_date lies before first_date"),
        ("-06-10}\n    given", "-06-10, time_zone: Berlin}\n    given", 5, "no time zone is named Berlin"),
        ("    overrides:\n      vars: {first_date: 2025-06-10}\n", "", 2, "overrides is missing"),
    ],
)  # fmt: skip
def test_a_broken_unit_test_is_refused_with_file_line_and_reason(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    with pytest.raises(ModelError) as caught:
        speeds(tmp_path, old, new)
    assert words in str(caught.value)
    assert (caught.value.path, caught.value.line) == (tmp_path / TWIN, FIRST + line - 1)


def test_a_value_that_does_not_fit_its_column_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=rf":{FIRST + 9}: staging.stg_speed.speed_kmh is DOUBLE, and fast is none"
    ):
        difference(speeds(tmp_path, "speed_kmh: 40", "speed_kmh: fast"))


def test_a_view_has_no_unit_tests(tmp_path: Path) -> None:
    view = FILES["staging/stg_speed.yml"] + UNIT_TESTS
    with pytest.raises(ModelError, match="unit_tests are for marts"):
        load_models(project(tmp_path, FILES | {"staging/stg_speed.yml": view}))
