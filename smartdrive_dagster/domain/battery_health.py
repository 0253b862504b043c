"""Battery health per vehicle and day, from all starts of a vehicle in their order.

A start is conclusive where the battery had rested, was charged to 70 % or more, its plateau has enough readings,
and the temperature is known. Since a rest takes 30 min, two conclusive starts never share a driving cycle.

Every row depends on starts up to its day only. So a late start changes its own and later days of its vehicle, and
nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

from smartdrive_dagster.domain import battery_lines as lines
from smartdrive_dagster.tables import battery

ALGO_VERSION: Final = "1"

DIESEL_CODES: Final = (4.0, 19.0, 23.0)
"""PID 51: diesel, hybrid diesel, bifuel running diesel (SAE J1979)."""

COLD_SOAKED_K: Final = 6.0
COLD_SOAKED_S: Final = 6 * 3600.0

_LEAST_C: Final = -60.0
_MOST_C: Final = 70.0
_NARROW_PCT: Final = 20.0
_CONCLUSIVE: Final = pl.col("is_conclusive")
_P25: Final = pl.col("plateau_25c_v")
_SOH: Final = pl.col("soh_pct")


def assess_battery(
    cranks: pl.LazyFrame, *, profiles: pl.LazyFrame | None = None, weather: pl.LazyFrame | None = None
) -> pl.LazyFrame:
    """Judge the batteries of some vehicles on every day that they were started.

    Args:
        cranks: rows of gold.CRANKS, the whole history of these vehicles, in any order.
        profiles: ``vehicle_id`` and ``fuel_type`` (``diesel``, ``petrol``, …), one row per vehicle.
        weather: rows of silver.weather of these vehicles. Asked where the car's own sensors say nothing.

    Returns:
        All rows of gold.BATTERY_HEALTH of these vehicles, by vehicle and day.
    """
    described = _with_temperature(_with_fuel(cranks, profiles), weather)
    judged = _judged(described).cache()
    results = _results(judged.filter(_CONCLUSIVE))
    states = ("status", "consecutive_failing_cycles", "baseline_cranks", "baseline_v")
    history = (
        judged.join(results, on="crank_id", how="left")
        .sort("vehicle_id", "started_at", "crank_id")
        .with_columns(pl.col(*states).forward_fill().over("vehicle_id"))
    )
    return _days(history)


def _with_fuel(cranks: pl.LazyFrame, profiles: pl.LazyFrame | None) -> pl.LazyFrame:
    """The fuel type of each start: the profile's, else the last code that the car told, else unknown."""
    told = pl.col("fuel_type_code").forward_fill().over("vehicle_id")
    ordered = cranks.sort("vehicle_id", "started_at", "crank_id").with_columns(told=told)
    if profiles is None:
        ordered = ordered.with_columns(profile=pl.lit(None, dtype=pl.String))
    else:
        # A hybrid may burn either: that is left to what the car tells.
        said = profiles.filter(pl.col("fuel_type") != "hybrid")
        named = said.select("vehicle_id", profile=pl.col("fuel_type").str.to_lowercase())
        ordered = ordered.join(named.unique("vehicle_id"), on="vehicle_id", how="left")
    has_profile, has_code = pl.col("profile").is_not_null(), pl.col("told").fill_null(0) > 0
    is_diesel = (
        pl.when(has_profile)
        .then(pl.col("profile").str.contains("diesel"))
        .otherwise(pl.col("told").is_in(DIESEL_CODES))
    )
    method = pl.when(has_profile).then(pl.lit("profile")).when(has_code).then(pl.lit("pid_51"))
    return ordered.with_columns(
        fuel_type_method=method.otherwise(pl.lit("none")),
        fuel_type=pl.when(~has_profile & ~has_code)
        .then(pl.lit("unknown"))
        .when(is_diesel)
        .then(pl.lit("diesel"))
        .otherwise(pl.lit("other")),
    ).drop("profile", "told")


def _with_temperature(cranks: pl.LazyFrame, weather: pl.LazyFrame | None) -> pl.LazyFrame:
    """The temperature at each start: ambient sensor, else the intake's in a cold engine, else the weather's."""
    ambient, intake = (_plausible(name) for name in ("ambient_air_temp_c", "intake_temp_c"))
    is_cold = (pl.col("coolant_temp_c") - pl.col("intake_temp_c")).abs() <= COLD_SOAKED_K
    is_long_off = pl.col("off_s").is_null() | (pl.col("off_s") >= COLD_SOAKED_S)
    # Without a coolant reading only the length of the rest tells that the engine was as cold as the air.
    soaked = pl.when(is_cold.fill_null(is_long_off & (pl.col("off_method") == "observed"))).then(intake)
    if weather is None:
        known = cranks.with_columns(weather_c=pl.lit(None, dtype=pl.Float64))
    else:
        known = _joined_weather(cranks, weather)
    forecast = pl.col("weather_c")
    method = (
        pl.when(ambient.is_not_null())
        .then(pl.lit("ambient"))
        .when(soaked.is_not_null())
        .then(pl.lit("intake"))
        .when(forecast.is_not_null())
        .then(pl.lit("weather"))
        .otherwise(pl.lit("none"))
    )
    return known.with_columns(temperature_c=pl.coalesce(ambient, soaked, forecast), temperature_method=method)


def _plausible(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_between(_LEAST_C, _MOST_C)).then(pl.col(name))


def _joined_weather(cranks: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    """The temperature of the nearest hour at the vehicle's last known place, by the latest word on it."""
    is_latest = pl.col("forecast_at") == pl.col("forecast_at").max()
    hours = weather.filter(pl.col("temperature_c").is_between(_LEAST_C, _MOST_C)).select(
        *("vehicle_id", "forecast_at", "temperature_c"),
        weather_lat=tenths("latitude_deg"),
        weather_lon=tenths("longitude_deg"),
        hour="valid_at",
    )
    at_start = (
        cranks.select(
            *("vehicle_id", "crank_id"),
            lat=tenths("place_latitude_deg"),
            lon=tenths("place_longitude_deg"),
            hour=pl.col("started_at").dt.round("1h"),
        )
        .join(hours, on=["vehicle_id", "hour"])
        .filter(is_there("lat", "lon"))
        .group_by("crank_id")
        .agg(weather_c=pl.col("temperature_c").filter(is_latest).min())
    )
    return cranks.join(at_start, on="crank_id", how="left")


def is_there(lat: str, lon: str) -> pl.Expr:
    """Whether a word on a vehicle's weather is of where it stands: ``weather_lat``, ``weather_lon`` in tenths.

    What names no place is of the vehicle wherever it is, and so is any word on a vehicle whose place nobody knows.
    """
    is_near = (pl.col("weather_lat") == pl.col(lat)) & (pl.col("weather_lon") == pl.col(lon))
    return is_near.fill_null(value=True)


def tenths(name: str) -> pl.Expr:
    """A coordinate in whole tenths of a degree: rounded floats are no keys."""
    return (pl.col(name) * 10).round().cast(pl.Int64)


def _judged(cranks: pl.LazyFrame) -> pl.LazyFrame:
    """Charge, compensated plateau and, where a start says nothing, the reason."""
    resting = pl.col("resting_voltage_v")
    is_charged = resting >= lines.SURFACE_CHARGE_V
    usable = pl.when(~is_charged).then(resting)
    low, high = lines.soc_interval_pct(
        usable,
        is_loaded=pl.col("resting_method") == "before_start",
        is_assumed=pl.col("off_method") == "assumed",
    )
    with_charge = cranks.with_columns(soc_pct=lines.soc_pct(usable), soc_low_pct=low, soc_high_pct=high)
    reason = (
        pl.when(pl.col("plateau_v").is_null())
        .then(pl.col("inconclusive_reason"))
        .when(pl.col("off_method") == "none")
        .then(pl.lit("not_rested"))
        .when(resting.is_null())
        .then(pl.lit("no_resting_voltage"))
        .when(is_charged)
        .then(pl.lit("surface_charge"))
        .when(pl.col("soc_pct") < lines.MIN_SOC_PCT)
        .then(pl.lit("low_charge"))
        .when(pl.col("temperature_c").is_null())
        .then(pl.lit("no_temperature"))
    )
    return with_charge.with_columns(
        reason=reason,
        is_conclusive=reason.is_null(),
        plateau_25c_v=lines.at_25c_v(pl.col("plateau_v"), resting, pl.col("temperature_c")),
        failing_below_v=lines.failing_below_v(pl.col("temperature_c")),
    )


def _results(conclusive: pl.LazyFrame) -> pl.LazyFrame:
    """Health, counters and status after each conclusive start, by ``crank_id``."""
    ordered = conclusive.sort("vehicle_id", "started_at", "crank_id").with_columns(
        place=pl.int_range(pl.len()).over("vehicle_id")
    )
    measured = _with_health(ordered.join(_baselines(ordered), on="vehicle_id", how="left"))
    fails = pl.col("plateau_v") < pl.col("failing_below_v")
    is_low = (lines.critical_below_pct(pl.col("fuel_type")) > _favoured_soh_pct()).fill_null(value=False)
    alarm = _held(fails) | _held(is_low)
    all_clear = _held(~fails & ~is_low)
    is_critical = pl.when(alarm).then(True).when(all_clear).then(False).forward_fill().over("vehicle_id")
    is_warning = fails | (_SOH < lines.WARNING_SOH_PCT).fill_null(value=False)
    status = (
        pl.when(is_critical.fill_null(value=False))
        .then(pl.lit("critical"))
        .when(is_warning)
        .then(pl.lit("warning"))
        .otherwise(pl.lit("ok"))
    )
    return measured.with_columns(
        status=status, is_failing=fails, consecutive_failing_cycles=_run_length(fails)
    ).select(
        "crank_id",
        "status",
        "is_failing",
        "consecutive_failing_cycles",
        "baseline_cranks",
        "baseline_v",
        "soh_pct",
        "soh_low_pct",
        "soh_high_pct",
        "soh_reason",
        is_replace=pl.col("plateau_v") < pl.col("failing_below_v") - (lines.FAILING_V - lines.REPLACE_V),
    )


def _held(condition: pl.Expr) -> pl.Expr:
    """Whether a condition held in this and the cycles before it, as many as the debounce asks."""
    held = condition
    for cycles in range(1, lines.DEBOUNCE_CYCLES):
        held = held & condition.shift(cycles, fill_value=False).over("vehicle_id")
    return held


def _run_length(condition: pl.Expr) -> pl.Expr:
    """How many rows in a row the condition has held, this one included."""
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    broken = pl.when(~condition).then(place).forward_fill().fill_null(-1)
    return (place - broken).over("vehicle_id")


def _baselines(ordered: pl.LazyFrame) -> pl.LazyFrame:
    """Median of each vehicle's first ten compensated plateaus, its scatter, and the temperature it was taken at.

    The scatter is summed in whole millivolts, so that it does not depend on the order of the terms.
    """
    first = ordered.filter(pl.col("place") < lines.BASELINE_CRANKS).with_columns(
        mv=(_P25 * 1000).round().cast(pl.Int64)
    )
    n, mv = pl.col("n"), pl.col("sum_mv")
    variance = (pl.col("squares") - mv * mv / n).clip(lower_bound=0) / (n - 1) * 1e-6
    return (
        first.group_by("vehicle_id")
        .agg(
            n=pl.len().cast(pl.Int64),
            baseline=_P25.median(),
            baseline_c=pl.col("temperature_c").median(),
            sum_mv=pl.col("mv").sum(),
            squares=(pl.col("mv") ** 2).sum(),
        )
        # A median of ten scatters 1.25 times as much as their mean would.
        .with_columns(baseline_variance=1.57 * variance / n)
        .drop("n", "sum_mv", "squares")
    )


def _with_health(ordered: pl.LazyFrame) -> pl.LazyFrame:
    """State of health with its interval, from the tenth conclusive start on."""
    known = pl.min_horizontal(pl.col("place") + 1, lines.BASELINE_CRANKS).cast(pl.Int64)
    is_complete = known >= lines.BASELINE_CRANKS
    is_usable = is_complete & (pl.col("baseline") >= lines.FAILING_V)
    reason = (
        pl.when(~is_complete).then(pl.lit("baseline_incomplete")).when(~is_usable).then(pl.lit("baseline_too_low"))
    )
    soh = lines.soh_pct(_P25, pl.col("baseline"))
    half_v = lines.Z95 * _soh_variance(soh).sqrt()

    def when_usable(value: pl.Expr) -> pl.Expr:
        return pl.when(is_usable).then(value)

    return ordered.with_columns(
        baseline_cranks=known,
        baseline_v=pl.when(is_complete).then(pl.col("baseline").round(6)),
        soh_reason=reason,
        soh_pct=when_usable(soh),
        soh_low_pct=when_usable(lines.soh_pct(_P25 - half_v, pl.col("baseline"))),
        soh_high_pct=when_usable(lines.soh_pct(_P25 + half_v, pl.col("baseline"))),
    )


def _soh_variance(soh: pl.Expr) -> pl.Expr:
    """Variance of a compensated plateau against its baseline, V².

    What adds up: the plateau's own scatter; the battery's true temperature; its true share per kelvin, as far as
    this start was colder or warmer than the baseline's; the charge; the baseline, as far as it pulls the scale.
    """
    plateau = ((pl.col("plateau_high_v") - pl.col("plateau_low_v")) * (0.5 / lines.Z95)) ** 2
    kelvin = pl.col("temperature_method").replace_strict(
        lines.TEMPERATURE_SD_K, default=None, return_dtype=pl.Float64
    )
    drop = pl.col("resting_voltage_v") - pl.col("plateau_v")
    temperature = (lines.DROP_PER_K * drop * kelvin) ** 2
    baseline = pl.col("baseline_variance") * (soh * 0.01) ** 2
    return plateau + temperature + _season_sd_v() ** 2 + lines.CHARGE_SD_V**2 + baseline


def _season_sd_v() -> pl.Expr:
    """What the compensation may be off by, V: it grows with the distance to the season of the baseline."""
    drop = pl.col("resting_voltage_v") - pl.col("plateau_v")
    return lines.DROP_SD_PER_K * drop * (pl.col("temperature_c") - pl.col("baseline_c")).abs()


def _favoured_soh_pct() -> pl.Expr:
    """Health with half a standard deviation of the season's doubt in its favour.

    Three cycles in a row average out what differs from start to start. The compensation's error is the same in all
    of them, so that the debounce is no help against it.
    """
    favoured_v = _P25 + lines.SEASON_DOUBT_SD * _season_sd_v()
    return pl.when(_SOH.is_not_null()).then(lines.soh_pct(favoured_v, pl.col("baseline")))


def _days(history: pl.LazyFrame) -> pl.LazyFrame:
    """One row per vehicle and day: counts, the last conclusive start's figures, and the state at the day's end."""
    when = ("started_at", "crank_id")

    def last(name: str, condition: pl.Expr | None = None) -> pl.Expr:
        chosen: Callable[[pl.Expr], pl.Expr] = (
            (lambda e: e) if condition is None else (lambda e: e.filter(condition))
        )
        return chosen(pl.col(name)).sort_by(*(chosen(pl.col(key)) for key in when)).last()

    has_charge = pl.col("soc_pct").is_not_null()
    of_charge = ("resting_voltage_v", "soc_pct", "soc_low_pct", "soc_high_pct")
    of_plateau = (
        *(
            "plateau_v",
            "temperature_c",
            "plateau_25c_v",
            "failing_below_v",
            "soh_pct",
            "soh_low_pct",
            "soh_high_pct",
        ),
        *("temperature_method", "soh_reason"),
    )
    of_end = (
        *("status", "consecutive_failing_cycles", "baseline_cranks", "baseline_v"),
        *("fuel_type", "fuel_type_method", "place_latitude_deg", "place_longitude_deg"),
    )
    daily = history.group_by("vehicle_id", "event_date").agg(
        *(last(name, has_charge) for name in of_charge),
        *(last(name, _CONCLUSIVE) for name in of_plateau),
        *(last(name) for name in of_end),
        cranks=pl.len().cast(pl.Int64),
        conclusive_cranks=_CONCLUSIVE.sum().cast(pl.Int64),
        failing_cranks=pl.col("is_failing").sum().cast(pl.Int64),
        is_replace_advised=pl.col("is_replace").any(),
        soc_method=last("off_method", has_charge),
        rest=last("off_method", _CONCLUSIVE),
        reason=last("reason"),
    )
    return (
        daily.sort("vehicle_id", "event_date").with_columns(**_verdict()).select(*battery.BATTERY_HEALTH.by_name)
    )


def _verdict() -> dict[str, pl.Expr]:
    """What a day's row says about itself."""
    has_own = pl.col("conclusive_cranks") > 0
    has_any = pl.col("status").is_not_null()
    is_narrow = (pl.col("soh_high_pct") - pl.col("soh_low_pct") <= _NARROW_PCT).fill_null(value=False)
    is_well_known = (pl.col("rest") == "observed") & (pl.col("temperature_method") == "ambient") & is_narrow
    return {
        "status": pl.col("status").fill_null("unknown"),
        "consecutive_failing_cycles": pl.col("consecutive_failing_cycles").fill_null(0),
        "baseline_cranks": pl.col("baseline_cranks").fill_null(0),
        "soc_method": pl.col("soc_method").fill_null("none"),
        "temperature_method": pl.col("temperature_method").fill_null("none"),
        "is_replace_advised": pl.when(has_own).then(pl.col("is_replace_advised")),
        "soh_reason": pl.when(has_own).then(pl.col("soh_reason")).otherwise(pl.lit("no_conclusive_crank")),
        "method": pl.when(has_own)
        .then(pl.lit("plateau"))
        .when(has_any)
        .then(pl.lit("carried"))
        .otherwise(pl.lit("none")),
        "confidence": pl.when(has_own & is_well_known)
        .then(pl.lit("high"))
        .when(has_own)
        .then(pl.lit("medium"))
        .when(has_any)
        .then(pl.lit("low"))
        .otherwise(pl.lit("none")),
        "inconclusive_reason": pl.when(~has_own).then(pl.col("reason")),
        "algo_version": pl.lit(ALGO_VERSION),
    }
