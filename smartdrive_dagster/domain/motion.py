"""Motion: acceleration over a window of one second, from speed and from an accelerometer, one device at a time.

Two devices in one car have clocks and delays of their own, so their speeds are never differenced against each
other. All results are functions of Silver in a day ± 2 days and do not depend on the order of the rows: what is
summed or divided is an integer (Polars 2.1 divides floats by a column of equal values otherwise than by one of
unlike ones), and whatever is asked of a day is asked of the whole of it.
"""

from __future__ import annotations

from typing import Final

import polars as pl

WINDOW_S: Final = 1.0
STANDARD_GRAVITY_MPS2: Final = 9.80665

MAX_STEP_S: Final = 1.25
"""The longest time between two readings of a signal that comes every second: a quarter of it is jitter."""

MIN_RATE_HZ: Final = 0.95
"""Below this mean rate a signal does not come every second. The margin is for clocks, not for slow adapters."""

# Beyond what road cars do (record speeds are near 500 km/h) and PIDs 0D and 0C can say (255 km/h, 16,384 rpm).
MAX_SPEED_KMH: Final = 500.0
MAX_ENGINE_SPEED_RPM: Final = 20_000.0

MAX_ACCELERATION_G: Final = 16.0
"""The widest range of the accelerometers that are built into dongles and telephones."""

NO_BRAKE_G: Final = 1.2
"""Tyres on dry asphalt hold about 1 g, the best of road cars 1.2 g: what is beyond was no brake."""

SPIKE_SPAN_S: Final = 2.5
SPIKE_KMH: Final = 10.0
"""In 0.1 s a step of 5 km/h is beyond any car too, but it is what a coarse reading looks like."""

MIN_BIAS_READINGS: Final = 30
MAX_TILT_G: Final = 0.35
"""A constant share of gravity of 0.35 g is a sensor tilted by 20°: its axes are not the vehicle's."""

_US: Final = 1_000_000
_WINDOW_US: Final = round(WINDOW_S * _US)
_STEP_US: Final = round(MAX_STEP_S * _US)
_DAY_US: Final = 86_400 * _US
_TICKS: Final = 10**11  # a day of readings at 1 kHz times this is still an integer of 64 bits
_G_PER_KMH_US: Final = _US / (3.6 * STANDARD_GRAVITY_MPS2)
_G_PER_MPS2: Final = 1 / STANDARD_GRAVITY_MPS2
_DRIVING_PHASES: Final = ("cranking", "running")

SERIES: Final = ("vehicle_id", "device_id")
_AT = pl.col("at_us")
_SPEED = pl.col("speed_kmh")


def plausible(value: pl.Expr, largest: float, smallest: float = 0.0) -> pl.Expr:
    """A reading that no car can have counts as not measured: it would outweigh every true one."""
    return pl.when(value.is_between(smallest, largest)).then(value)


def optional(telemetry: pl.LazyFrame, name: str, dtype: pl.DataType | None = None) -> pl.Expr:
    """A column, or nulls where the frame does not have it."""
    present = name in telemetry.collect_schema()
    return pl.col(name) if present else pl.lit(None, dtype=dtype or pl.Float64()).alias(name)


def with_rate(readings: pl.LazyFrame, series: tuple[str, ...] = SERIES) -> pl.LazyFrame:
    """Say of each reading whether the time up to it is covered at one reading a second or more.

    Args:
        readings: one row per reading, sorted by `series` and ``at_us``.
        series: the columns that name a series.

    Returns:
        The rows with ``run`` (running number of a run of readings at most `MAX_STEP_S` apart), ``step_us`` (since
        the reading before it; null at the start of a run) and ``rate_hz`` (mean rate of the run on the reading's
        UTC day; null where that is under `MIN_RATE_HZ`, and at the start of a run).
    """
    follows = pl.lit(value=True)
    for name in series:
        follows &= pl.col(name) == pl.col(name).shift()
    step = pl.when(follows & (_AT.diff() <= _STEP_US)).then(_AT.diff())
    of_day = ("run", _AT // _DAY_US)
    steps = pl.col("step_us").count().over(*of_day).cast(pl.Int64)
    rate = (steps * _TICKS // pl.col("step_us").sum().over(*of_day) * (_US / _TICKS)).round(5)
    return (
        readings.with_columns(step_us=step)
        .with_columns(run=pl.col("step_us").is_null().cum_sum())
        .with_columns(rate_hz=pl.when(pl.col("step_us").is_not_null() & (rate >= MIN_RATE_HZ)).then(rate))
    )


def speed_readings(telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """The plausible speeds of each device, without single readings that stick out.

    Returns:
        vehicle_id, device_id ("" where it is not known), at_us and speed_kmh, sorted, one row an instant.
    """
    readings = (
        telemetry.select(
            "vehicle_id",
            optional(telemetry, "device_id", pl.String()).fill_null(""),
            plausible(_SPEED, MAX_SPEED_KMH),
            at_us=pl.col("event_at").dt.epoch("us"),
        )
        .filter(_SPEED.is_not_null())
        .group_by(*SERIES, "at_us")
        .agg((_SPEED.min() + _SPEED.max()) * 0.5)
        .sort(*SERIES, "at_us")
    )
    return readings.filter(~_is_spike())


def _is_spike() -> pl.Expr:
    """Whether a reading differs from both its neighbours, to the same side, by more than any car could.

    A dropped frame that is read as 0 km/h looks so. Where the speed stays there, it is no spike.
    """
    before, after = _SPEED.shift(1).over(*SERIES), _SPEED.shift(-1).over(*SERIES)
    came, goes = (_AT - _AT.shift(1)).over(*SERIES), (_AT.shift(-1) - _AT).over(*SERIES)
    rise, fall = _SPEED - before, _SPEED - after
    too_fast = (rise.abs() * _G_PER_KMH_US > NO_BRAKE_G * came) & (fall.abs() * _G_PER_KMH_US > NO_BRAKE_G * goes)
    span = came + goes <= round(SPIKE_SPAN_S * _US)
    stands_out = pl.min_horizontal(rise.abs(), fall.abs()) > SPIKE_KMH
    return (span & too_fast & stands_out & (rise.sign() == fall.sign())).fill_null(value=False)


def speed_accelerations(telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """Acceleration at each speed reading: the difference of speed over the second before it.

    The speed a second ago is interpolated between its neighbours, so the window is a second at any rate. At 10 Hz
    a step of 1 km/h from one reading to the next would be 0.28 g; over the second it is 0.03 g.

    Returns:
        vehicle_id, device_id, at_us, from_us (a second before), acceleration_g, speed_kmh (at from_us) and
        rate_hz, where speed comes every second.
    """
    readings = with_rate(speed_readings(telemetry)).with_columns(speed=_micro(_SPEED)).cache()
    in_series = {"by": list(SERIES), "strategy": "backward", "check_sortedness": False}
    earlier = readings.select(
        *SERIES,
        from_us="at_us",
        early_us="at_us",
        early="speed",
        early_run="run",
        next_us=_AT.shift(-1),
        next=pl.col("speed").shift(-1),
    )
    gone, span = pl.col("from_us") - pl.col("early_us"), pl.col("next_us") - pl.col("early_us")
    speed_then = pl.col("early") + gone * (pl.col("next") - pl.col("early")) // span
    return (
        readings.filter(pl.col("rate_hz").is_not_null())
        .with_columns(from_us=_AT - _WINDOW_US)
        .join_asof(earlier, on="from_us", **in_series)  # type: ignore[arg-type]
        .filter(pl.col("early_run") == pl.col("run"))
        .select(
            *SERIES,
            "at_us",
            "from_us",
            "rate_hz",
            speed_then=pl.when(gone > 0).then(speed_then).otherwise("early"),
            speed_now="speed",
        )
        .select(
            *SERIES,
            "at_us",
            "from_us",
            "rate_hz",
            acceleration_g=((pl.col("speed_now") - pl.col("speed_then")) * (_G_PER_KMH_US * 1e-12)).round(9),
            speed_kmh=(pl.col("speed_then") * 1e-6).round(6),
        )
    )


def level_accelerations(telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """Readings of accelerometers without their bias, in g.

    A sensor's bias, and the share of gravity that its tilt brings, is the median of its readings while driving on
    the UTC day: a vehicle accelerates, brakes and turns both ways for short times only. Fewer than
    `MIN_BIAS_READINGS` on a day do not tell it, and then nothing is made of them.

    Returns:
        vehicle_id, device_id, at_us, x_g (forward), y_g (left), is_level (its bias is under `MAX_TILT_G`),
        sorted, one row an instant.
    """
    limit = MAX_ACCELERATION_G * STANDARD_GRAVITY_MPS2
    axes = [
        (plausible(optional(telemetry, f"accel_{axis}_mps2"), limit, -limit) * _G_PER_MPS2).alias(f"{axis}_g")
        for axis in "xy"
    ]
    phase = optional(telemetry, "phase", pl.String())
    is_driving = phase.is_null() | phase.is_in(_DRIVING_PHASES)
    readings = (
        telemetry.select(
            "vehicle_id",
            optional(telemetry, "device_id", pl.String()).fill_null(""),
            *axes,
            at_us=pl.col("event_at").dt.epoch("us"),
            is_driving=is_driving,
        )
        .filter(pl.any_horizontal(pl.col("x_g", "y_g").is_not_null()))
        .group_by(*SERIES, "at_us")
        .agg(
            *((pl.col(name).min() + pl.col(name).max()) * 0.5 for name in ("x_g", "y_g")),
            pl.col("is_driving").any(),
        )
        .with_columns(day=_AT // _DAY_US)
        .cache()
    )
    bias = (
        readings.filter("is_driving")
        .group_by(*SERIES, "day")
        .agg(
            pl.col("x_g").median().alias("x_bias"),
            pl.col("y_g").median().alias("y_bias"),
            readings=pl.len(),
        )
        .filter(pl.col("readings") >= MIN_BIAS_READINGS)
    )
    tilt = pl.max_horizontal(pl.col("x_bias").abs(), pl.col("y_bias").abs())
    return (
        readings.join(bias, on=[*SERIES, "day"], how="inner")
        .select(
            *SERIES,
            "at_us",
            pl.col("x_g") - pl.col("x_bias"),
            pl.col("y_g") - pl.col("y_bias"),
            is_level=tilt <= MAX_TILT_G,
        )
        .sort(*SERIES, "at_us")
    )


def mean_accelerations(level: pl.LazyFrame, axis: str) -> pl.LazyFrame:
    """The mean of one axis over the second before each reading, where the signal comes every second.

    Args:
        level: what `level_accelerations` returned.
        axis: ``x_g`` or ``y_g``.

    Returns:
        vehicle_id, at_us, from_us, acceleration_g and rate_hz.
    """
    micro_g = _micro(pl.col(axis))
    readings = (
        with_rate(level.filter(pl.col("is_level") & pl.col(axis).is_not_null()))
        .with_columns(total=micro_g.cum_sum().over(*SERIES), number=pl.int_range(pl.len()).over(*SERIES))
        .cache()
    )
    earlier = readings.select(*SERIES, from_us="at_us", total_then="total", number_then="number")
    count = pl.col("number") - pl.col("number_then").fill_null(-1)
    total = pl.col("total") - pl.col("total_then").fill_null(0)
    return (
        readings.filter(pl.col("rate_hz").is_not_null())
        .with_columns(from_us=_AT - _WINDOW_US)
        .join_asof(earlier, on="from_us", by=list(SERIES), strategy="backward", check_sortedness=False)
        .select("vehicle_id", "at_us", "from_us", "rate_hz", acceleration_g=(total // count * 1e-6).round(6))
    )


def _micro(value: pl.Expr) -> pl.Expr:
    return (value * 1e6).round().cast(pl.Int64)
