"""Vehicles: what a VIN tells of its vehicle without naming it, and what its owner last said of it.

The first three characters of a VIN (ISO 3780) are the manufacturer's identifier. The tenth is the model year where
the law asks for it (North America: 49 CFR 565; China: GB 16735; India: AIS-065) or the manufacturer is known to
put it there. Elsewhere ISO 3779 leaves it free, and no year is read into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from smartdrive_dagster.tables import facts

_YEAR_CODES: Final = "ABCDEFGHJKLMNPRSTVWXY123456789"  # 1980 to 2009, then from the beginning
_FIRST_YEAR: Final = 1980
_CYCLE_YEARS: Final = len(_YEAR_CODES)

_REGIONS: Final = (
    ("ABCDEFGH", "Africa"),
    ("JKLMNPR", "Asia"),
    ("STUVWXYZ", "Europe"),
    ("12345", "North America"),
    ("67", "Oceania"),
    ("89", "South America"),
)

# By the longest prefix that fits. Two characters stand for all of a manufacturer's identifiers that begin so.
_MAKES: Final[dict[str, str]] = {
    **dict.fromkeys(("WVW", "WV1", "WV2", "WVG", "1VW", "3VW", "9BW", "AAV", "LSV", "LFV", "XW8"), "Volkswagen"),
    **dict.fromkeys(("WAU", "WUA", "WA1", "TRU"), "Audi"),
    "TMB": "Škoda",
    "VSS": "SEAT",
    **dict.fromkeys(("WP0", "WP1"), "Porsche"),
    **dict.fromkeys(("WBA", "WBS", "WBX", "WBY", "4US", "5UX", "5UM", "LBV"), "BMW"),
    "WMW": "MINI",
    **dict.fromkeys(("WDB", "WDC", "WDD", "WDF", "W1K", "W1N", "W1V", "4JG", "55S", "LE4"), "Mercedes-Benz"),
    "WME": "smart",
    **dict.fromkeys(("W0L", "W0V", "VXK"), "Opel"),
    **dict.fromkeys(
        ("WF0", "1FA", "1FB", "1FC", "1FD", "1FM", "1FT", "2FA", "2FM", "3FA", "NM0", "SFA", "LVS", "MAJ"), "Ford"
    ),
    **dict.fromkeys(("1G1", "1GC", "1GN", "2G1", "3G1", "3GN", "KL1"), "Chevrolet"),
    **dict.fromkeys(("1G6", "1GY"), "Cadillac"),
    **dict.fromkeys(("1G4", "2G4", "LSG"), "Buick"),
    **dict.fromkeys(("1GT", "1GK", "2GT", "3GT"), "GMC"),
    **dict.fromkeys(("1C3", "2C3", "1C4", "2C4", "3C4"), "Chrysler, Dodge or Jeep"),  # one identifier for three
    **dict.fromkeys(("1J4", "1J8"), "Jeep"),
    **dict.fromkeys(("1C6", "3C6"), "Ram"),
    **dict.fromkeys(("1B3", "1B7", "1D3", "1D7", "2B3"), "Dodge"),
    **dict.fromkeys(("5YJ", "7SA", "LRW", "XP7"), "Tesla"),
    **dict.fromkeys(("VF1", "VF2", "VF6", "X7L"), "Renault"),
    "UU1": "Dacia",
    **dict.fromkeys(("VF3", "VR3"), "Peugeot"),
    **dict.fromkeys(("VF7", "VR7"), "Citroën"),
    "VR1": "DS",
    **dict.fromkeys(("ZFA", "ZFC", "3C3", "9BD"), "Fiat"),
    "ZAR": "Alfa Romeo",
    "ZLA": "Lancia",
    "ZFF": "Ferrari",
    "ZHW": "Lamborghini",
    "ZAM": "Maserati",
    **dict.fromkeys(("YV1", "YV4", "LYV", "7JR"), "Volvo"),
    "YS3": "Saab",
    **dict.fromkeys(("LPS", "YSM"), "Polestar"),
    "SAJ": "Jaguar",
    "SAL": "Land Rover",
    "SCC": "Lotus",
    **dict.fromkeys(("JT", "4T1", "4T3", "5TD", "5TF", "2T1", "2T3", "SB1", "VNK", "NMT", "AHT", "MR0"), "Toyota"),
    **dict.fromkeys(("JTH", "JTJ", "58A", "2T2"), "Lexus"),
    **dict.fromkeys(("JN", "1N4", "1N6", "3N1", "5N1", "SJN", "VSK"), "Nissan"),
    "JNK": "Infiniti",
    **dict.fromkeys(("JHM", "JHL", "1HG", "2HG", "5FN", "5J6", "SHH", "SHS", "LHG"), "Honda"),
    **dict.fromkeys(("JH4", "19U"), "Acura"),
    **dict.fromkeys(("JM1", "JM3", "JMZ", "3MZ", "JM7"), "Mazda"),
    **dict.fromkeys(("JF1", "JF2", "4S3", "4S4"), "Subaru"),
    **dict.fromkeys(("JA3", "JA4", "JMB", "MMB", "MMC"), "Mitsubishi"),
    **dict.fromkeys(("JS2", "JSA", "TSM", "MA3", "MBH"), "Suzuki"),
    **dict.fromkeys(("KMH", "KM8", "5NM", "5NP", "NLH", "TMA", "MAL", "LBE"), "Hyundai"),
    **dict.fromkeys(("KNA", "KND", "KNE", "U5Y", "U6Y", "3KP"), "Kia"),
    **dict.fromkeys(("KPT", "KPB"), "SsangYong"),
    "XTA": "Lada",
    **dict.fromkeys(("LSJ", "SDP"), "MG"),
    **dict.fromkeys(("LGX", "LC0"), "BYD"),
    **dict.fromkeys(("L6T", "LB3"), "Geely"),
    "LGW": "Great Wall",
    "MAT": "Tata",
    "MA1": "Mahindra",
}

# Makes of Europe, Japan and Korea that put the model year at position 10 wherever they sell.
_MAKES_WITH_YEAR: Final = frozenset(
    {"Volkswagen", "Audi", "Škoda", "SEAT", "Porsche", "Opel", "Volvo", "Hyundai", "Kia", "Jaguar", "Land Rover"}
)
_REGIONS_WITH_YEAR: Final = "12345L"  # North America and China
_INDIA: Final = frozenset({"MA", "MB", "MC", "MD", "ME"})
_NORTH_AMERICA: Final = "12345"


@dataclass(frozen=True, slots=True)
class VinFacts:
    """What a VIN tells; None where it does not."""

    make: str | None
    region: str | None
    model_year: int | None


def describe_vin(vin: str, *, seen_year: int) -> VinFacts:
    """Read make, region and model year from a VIN.

    Args:
        vin: 17 characters of ISO 3779.
        seen_year: the year of the vehicle's first sample. A year code repeats every 30 years; the newest year that
            is at most one after this one is meant, a model year beginning in the autumn before it.
    """
    make = next((_MAKES[vin[:n]] for n in (3, 2) if vin[:n] in _MAKES), None)
    region = next((name for first, name in _REGIONS if vin[0] in first), None)
    return VinFacts(make, region, _model_year(vin, make, seen_year))


def _model_year(vin: str, make: str | None, seen_year: int) -> int | None:
    says_year = vin[0] in _REGIONS_WITH_YEAR or vin[:2] in _INDIA or make in _MAKES_WITH_YEAR
    if not says_year or vin[9] not in _YEAR_CODES:
        return None
    first = _FIRST_YEAR + _YEAR_CODES.index(vin[9])
    if vin[0] in _NORTH_AMERICA:
        # Passenger cars: a digit at position 7 is of 1980 to 2009, a letter of 2010 to 2039.
        year = first if vin[6].isdigit() else first + _CYCLE_YEARS
        return year if year <= seen_year + 1 else None
    newest = first + _CYCLE_YEARS * ((seen_year + 1 - first) // _CYCLE_YEARS)
    return newest if newest >= _FIRST_YEAR else None


def current_profiles(profiles: pl.LazyFrame) -> pl.LazyFrame:
    """The last word on each fact of each vehicle.

    Args:
        profiles: rows of silver.profiles, in any order.

    Returns:
        One row per vehicle: vehicle_id and the columns of the profile.
    """
    return (
        profiles.sort("vehicle_id", "set_at", "message_id")
        .group_by("vehicle_id", maintain_order=True)
        .agg(pl.col(name).drop_nulls().last() for name in facts.PROFILE_COLUMNS)
    )


def described(
    held: pl.DataFrame, seen: Mapping[str, date | None], vins: Mapping[str, str], profiles: pl.LazyFrame
) -> pl.DataFrame:
    """Bring the rows of vehicles up to date with what was heard of some of them.

    The rows depend neither on the order in which things were heard nor on how often: a vehicle's year is read by
    the earliest of its days, and its profile from all words on it.

    Args:
        held: all rows of silver.VEHICLES.
        seen: vehicles that were heard of, with the day of their earliest sample; None for a profile alone.
        vins: the VINs of these by vehicle_id; one that was named by its pseudonym has none.
        profiles: rows of silver.profiles, all of the vehicles that were heard of.

    Returns:
        All rows of silver.VEHICLES, by vehicle.
    """
    before = {row["vehicle_id"]: row for row in held.iter_rows(named=True)}
    rows = []
    for vehicle, day in seen.items():
        row = before.get(vehicle, {})
        days = [one for one in (day, row.get("first_event_date")) if one is not None]
        first = min(days, default=None)
        told = (row.get("make"), row.get("region"), row.get("model_year"))
        if vin := vins.get(vehicle):
            read = describe_vin(vin, seen_year=first.year if first else 0)
            told = (read.make, read.region, read.model_year if first else None)
        rows.append((vehicle, *told, first))
    own = [name for name in facts.VEHICLES.by_name if name not in facts.PROFILE_COLUMNS]
    news = pl.DataFrame(rows, schema={name: held.schema[name] for name in own}, orient="row")
    words = current_profiles(profiles).collect()
    renewed = news.join(words, on="vehicle_id", how="left").select(held.columns)
    others = held.join(renewed, on="vehicle_id", how="anti")
    return pl.concat([others, renewed]).sort("vehicle_id")
