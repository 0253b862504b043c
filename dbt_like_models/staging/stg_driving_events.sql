-- Manoeuvres with the Monday of the local week in which they count.
with

driving_events as (
    select * from gold.driving_events
),

dated as (
    select
        event_id,
        vehicle_id,
        event_date,
        cast(date_trunc('week', cast(started_at as date)) as date) as week_start_date,
        kind,
        source,
        peak_g
    from driving_events
)

select * from dated
