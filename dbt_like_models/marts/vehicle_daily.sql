with

trips as (
    select *
    from staging.stg_trips
    where
        event_date between cast($first_date as date) - 1 and cast($last_date as date) + 1
        and local_date between $first_date and $last_date
),

telemetry as (
    select *
    from staging.stg_daily_telemetry
    where
        event_date between cast($first_date as date) - 1 and cast($last_date as date) + 1
        and local_date between $first_date and $last_date
),

-- Sums run in the order of the trips: floating point sums depend on their order, and a rebuild must give equal rows.
daily_trips as (
    select
        vehicle_id,
        local_date,
        count(*) as trips,
        sum(distance_km order by started_at, trip_id) as distance_km,
        sum(duration_s order by started_at, trip_id) as driving_s,
        sum(idle_s order by started_at, trip_id) as idle_s,
        sum(speed_distance_km order by started_at, trip_id) as speed_distance_km,
        sum(measured_s order by started_at, trip_id) filter (where speed_distance_km is not null) as measured_s,
        max(max_speed_kmh) as max_speed_kmh,
        min(started_at) as first_started_at,
        max(ended_at) as last_ended_at
    from trips
    group by vehicle_id, local_date
),

daily_telemetry as (
    select
        vehicle_id,
        local_date,
        min(min_adapter_voltage_v) as min_adapter_voltage_v,
        max(max_adapter_voltage_v) as max_adapter_voltage_v,
        cast(sum(samples) as bigint) as samples,
        max(last_seen_at) as last_seen_at
    from telemetry
    group by vehicle_id, local_date
),

-- A parked car has telemetry and no trip, and has driven nothing; a trip without any speed has an unknown distance.
vehicle_days as (
    select
        vehicle_id,
        local_date,
        coalesce(daily_trips.trips, 0) as trips,
        if(daily_trips.trips is null, 0, daily_trips.distance_km) as distance_km,
        coalesce(daily_trips.driving_s, 0) as driving_s,
        if(daily_trips.trips is null, 0, daily_trips.idle_s) as idle_s,
        daily_trips.max_speed_kmh,
        daily_trips.speed_distance_km / (nullif(daily_trips.measured_s, 0) / 3600) as mean_speed_kmh,
        daily_trips.first_started_at,
        daily_trips.last_ended_at,
        daily_telemetry.min_adapter_voltage_v,
        daily_telemetry.max_adapter_voltage_v,
        coalesce(daily_telemetry.samples, 0) as samples,
        daily_telemetry.last_seen_at
    from daily_trips
    full join daily_telemetry using (vehicle_id, local_date)
)

select * from vehicle_days
