-- A date says what was known at its end: an owner of many cars reads the last row of each.
with

vehicle_days as (
    select *
    from marts.vehicle_daily
    where local_date between cast($first_date as date) - 29 and $last_date
),

seen as (
    select
        vehicle_id,
        local_date,
        last_seen_at
    from vehicle_days
    where local_date >= $first_date
),

daily_fuel as (
    select
        vehicle_id,
        local_date,
        sum(fuel_l order by started_at, trip_id) as fuel_l,
        sum(distance_km order by started_at, trip_id) as distance_km
    from staging.stg_trip_fuel
    where
        event_date between cast($first_date as date) - 30 and cast($last_date as date) + 1
        and fuel_l is not null
        and distance_km is not null
    group by vehicle_id, local_date
),

alerts as (
    select *
    from staging.stg_alerts
    where event_date <= cast($last_date as date) + 1
),

trouble_codes as (
    select
        *,
        cast(closed_at as date) as closed_date
    from staging.stg_dtc_episodes
    where event_date <= cast($last_date as date) + 1
),

battery_health as (
    select * from gold.battery_health
    where event_date <= $last_date
),

known_health as (
    select * from battery_health
    where soh_pct is not null
),

-- A week counts once it is over, so that a date's row says no more than could be known on it.
driver_scores as (
    select
        *,
        week_start_date + 7 as scored_from
    from marts.driver_scores
    where
        week_start_date <= $last_date
        and status = 'scored'
),

-- Sums run in the order of the days: floating point sums depend on their order, and a rebuild must give equal rows.
driven as (
    select
        seen.vehicle_id,
        seen.local_date,
        sum(vehicle_days.distance_km order by vehicle_days.local_date)
            filter (where vehicle_days.local_date > seen.local_date - 7) as distance_7d_km,
        sum(vehicle_days.distance_km order by vehicle_days.local_date) as distance_30d_km,
        cast(sum(vehicle_days.trips) as bigint) as trips_30d
    from seen
    inner join vehicle_days
        on
            vehicle_days.vehicle_id = seen.vehicle_id
            and vehicle_days.local_date between seen.local_date - 29 and seen.local_date
    group by seen.vehicle_id, seen.local_date
),

fuelled as (
    select
        seen.vehicle_id,
        seen.local_date,
        sum(daily_fuel.fuel_l order by daily_fuel.local_date) as fuel_l,
        sum(daily_fuel.distance_km order by daily_fuel.local_date) as distance_km
    from seen
    inner join daily_fuel
        on
            daily_fuel.vehicle_id = seen.vehicle_id
            and daily_fuel.local_date between seen.local_date - 29 and seen.local_date
    group by seen.vehicle_id, seen.local_date
),

open_alerts as (
    select
        seen.vehicle_id,
        seen.local_date,
        count(*) as open_alerts,
        count(*) filter (where alerts.severity = 'critical') as open_critical_alerts
    from seen
    inner join alerts
        on
            alerts.vehicle_id = seen.vehicle_id
            and alerts.opened_date <= seen.local_date
            and (alerts.resolved_date is null or alerts.resolved_date > seen.local_date)
    group by seen.vehicle_id, seen.local_date
),

open_codes as (
    select
        seen.vehicle_id,
        seen.local_date,
        count(distinct trouble_codes.dtc_code) as open_codes,
        string_agg(distinct trouble_codes.dtc_code, ' ' order by trouble_codes.dtc_code) as dtc_codes
    from seen
    inner join trouble_codes
        on
            trouble_codes.vehicle_id = seen.vehicle_id
            and trouble_codes.local_date <= seen.local_date
            and (trouble_codes.closed_date is null or trouble_codes.closed_date > seen.local_date)
    group by seen.vehicle_id, seen.local_date
)

select
    seen.vehicle_id,
    seen.local_date,
    seen.last_seen_at,
    driven.trips_30d,
    driven.distance_7d_km,
    driven.distance_30d_km,
    if(fuelled.distance_km >= 1, 100 * fuelled.fuel_l / fuelled.distance_km, null) as fuel_30d_l_per_100km,
    coalesce(battery_health.status, 'unknown') as battery_status,
    battery_health.event_date as battery_date,
    known_health.soh_pct,
    known_health.event_date as soh_date,
    coalesce(open_alerts.open_alerts, 0) as open_alerts,
    coalesce(open_alerts.open_critical_alerts, 0) as open_critical_alerts,
    coalesce(open_codes.open_codes, 0) as open_codes,
    open_codes.dtc_codes,
    driver_scores.score as driver_score,
    driver_scores.week_start_date as driver_score_week_start_date
from seen
inner join driven using (vehicle_id, local_date)
left join fuelled using (vehicle_id, local_date)
left join open_alerts using (vehicle_id, local_date)
left join open_codes using (vehicle_id, local_date)
asof left join battery_health
    on battery_health.vehicle_id = seen.vehicle_id and seen.local_date >= battery_health.event_date
asof left join known_health
    on known_health.vehicle_id = seen.vehicle_id and seen.local_date >= known_health.event_date
asof left join driver_scores
    on driver_scores.vehicle_id = seen.vehicle_id and seen.local_date >= driver_scores.scored_from
