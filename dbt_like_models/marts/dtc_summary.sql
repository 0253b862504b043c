with

episodes as (
    select *
    from staging.stg_dtc_episodes
    where
        event_date between cast($first_date as date) - 1 and cast($last_date as date) + 1
        and local_date between $first_date and $last_date
),

-- An open critical code stands first in a list of what to do, a closed one is history: both counts are kept.
families as (
    select
        vehicle_id,
        local_date,
        dtc_family,
        string_agg(distinct dtc_code, ' ' order by dtc_code) as dtc_codes,
        count(*) as episodes,
        count(*) filter (where is_open) as open_episodes,
        count(*) filter (where occurrence > 1) as recurred_episodes,
        count(*) filter (where status <> 'pending') as confirmed_episodes,
        count(*) filter (where severity = 'critical') as critical_episodes,
        count(*) filter (where severity = 'warning') as warning_episodes,
        count(*) filter (where is_open and severity = 'critical') as open_critical_episodes,
        bool_or(has_mil) as has_mil,
        min(opened_at) as first_opened_at,
        max(last_seen_at) as last_seen_at,
        if(bool_or(is_open), null, max(closed_at)) as last_closed_at
    from episodes
    group by vehicle_id, local_date, dtc_family
)

select * from families
