"""Fuel: how much a trip burnt, by the best method that its signals allow, or why nobody can say.

`docs/explanation/fuel.md` has the formulas, their sources and their limits. What is integrated over a trip is the
engine's fuel rate, its air flow, or a measure of the air that its cylinders hold; the fuel's own figures come in
at the end. Sums are of integers, for the reason that `trips` gives.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from smartdrive_dagster.domain.fuel_types import CO2_PER_CARBON, ETHANOL, FUEL_OF_PID, FUELS, PETROL
from smartdrive_dagster.domain.motion import MAX_ENGINE_SPEED_RPM, optional, plausible
from smartdrive_dagster.domain.trip_measures import INTERVAL_US, placed_in_trips
from smartdrive_dagster.domain.trips import HALO_DAYS as TRIPS_HALO_DAYS
from smartdrive_dagster.domain.vehicles import current_profiles
from smartdrive_dagster.tables import driving

ALGO_VERSION: Final = "1"

HALO_DAYS: Final = TRIPS_HALO_DAYS
"""Days of Silver on both sides that the fuel of a day's trips depends on: those that the trips do."""

MIN_COVERAGE: Final = 0.9
MIN_DISTANCE_KM: Final = 1.0

VOLUMETRIC_EFFICIENCY: Final = 0.8
"""What a naturally aspirated engine fills of its cylinders, within a fifth, over most of its range."""

CAPPED_LAMBDA: Final = 1.95
"""PID 44 ends just under 2. There a petrol engine's fuel is cut; a diesel's true ratio may be 2 or 8."""

# Relative ends of the interval by method, below and above; see docs/explanation/fuel.md.
_INTERVALS: Final = {
    "fuel_rate": (0.05, 0.05),
    "maf_lambda": (0.07, 0.07),
    "maf": (0.15, 0.10),
    "speed_density": (0.20, 0.20),
}
_DIESEL_MARGIN: Final = 0.10
_PUMP_ETHANOL_MARGIN: Final = 0.04
"""Pump petrol holds up to a tenth of ethanol, which takes 4 % more litres for the same air."""


_WITH_ETHANOL: Final = ("petrol", "e10", "e85")
_NOT_BY_LITRE: Final = ("cng", "electric")

_DAY_US: Final = 86_400_000_000
_DIGITS: Final = 6  # the last bits of a quotient depend on the trips computed with it, as `trips` says
_NL_PER_LPH_US: Final = 1 / 3.6
_AIR_GPS_PER_L: Final = 1000 / (120 * 287.05)
"""Air into one litre of a four-stroke engine, g/s for rpm · kPa / K: R of dry air is 287.05 J/(kg·K)."""

_AT = pl.col("at_us")
_LAMBDA = pl.col("commanded_equivalence_ratio")


def trip_fuel(telemetry: pl.LazyFrame, trips: pl.LazyFrame, profiles: pl.LazyFrame | None) -> pl.LazyFrame:
    """Find the fuel of each trip.

    Args:
        telemetry: rows of silver.telemetry in the trips' days widened by `HALO_DAYS`, in any order. Used are
            ``vehicle_id``, ``event_at`` and, where they are there, the signals of fuel, air and engine speed.
        trips: rows of gold.TRIPS, as `segment_trips` finds them.
        profiles: rows of silver.profiles, all of those vehicles or more; None for none.

    Returns:
        Rows of driving.TRIP_FUEL, one for each trip, by vehicle and start.
    """
    placed_trips = trips.select(
        "vehicle_id",
        "distance_km",
        "started_at",
        "event_date",
        trip="trip_id",
        chain="trip_id",
        started_at_us=pl.col("started_at").dt.epoch("us"),
        ended_at_us=pl.col("ended_at").dt.epoch("us"),
        chain_ended_at_us=pl.col("ended_at").dt.epoch("us"),
    ).sort("vehicle_id", "started_at_us")
    known = _with_profile(_with_pid(placed_trips, telemetry), profiles)
    integrated = known.join(_integrals(_instants(telemetry), placed_trips), on="trip", how="left")
    return _rows(integrated.with_columns(**_fuel_type()).with_columns(method=_method()))


def _instants(telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """The signals of one vehicle at one instant, sorted; what no engine can have counts as not measured."""
    signals = {
        "fuel_rate_lph": plausible(optional(telemetry, "fuel_rate_lph"), 3300),
        "maf_gps": plausible(optional(telemetry, "maf_gps"), 656),
        "commanded_equivalence_ratio": plausible(optional(telemetry, "commanded_equivalence_ratio"), 2, 0.5),
        "intake_pressure_kpa": plausible(optional(telemetry, "intake_pressure_kpa"), 255),
        "intake_temp_c": plausible(optional(telemetry, "intake_temp_c"), 215, -40),
        "engine_speed_rpm": plausible(optional(telemetry, "engine_speed_rpm"), MAX_ENGINE_SPEED_RPM),
        "ethanol_pct": plausible(optional(telemetry, "ethanol_pct"), 100),
    }
    return (
        telemetry.select("vehicle_id", at_us=pl.col("event_at").dt.epoch("us"), **signals)
        .group_by("vehicle_id", "at_us")
        .agg(*((pl.col(name).min() + pl.col(name).max()) * 0.5 for name in signals))
        .sort("vehicle_id", "at_us")
    )


def _integrals(instants: pl.LazyFrame, trips: pl.LazyFrame) -> pl.LazyFrame:
    """Integrate each signal over each trip, over readings at most 10 s apart.

    Returns:
        One row per trip: recorded_us; for each of rate, maf, rich (air flow over lambda), capped (air flow where
        lambda is at its end) and filled (speed-density): {name}_us and {name}_sum; max_lambda and ethanol.
    """
    placed = placed_in_trips(instants, trips)
    for name in ("commanded_equivalence_ratio", "engine_speed_rpm", "intake_temp_c"):
        placed = placed.with_columns(_held(name))
    is_capped = _LAMBDA >= CAPPED_LAMBDA
    kelvin = pl.col("intake_temp_c") + 273.15
    filled = pl.col("engine_speed_rpm") * pl.col("intake_pressure_kpa") / kelvin
    rich = pl.col("maf_gps") / _LAMBDA
    flows = {
        "rate": pl.col("fuel_rate_lph") * _NL_PER_LPH_US,
        "maf": pl.col("maf_gps"),
        "rich": pl.when(is_capped).then(0.0).otherwise(rich),
        "capped": pl.when(is_capped).then(rich).when(rich.is_not_null()).then(0.0),
        "filled": filled * (_AIR_GPS_PER_L * VOLUMETRIC_EFFICIENCY),
    }
    steps = placed.with_columns(**flows).with_columns(recorded_us=_step_us(pl.lit(value=True)))
    for name in flows:
        steps = steps.with_columns(**_steps(name))
    sums = [f"{name}_{part}" for name in flows for part in ("us", "sum")]
    return steps.group_by("trip").agg(
        pl.col("recorded_us", *sums).sum(),
        max_lambda=_LAMBDA.max(),
        ethanol=pl.col("ethanol_pct").median() * 0.01,
    )


def _held(name: str) -> pl.Expr:
    """A signal's last reading, not older than 10 s and of the same trip: signals come in turn."""
    read_at, read_in = (
        pl.when(pl.col(name).is_not_null()).then(pl.col(column)).forward_fill() for column in ("at_us", "trip")
    )
    is_fresh = (read_in == pl.col("trip")) & (_AT - read_at <= INTERVAL_US)
    return pl.when(is_fresh).then(pl.col(name).forward_fill()).alias(name)


def _next(column: pl.Expr, is_reading: pl.Expr) -> pl.Expr:
    return pl.when(is_reading).then(column).shift(-1).backward_fill()


def _step_us(is_reading: pl.Expr) -> pl.Expr:
    """From a reading to the next of the trip; null where it is more than 10 s away."""
    took = _next(_AT, is_reading) - _AT
    in_trip = _next(pl.col("trip"), is_reading) == pl.col("trip")
    return pl.when(is_reading & in_trip & (took <= INTERVAL_US)).then(took)


def _steps(name: str) -> dict[str, pl.Expr]:
    value = pl.col(name)
    took = _step_us(value.is_not_null())
    amount = (took * (value + _next(value, value.is_not_null())) * 0.5).round().cast(pl.Int64, strict=False)
    return {f"{name}_us": took, f"{name}_sum": pl.when(took.is_not_null()).then(amount)}


def _with_pid(trips: pl.LazyFrame, telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """Add pid_fuel: the fuel that PID 51 named most often on the UTC day of the trip's start."""
    code = optional(telemetry, "fuel_type_code").cast(pl.Int64, strict=False)
    day = pl.col("event_at").dt.epoch("us") // _DAY_US
    named = (
        telemetry.select("vehicle_id", day=day, code=code)
        .filter(pl.col("code").is_between(1, 23))
        .group_by("vehicle_id", "day", "code")
        .agg(times=pl.len())
        .sort("vehicle_id", "day", "times", "code", descending=[False, False, True, False])
        .group_by("vehicle_id", "day", maintain_order=True)
        .agg(pl.col("code").first())
        .with_columns(pid_fuel=pl.col("code").replace_strict(FUEL_OF_PID, default=None, return_dtype=pl.String))
    )
    return trips.with_columns(day=pl.col("started_at_us") // _DAY_US).join(
        named, on=["vehicle_id", "day"], how="left"
    )


def _with_profile(trips: pl.LazyFrame, profiles: pl.LazyFrame | None) -> pl.LazyFrame:
    """Add profile_fuel and displacement_l as last said, and the price that held at the trip's start."""
    if profiles is None:
        texts = [pl.lit(None, pl.String).alias(name) for name in ("profile_fuel", "currency")]
        numbers = [pl.lit(None, pl.Float64).alias(name) for name in ("displacement_l", "fuel_price_per_l")]
        return trips.with_columns(*texts, *numbers)
    words = current_profiles(profiles).select("vehicle_id", "displacement_l", profile_fuel="fuel_type")
    prices = (
        profiles.filter(pl.col("fuel_price_per_l").is_not_null())
        .sort("vehicle_id", "set_at", "message_id")
        .select("vehicle_id", "fuel_price_per_l", "currency", started_at="set_at")
        .unique(["vehicle_id", "started_at"], keep="last", maintain_order=True)
    )
    first = prices.group_by("vehicle_id", maintain_order=True).agg(
        first_price=pl.col("fuel_price_per_l").first(), first_currency=pl.col("currency").first()
    )
    return (
        trips.sort("vehicle_id", "started_at")
        .join_asof(prices, on="started_at", by="vehicle_id", strategy="backward", check_sortedness=False)
        .join(first, on="vehicle_id", how="left")
        .join(words, on="vehicle_id", how="left")
        .with_columns(
            pl.coalesce("fuel_price_per_l", "first_price").alias("fuel_price_per_l"),
            pl.coalesce("currency", "first_currency").alias("currency"),
        )
    )


def _fuel_type() -> dict[str, pl.Expr]:
    """The fuel, who says so, and why not.

    An owner knows E10 from petrol and of a conversion to gas; PID 51 does not. Where the two disagree on a diesel,
    one of them speaks of another vehicle.
    """
    profile, pid = pl.col("profile_fuel"), pl.col("pid_fuel")
    is_hybrid = (profile == "hybrid").fill_null(value=False)
    is_conflict = ~is_hybrid & ((profile == "diesel") != (pid == "diesel")).fill_null(value=False)
    by_profile = profile.is_not_null() & ~is_hybrid & ~is_conflict
    by_pid = pid.is_not_null() & ~by_profile & ~is_conflict
    return {
        "fuel_type": pl.when(by_profile).then(profile).when(by_pid).then(pid),
        "fuel_type_source": pl.when(by_profile)
        .then(pl.lit("profile"))
        .when(by_pid)
        .then(pl.lit("pid"))
        .otherwise(pl.lit("none")),
        "unknown": pl.when(is_conflict)
        .then(pl.lit("fuel_type_conflict"))
        .when(is_hybrid)
        .then(pl.lit("hybrid_fuel_unknown"))
        .otherwise(pl.lit("fuel_type_unknown")),
    }


def _covers(name: str) -> pl.Expr:
    recorded = pl.col("recorded_us")
    return ((recorded > 0) & (pl.col(f"{name}_us") >= MIN_COVERAGE * recorded)).fill_null(value=False)


def _method() -> pl.Expr:
    """The method, or the reason for none, in one column."""
    fuel = pl.col("fuel_type")
    is_diesel = fuel == "diesel"
    knows_lambda = _covers("rich") & ((pl.col("max_lambda") > 1.05) | ~is_diesel)  # noqa: PLR2004
    has_air = (pl.col("maf_us") > 0) | (pl.col("filled_us") > 0)
    return (
        pl.when(fuel.is_in(_NOT_BY_LITRE))
        .then(pl.lit("fuel_not_by_litre"))
        .when(_covers("rate"))
        .then(pl.lit("fuel_rate"))
        .when(~has_air.fill_null(value=False) & (pl.col("rate_us") > 0).fill_null(value=False))
        .then(pl.lit("coverage_too_low"))
        .when(~has_air.fill_null(value=False))
        .then(pl.lit("no_signal"))
        .when(fuel.is_null())
        .then("unknown")
        .when(_covers("maf") & knows_lambda)
        .then(pl.lit("maf_lambda"))
        .when(is_diesel)
        .then(pl.lit("diesel_runs_lean"))
        .when(_covers("maf"))
        .then(pl.lit("maf"))
        .when(_covers("filled") & pl.col("displacement_l").is_null())
        .then(pl.lit("displacement_unknown"))
        .when(_covers("filled"))
        .then(pl.lit("speed_density"))
        .otherwise(pl.lit("coverage_too_low"))
    )


def _figure(name: str) -> pl.Expr:
    """A figure of the trip's fuel, of the blend that PID 52 measured where it did."""
    fuel, ethanol = pl.col("fuel_type"), pl.col("ethanol")
    fixed = fuel.replace_strict(
        {kind: getattr(figures, name) for kind, figures in FUELS.items()}, default=None, return_dtype=pl.Float64
    )
    density = ethanol * ETHANOL.density + (1 - ethanol) * PETROL.density
    mass = ethanol * ETHANOL.density / density
    share = {
        "air_g_per_l": (mass * ETHANOL.stoichiometric + (1 - mass) * PETROL.stoichiometric) * density * 1000,
        "co2_kg_per_l": (mass * ETHANOL.carbon + (1 - mass) * PETROL.carbon) * density * CO2_PER_CARBON,
    }[name]
    return pl.when(fuel.is_in(_WITH_ETHANOL) & ethanol.is_not_null()).then(share).otherwise(fixed)


def _litres() -> dict[str, pl.Expr]:
    """The estimate and its interval. Of a diesel at the end of lambda's scale, half of the bound is taken."""
    method, is_diesel = pl.col("method"), (pl.col("fuel_type") == "diesel").fill_null(value=False)
    air = {name: pl.col(f"{name}_sum") * 1e-6 / _figure("air_g_per_l") for name in ("maf", "rich", "capped")}
    filled = pl.col("filled_sum") * pl.col("displacement_l") * 1e-6 / _figure("air_g_per_l")
    capped = pl.when(is_diesel).then(air["capped"]).otherwise(0.0)
    central = (
        pl.when(method == "fuel_rate")
        .then(pl.col("rate_sum") * 1e-9)
        .when(method == "maf_lambda")
        .then(air["rich"] + capped * 0.5)
        .when(method == "maf")
        .then(air["maf"])
        .when(method == "speed_density")
        .then(filled)
    )
    below, above = (
        method.replace_strict(
            {name: ends[n] for name, ends in _INTERVALS.items()}, default=None, return_dtype=pl.Float64
        )
        for n in (0, 1)
    )
    by_lambda = method == "maf_lambda"
    lean = pl.when(by_lambda & is_diesel).then(_DIESEL_MARGIN).otherwise(0.0)
    unsure = pl.when(by_lambda).then(capped * 0.5).otherwise(0.0)
    is_pump_petrol = (pl.col("fuel_type") == "petrol") & pl.col("ethanol").is_null() & (method != "fuel_rate")
    pump = pl.when(is_pump_petrol).then(_PUMP_ETHANOL_MARGIN).otherwise(0.0)
    return {
        "fuel_l": central,
        "fuel_low_l": (central - unsure) * (1 - below - lean),
        "fuel_high_l": (central + unsure) * (1 + above + lean + pump) / pl.col("coverage"),
    }


def _rows(found: pl.LazyFrame) -> pl.LazyFrame:
    """Split method and reason, scale and order the columns as driving.TRIP_FUEL has them."""
    methods = [method for method in driving.FUEL_METHODS if method != "none"]
    is_method = pl.col("method").is_in(methods)
    used_us = (
        pl.when(pl.col("method") == "fuel_rate")
        .then("rate_us")
        .when(pl.col("method") == "speed_density")
        .then("filled_us")
        .otherwise(pl.max_horizontal("rate_us", "maf_us", "filled_us"))
    )
    recorded = pl.when(pl.col("recorded_us") > 0).then(pl.col("recorded_us"))
    far_enough = pl.col("distance_km") >= MIN_DISTANCE_KM
    amounts = ("fuel", "fuel_low", "fuel_high")
    return (
        found.with_columns(coverage=used_us / recorded)
        .with_columns(**{name: litres.round(_DIGITS) for name, litres in _litres().items()})
        .with_columns(
            *(
                pl.when(far_enough)
                .then((100 * pl.col(f"{name}_l") / pl.col("distance_km")).round(_DIGITS))
                .alias(f"{name}_l_per_100km")
                for name in amounts
            ),
            co2_kg=(pl.col("fuel_l") * _figure("co2_kg_per_l")).round(_DIGITS),
            cost=pl.col("fuel_l") * pl.col("fuel_price_per_l"),
            currency=pl.when(pl.col("fuel_price_per_l").is_not_null() & is_method).then("currency"),
            reason=pl.when(~is_method).then("method"),
            fuel_coverage_pct=(100 * pl.col("coverage")).round(_DIGITS),
            algo_version=pl.lit(ALGO_VERSION),
        )
        .with_columns(trip_id="trip", method=pl.when(is_method).then("method").otherwise(pl.lit("none")))
        .sort("vehicle_id", "started_at")
        .select(*driving.TRIP_FUEL.by_name)
    )
