-- A week is computed where its Monday is in the window, and reads the trips of all its days.
with

trips as (
    select
        *,
        cast(date_trunc('week', local_date) as date) as week_start_date
    from staging.stg_trips
    where event_date between cast($first_date as date) - 1 and cast($last_date as date) + 7
),

-- Only what speed saw counts: a car with an accelerometer must not score lower for having one.
driving_events as (
    select *
    from staging.stg_driving_events
    where
        event_date between cast($first_date as date) - 1 and cast($last_date as date) + 7
        and week_start_date between $first_date and $last_date
        and source in ('speed', 'both')
),

weights as (
    select * from staging.stg_driver_score_weights
),

-- Sums run in the order of the trips: floating point sums depend on their order, and a rebuild must give equal rows.
weekly_trips as (
    select
        vehicle_id,
        week_start_date,
        count(*) as trips,
        sum(distance_km order by started_at, trip_id) as distance_km,
        coalesce(sum(event_distance_km order by started_at, trip_id), 0) as event_distance_km,
        sum(idle_s order by started_at, trip_id) as idle_s,
        sum(duration_s order by started_at, trip_id) filter (where idle_s is not null) as idle_known_s
    from trips
    where week_start_date between $first_date and $last_date
    group by vehicle_id, week_start_date
),

weekly_events as (
    select
        vehicle_id,
        week_start_date,
        count(*) filter (where kind = 'braking') as brakings,
        count(*) filter (where kind = 'acceleration') as accelerations
    from driving_events
    group by vehicle_id, week_start_date
),

rated as (
    select
        weekly_trips.vehicle_id,
        weekly_trips.week_start_date,
        weekly_trips.trips,
        weekly_trips.distance_km,
        weekly_trips.event_distance_km,
        coalesce(weekly_events.brakings, 0) as brakings,
        coalesce(weekly_events.accelerations, 0) as accelerations,
        weekly_trips.idle_s / nullif(weekly_trips.idle_known_s, 0) as idle_share,
        weights.*,
        case
            when weekly_trips.event_distance_km >= weights.min_distance_km then 'scored'
            when coalesce(weekly_trips.distance_km, 0) < weights.min_distance_km then 'too_short'
            else 'speed_under_1_hz'
        end as status
    from weekly_trips
    cross join weights
    left join weekly_events using (vehicle_id, week_start_date)
),

per_100_km as (
    select
        *,
        if(status = 'scored', 100 * brakings / event_distance_km, null) as brakings_per_100km,
        if(status = 'scored', 100 * accelerations / event_distance_km, null) as accelerations_per_100km
    from rated
),

scored as (
    select
        vehicle_id,
        week_start_date,
        greatest(
            0.0,
            100.0
            - braking_weight * brakings_per_100km
            - acceleration_weight * accelerations_per_100km
            - idle_weight * coalesce(idle_share, 0)
        ) as score,
        status,
        if(idle_share is null, 'events', 'events_and_idle') as method,
        trips,
        distance_km,
        event_distance_km,
        brakings,
        accelerations,
        brakings_per_100km,
        accelerations_per_100km,
        100 * idle_share as idle_share_pct
    from per_100_km
)

select
    vehicle_id,
    week_start_date,
    cast(if(status = 'scored', score, null) as double) as score,
    status,
    method,
    trips,
    distance_km,
    event_distance_km,
    brakings,
    accelerations,
    brakings_per_100km,
    accelerations_per_100km,
    idle_share_pct
from scored
