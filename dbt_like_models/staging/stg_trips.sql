-- Trips with the local date on which they count: that of their start, in the session's time zone.
with

trips as (
    select * from gold.trips
),

dated as (
    select
        trip_id,
        vehicle_id,
        event_date,
        cast(started_at as date) as local_date,
        started_at,
        ended_at,
        duration_s,
        distance_km,
        speed_distance_km,
        duration_s * speed_coverage_pct / 100 as measured_s,
        event_distance_km,
        max_speed_kmh,
        idle_s
    from trips
)

select * from dated
