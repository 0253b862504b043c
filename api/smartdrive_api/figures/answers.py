"""What the routes of figures answer. Units stand in the names; an estimate has its interval and its method."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from smartdrive_api.figures.examples import EXAMPLES

Verdict = Literal["ok", "attention", "stop", "unknown"]

_AT = "2025-06-01T18:30:00Z"


def _with_example(schema: dict[str, Any], model: type[Any]) -> None:
    schema["examples"] = [EXAMPLES[model.__name__]]


class Figures(BaseModel):
    """What all of them share: they are read from rows, by name."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra=_with_example)


class Trip(Figures):
    """One trip. Places are rounded to 0.01° (about a kilometre), so that they give no address away."""

    trip_id: str
    started_at: datetime
    ended_at: datetime
    duration_s: float
    distance_km: float | None
    distance_method: Annotated[str | None, Field(description="where the distance comes from")]
    max_speed_kmh: float | None
    mean_speed_kmh: float | None
    idle_s: float | None
    is_cold_start: bool | None
    start_latitude_deg: float | None
    start_longitude_deg: float | None
    end_latitude_deg: float | None
    end_longitude_deg: float | None
    is_corrected: Annotated[bool | None, Field(description="the owner merged, split or labelled it")]
    label: str | None
    fuel_type: str | None
    fuel_method: Annotated[str | None, Field(description="how the fuel was measured")]
    fuel_reason: Annotated[str | None, Field(description="why there is no figure of fuel, where there is none")]
    fuel_l: float | None
    fuel_low_l: float | None
    fuel_high_l: float | None
    fuel_l_per_100km: float | None
    co2_kg: float | None
    cost: float | None
    currency: str | None
    algo_version: Annotated[str | None, Field(description="version of the algorithm that found it")]


class Trips(BaseModel):
    """A page of trips, the newest first."""

    trips: list[Trip]
    next_cursor: Annotated[str | None, Field(description="asks for the next page; null on the last one")]


class BatteryDay(Figures):
    """What the starts of one UTC day say about the battery."""

    event_date: date
    status: Annotated[str, Field(description="ok, warning, critical, or unknown")]
    confidence: str | None
    method: str | None
    soh_pct: Annotated[float | None, Field(description="state of health; null until there is a baseline")]
    soh_low_pct: float | None
    soh_high_pct: float | None
    soh_reason: Annotated[str | None, Field(description="why there is no state of health")]
    soc_pct: Annotated[float | None, Field(description="state of charge before the start")]
    soc_low_pct: float | None
    soc_high_pct: float | None
    soc_method: str | None
    plateau_25c_v: Annotated[float | None, Field(description="cranking voltage, compensated to 25 °C")]
    failing_below_v: float | None
    temperature_c: float | None
    temperature_method: str | None
    cranks: int
    conclusive_cranks: int
    failing_cranks: int
    consecutive_failing_cycles: int | None
    is_replace_advised: bool | None
    inconclusive_reason: str | None
    algo_version: str | None


class BatteryTrend(Figures):
    """Where the state of health is going, by the days before the newest one."""

    event_date: date
    slope_method: str | None
    slope_days: int | None
    soh_slope_pct_per_30d: float | None
    soh_slope_low_pct_per_30d: float | None
    soh_slope_high_pct_per_30d: float | None


class WinterRisk(Figures):
    """Whether the battery may fail to start the car on a day that is forecast."""

    event_date: date
    is_at_risk: bool | None
    forecast_min_c: float | None
    forecast_at: datetime | None
    method: str | None
    confidence: str | None
    inconclusive_reason: str | None


class Drain(Figures):
    """A time in which the parked car drew more than a parked car should."""

    opened_at: datetime
    last_seen_at: datetime | None
    closed_at: datetime | None
    is_open: bool | None
    method: str | None
    min_voltage_v: float | None
    slope_v_per_day: float | None
    severity: str | None
    confidence: str | None


class Battery(BaseModel):
    """The battery: its newest day, where it is going, and the days that were asked for, in order."""

    newest: BatteryDay | None
    trend: BatteryTrend | None
    winter_risk: Annotated[WinterRisk | None, Field(description="of the newest day that was forecast")]
    drains: Annotated[list[Drain], Field(description="that were open in the days asked for")]
    days: list[BatteryDay]


class Alert(Figures):
    """Something that somebody should look at."""

    alert_id: str
    kind: str
    severity: Literal["info", "warning", "critical"]
    state: str
    opened_at: datetime
    updated_at: datetime | None
    resolved_at: datetime | None
    title: str
    text: str


class Alerts(BaseModel):
    """A page of alerts, the newest first."""

    alerts: list[Alert]
    next_cursor: str | None


class ScoreWeek(Figures):
    """Driving style in one week that begins on a Monday. A score of style: it predicts no crash."""

    week_start_date: date
    score: Annotated[float | None, Field(description="0 to 100; null where the week says too little")]
    status: Annotated[str | None, Field(description="scored, or why there is no score")]
    method: str | None
    trips: int | None
    distance_km: float | None
    brakings_per_100km: float | None
    accelerations_per_100km: float | None
    idle_share_pct: float | None


class DrivingScore(BaseModel):
    """Driving style by week, in order."""

    weeks: list[ScoreWeek]


class FoundCode(Figures):
    """One time that a trouble code was there."""

    episode_id: str
    dtc_code: str
    system: str
    origin: str
    title: str
    title_hu: str | None
    title_tier: Annotated[str, Field(description="whose title it is: own, library, imported, structure")]
    severity: Annotated[str, Field(description="editorial: no standard ranks codes")]
    severity_rule: str
    opened_at: datetime
    last_seen_at: datetime | None
    closed_at: datetime | None
    is_open: bool
    status: Annotated[str, Field(description="stored, pending or permanent")]
    occurrence: Annotated[int | None, Field(description="how often it had come by then")]
    has_mil: Annotated[bool | None, Field(description="whether the engine lamp was on")]


class FoundCodes(BaseModel):
    """A page of trouble codes that were found, the newest first."""

    codes: list[FoundCode]
    next_cursor: str | None


class Day(Figures):
    """What a vehicle did on one day of the configured time zone."""

    local_date: date
    trips: int
    distance_km: float | None
    driving_s: float | None
    idle_s: float | None
    max_speed_kmh: float | None
    first_started_at: datetime | None
    last_ended_at: datetime | None
    min_adapter_voltage_v: float | None
    max_adapter_voltage_v: float | None
    fuel_l: float | None = None
    fuel_l_per_100km: float | None = None
    co2_kg: float | None = None
    cost: float | None = None
    currency: str | None = None


class Days(BaseModel):
    """Days with something to tell, in order."""

    days: list[Day]


class Overview(Figures):
    """The newest day of which anything is known, and what stood open on it."""

    local_date: date
    last_seen_at: datetime | None
    trips_30d: int | None
    distance_7d_km: float | None
    distance_30d_km: float | None
    fuel_30d_l_per_100km: float | None
    battery_status: str | None
    battery_date: date | None
    soh_pct: float | None
    soh_date: date | None
    open_alerts: int | None
    open_critical_alerts: int | None
    open_codes: int | None
    dtc_codes: Annotated[str | None, Field(description="the open codes")]
    driver_score: float | None
    driver_score_week_start_date: date | None


class Status(BaseModel):
    """What there is to know at a glance."""

    overview: Annotated[Overview | None, Field(description="null: the lake knows nothing of the vehicle yet")]
    last_trip: Trip | None
    published_at: Annotated[
        datetime | None, Field(description="when the lake last published anything", examples=[_AT])
    ]


class HealthReport(BaseModel):
    """The vehicle's health, with what it is judged by. Nothing known is `unknown`, and never `ok`."""

    verdict: Annotated[
        Verdict,
        Field(description="ok: the battery is known to be well, and nothing is open", examples=["attention"]),
    ]
    reasons: Annotated[
        list[str],
        Field(
            description="what the verdict rests on, the gravest first",
            examples=[["P0171: Mixture too lean, bank 1"]],
        ),
    ]
    battery: BatteryDay | None
    battery_trend: BatteryTrend | None
    winter_risk: WinterRisk | None
    open_codes: list[FoundCode]
    open_alerts: list[Alert]
    driving: Annotated[ScoreWeek | None, Field(description="the newest week with a score")]
    last_seen_at: Annotated[datetime | None, Field(examples=["2025-06-01T18:12:00Z"])]
    published_at: Annotated[datetime | None, Field(examples=[_AT])]


class CodeTitle(Figures):
    """A title, and whose it is."""

    text: str
    language: str
    tier: str


class CodeStructure(Figures):
    """What the five characters say by themselves (ISO 15031-6)."""

    code: str
    system: str
    origin: str
    subsystem: str | None
    fault: str
    text: str


class CodeSeverity(Figures):
    """How urgent it is; editorial."""

    level: str
    rule: str
    why: str
    action: str


class ExplainedCode(BaseModel):
    """All that is known of a trouble code."""

    code: Annotated[str, Field(examples=["P0171"])]
    title: CodeTitle
    structure: CodeStructure
    severity: CodeSeverity
    causes: Annotated[
        list[str], Field(description="the likeliest first", examples=[["Dirty or aged air mass meter"]])
    ]
    actions: Annotated[
        list[str],
        Field(description="the cheapest first", examples=[["Clean the air mass meter with its own cleaner"]]),
    ]
