"""Dips of a voltage and the shape of each: inrush, plateau, duration, recovery.

A dip is a reading 0.8 V or more under the median of the 2 s before it that lasts: a lone reading of some
milliseconds is none. Voltages are whole microvolts here, so that sums do not depend on the order of their terms.
"""

from __future__ import annotations

import math
from typing import Final

import polars as pl

from smartdrive_dagster.domain.surroundings import S_US, around

SERIES: Final = ("vehicle_id", "device_id", "voltage_source")
"""What one voltmeter reads: an adapter of a device, or the engine's control unit as this device hears it."""

MIN_VOLTAGE_V: Final = 3.0
MAX_VOLTAGE_V: Final = 18.0
"""What a 12 V system can show. A 24 V lorry's readings count as not measured: no line here fits them."""

MIN_PLATEAU_SAMPLES: Final = 5
NEIGHBOUR_US: Final = 5 * S_US
"""Two dips within this are one start: pre-glow and starter, or a second attempt. The deepest one counts."""

AFTER_US: Final = 15 * S_US

_DIP_UV: Final = 800_000
_MEDIAN_US: Final = 2 * S_US
_MIN_MEDIAN_SAMPLES: Final = 3
_LASTS_FROM_US: Final = 100_000
_LASTS_UNTIL_US: Final = 400_000
_INRUSH_US: Final = 100_000
_PLATEAU_ENDS_US: Final = 600_000
_RELEASED_UV: Final = 300_000
_CHAIN_US: Final = 1 * S_US
_RECOVERY_FROM_US: Final = 1 * S_US
_NEAR_US: Final = 1 * S_US
_UV: Final = 1_000_000
_RESOLUTION_V: Final = 0.1
_KEY: Final = (*SERIES, "mark_us")
_SINCE: Final = pl.col("since_us")
_VOLTS: Final = pl.col("uv")


def voltage_series(samples: pl.LazyFrame) -> pl.LazyFrame:
    """All plausible voltage readings, one per voltmeter and instant.

    Args:
        samples: vehicle_id, device_id, at_us, is_parked, adapter_voltage_v, control_module_voltage_v.

    Returns:
        `SERIES`, at_us, uv (µV), is_parked; sorted by series and time.
    """
    sources = {"adapter": "adapter_voltage_v", "control_module": "control_module_voltage_v"}
    readings = [
        samples.filter(pl.col(column).is_between(MIN_VOLTAGE_V, MAX_VOLTAGE_V)).select(
            "vehicle_id",
            pl.col("device_id").fill_null(""),
            "at_us",
            "is_parked",
            voltage_source=pl.lit(source),
            uv=(pl.col(column) * _UV).round().cast(pl.Int64),
        )
        for source, column in sources.items()
    ]
    return (
        pl.concat(readings)
        .group_by(*SERIES, "at_us")
        # Two readings of one instant count as their middle, in whatever order they came.
        .agg(uv=(_VOLTS.min() + _VOLTS.max()) // 2, is_parked=pl.col("is_parked").all())
        .sort(*SERIES, "at_us")
    )


def find_dips(series: pl.LazyFrame) -> pl.LazyFrame:
    """Where the voltage falls by 0.8 V or more and stays down.

    Args:
        series: as `voltage_series` returns it.

    Returns:
        `SERIES`, mark_us (the dip's first reading), before_uv (median of the 2 s before it).
    """
    before = _VOLTS.rolling_median_by(
        "at_us", f"{_MEDIAN_US}i", min_samples=_MIN_MEDIAN_SAMPLES, closed="left"
    ).over(*SERIES)
    low = (
        series.with_columns(before_uv=before)
        .filter(pl.col("before_uv") - _VOLTS >= _DIP_UV)
        .select(*SERIES, "before_uv", low_uv="uv", mark_us="at_us")
    )
    stays = (
        around(series, low, by=SERIES, before_us=0, after_us=_LASTS_UNTIL_US)
        .filter(_SINCE >= _LASTS_FROM_US)
        .group_by(*_KEY)
        .agg(stays=(pl.col("before_uv") - _VOLTS >= _DIP_UV // 2).any())
    )
    # Without a reading after it nobody knows whether it lasted; whether it was a start, the engine speed tells.
    lasting = low.join(stays, on=_KEY, how="left").filter(pl.col("stays").fill_null(value=True))
    # A fall within a dip is one more: the starter soon after the glow plugs. Of neighbours the deepest counts.
    since_last, fall = (pl.col(name).diff().over(*SERIES) for name in ("mark_us", "low_uv"))
    is_first = since_last.is_null() | (since_last > _CHAIN_US) | (fall <= -_DIP_UV)
    return lasting.sort(*_KEY).filter(is_first).select(*_KEY, "before_uv")


def measure_dips(series: pl.LazyFrame, dips: pl.LazyFrame) -> pl.LazyFrame:
    """Measure the waveform of each dip.

    The plateau ends early where the starter lets go: a warm engine fires within half a second, and the voltage
    after that is no cranking voltage.

    Args:
        series: as `voltage_series` returns it.
        dips: `SERIES`, mark_us, before_uv, and more.

    Returns:
        The dips with inrush_uv, inrush_samples, plateau_samples, plateau_sum_uv, plateau_v, plateau_low_v,
        plateau_high_v (null with fewer than 5 samples), depth_uv (lowest reading of the first 600 ms),
        released_us, recovery_uv, charged_uv (highest reading afterwards), samples_near.
    """
    near = around(
        series.drop("is_parked"), dips.select(*_KEY, "before_uv"), by=SERIES, before_us=_NEAR_US, after_us=AFTER_US
    )
    is_back = (_SINCE >= _INRUSH_US) & (pl.col("before_uv") - _RELEASED_UV <= _VOLTS)
    released = near.filter(is_back).group_by(*_KEY).agg(released_us=_SINCE.min())
    in_inrush = _SINCE.is_between(0, _INRUSH_US, closed="left")
    end = pl.min_horizontal(pl.col("released_us"), _PLATEAU_ENDS_US)
    in_plateau = (_SINCE >= _INRUSH_US) & (end > _SINCE)
    in_dip = _SINCE.is_between(0, _PLATEAU_ENDS_US, closed="left")
    has_recovered = pl.col("released_us") + _RECOVERY_FROM_US <= _SINCE
    plateau = _VOLTS.filter(in_plateau)
    measured = (
        near.join(released, on=_KEY, how="left")
        .group_by(*_KEY)
        .agg(
            pl.col("released_us").first(),
            inrush_uv=_VOLTS.filter(in_inrush).min(),
            inrush_samples=in_inrush.sum().cast(pl.Int64),
            plateau_samples=in_plateau.sum().cast(pl.Int64),
            plateau_sum_uv=plateau.sum(),
            # in millivolts, so that squares stay far inside 64 bits
            plateau_sum_mv=(plateau // 1000).sum(),
            plateau_squares=((plateau // 1000) ** 2).sum(),
            depth_uv=_VOLTS.filter(in_dip).min(),
            recovery_uv=_VOLTS.filter(has_recovered).median(),
            charged_uv=_VOLTS.filter(_SINCE > _INRUSH_US).max(),
            samples_near=(_SINCE < _PLATEAU_ENDS_US).sum().cast(pl.Int64),
        )
    )
    return dips.join(measured, on=_KEY, how="inner").with_columns(**_plateau())


def _plateau() -> dict[str, pl.Expr]:
    """Mean and 95 % interval of the plateau, V.

    Two errors: the readings' scatter (ripple and noise, averaged over n with Student's t), and the steps of 0.1 V
    in which an ELM327 prints, which need not average out. The voltmeter's own error is not in it.
    """
    n = pl.col("plateau_samples")
    mean = pl.col("plateau_sum_uv") / n * 1e-6
    sum_mv = pl.col("plateau_sum_mv")
    variance = (pl.col("plateau_squares") - sum_mv * sum_mv / n).clip(lower_bound=0) / (n - 1) * 1e-6
    freedom = n - 1
    # Cornish-Fisher expansion of Student's 97.5 % quantile; within 0.05 from 4 degrees of freedom on.
    quantile = 1.96 + 2.37 / freedom + 2.82 / (freedom * freedom)
    half = quantile * (variance / n + _RESOLUTION_V**2 / 12).sqrt()
    is_conclusive = n >= MIN_PLATEAU_SAMPLES
    return {
        "plateau_v": pl.when(is_conclusive).then(mean.round(6)),
        "plateau_low_v": pl.when(is_conclusive).then((mean - half).round(6)),
        "plateau_high_v": pl.when(is_conclusive).then((mean + half).round(6)),
    }


def sampling_rate_hz(samples_near: pl.Expr) -> pl.Expr:
    """Readings per second from 1 s before the dip to the plateau's end."""
    return (samples_near * (S_US / (_NEAR_US + _PLATEAU_ENDS_US))).round(6)


def without_worse_neighbours(
    dips: pl.LazyFrame, *, by: tuple[str, ...], rank: tuple[pl.Expr, ...]
) -> pl.LazyFrame:
    """Keep a dip only where no other of the same `by` within 5 s on either side goes before it.

    Local on purpose: a chain of neighbours could be as long as a day.

    Args:
        dips: `SERIES`, mark_us, and what `rank` needs.
        by: columns whose dips are compared.
        rank: the smaller tuple goes before; `SERIES` and mark_us break ties.
    """
    names = [f"rank_{place}" for place in range(len(rank))]
    order = (*names, *SERIES, "mark_us")
    ranked = dips.with_columns(**dict(zip(names, rank, strict=True)))
    others = ranked.select(
        *(pl.col(name).alias(f"other_{name}") for name in order if name not in by), *by, at_us="mark_us"
    )
    pairs = around(others, ranked, by=by, before_us=NEIGHBOUR_US, after_us=NEIGHBOUR_US + 1)
    compared = [name for name in order if name not in by]
    beaten = _goes_before([(pl.col(f"other_{name}"), pl.col(name)) for name in compared])
    losers = pairs.filter(beaten).select(*_KEY).unique()
    return ranked.join(losers, on=_KEY, how="anti").drop(names)


def _goes_before(pairs: list[tuple[pl.Expr, pl.Expr]]) -> pl.Expr:
    """Whether the first members of the pairs are the lexicographically smaller tuple."""
    smaller = pl.lit(value=False)
    for left, right in reversed(pairs):
        smaller = (left < right) | ((left == right) & smaller)
    return smaller


def volts(uv: pl.Expr) -> pl.Expr:
    """Microvolts as volts."""
    return (uv * 1e-6).round(6)


def is_charging(uv: pl.Expr) -> pl.Expr:
    """Whether a voltage is one that only an alternator or a charger gives: 13.2 V or more."""
    return uv >= math.ceil(CHARGING_V * _UV)


CHARGING_V: Final = 13.2
