-- Episodes of trouble codes with the local date on which they count: that of their opening, in the session's time zone.
with

episodes as (
    select * from gold.dtc_episodes
),

dated as (
    select
        episode_id,
        vehicle_id,
        event_date,
        cast(opened_at as date) as local_date,
        dtc_code,
        dtc_family,
        severity,
        status,
        opened_at,
        last_seen_at,
        closed_at,
        is_open,
        occurrence,
        has_mil
    from episodes
)

select * from dated
