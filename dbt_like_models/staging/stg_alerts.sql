-- Alerts with the local dates between which they are open, in the session's time zone.
with

alerts as (
    select * from gold.alerts
),

dated as (
    select
        alert_id,
        vehicle_id,
        event_date,
        cast(opened_at as date) as opened_date,
        cast(resolved_at as date) as resolved_date,
        kind,
        severity
    from alerts
)

select * from dated
