-- What every sample of a local date, driving or parked, says of the vehicle. The UTC day stays in the grain, because
-- silver.telemetry is partitioned by it and a filter on a grouping column still prunes files.
with

telemetry as (
    select * from silver.telemetry
),

dated as (
    select
        vehicle_id,
        event_date,
        event_at,
        cast(event_at as date) as local_date,
        adapter_voltage_v
    from telemetry
),

daily as (
    select
        vehicle_id,
        event_date,
        local_date,
        min(adapter_voltage_v) as min_adapter_voltage_v,
        max(adapter_voltage_v) as max_adapter_voltage_v,
        count(*) as samples,
        max(event_at) as last_seen_at
    from dated
    group by vehicle_id, event_date, local_date
)

select * from daily
