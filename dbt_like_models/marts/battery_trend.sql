-- A day reads the 29 before it: the line through a month of health shows a battery that goes before it fails.
with

health as (
    select * from gold.battery_health
    where event_date between cast($first_date as date) - 29 and $last_date
),

quantiles as (
    select * from staging.stg_student_t
),

-- Sums run in the order of the days: floating point sums depend on their order, and a rebuild must give equal rows.
months as (
    select
        today.vehicle_id,
        today.event_date,
        count(*) as slope_days,
        date_diff('day', min(past.event_date), max(past.event_date)) as span_days,
        regr_slope(past.soh_pct, date_diff('day', today.event_date, past.event_date) order by past.event_date) as slope,
        regr_sxx(past.soh_pct, date_diff('day', today.event_date, past.event_date) order by past.event_date) as sxx,
        regr_sxy(past.soh_pct, date_diff('day', today.event_date, past.event_date) order by past.event_date) as sxy,
        regr_syy(past.soh_pct, date_diff('day', today.event_date, past.event_date) order by past.event_date) as syy
    from health as today
    inner join health as past
        on
            past.vehicle_id = today.vehicle_id
            and past.event_date between today.event_date - 29 and today.event_date
            and past.soh_pct is not null
    where today.event_date >= $first_date
    group by today.vehicle_id, today.event_date
),

-- Five days over two weeks: with less, the line follows the weather of a few mornings.
slopes as (
    select
        months.vehicle_id,
        months.event_date,
        30 * months.slope as soh_slope_pct_per_30d,
        30 * quantiles.t_975
        * sqrt(greatest(months.syy - months.slope * months.sxy, 0) / (months.slope_days - 2) / months.sxx) as half_width
    from months
    inner join quantiles on quantiles.degrees_of_freedom = months.slope_days - 2
    where
        months.slope_days >= 5
        and months.span_days >= 14
)

select
    health.vehicle_id,
    health.event_date,
    health.cranks,
    health.conclusive_cranks,
    health.failing_cranks,
    health.status,
    health.confidence,
    health.soh_pct,
    health.soh_low_pct,
    health.soh_high_pct,
    health.soc_pct,
    health.soc_low_pct,
    health.soc_high_pct,
    health.plateau_25c_v,
    health.temperature_c,
    if(slopes.half_width is null, 'none', 'least_squares') as slope_method,
    coalesce(months.slope_days, 0) as slope_days,
    slopes.soh_slope_pct_per_30d,
    slopes.soh_slope_pct_per_30d - slopes.half_width as soh_slope_low_pct_per_30d,
    slopes.soh_slope_pct_per_30d + slopes.half_width as soh_slope_high_pct_per_30d
from health
left join months using (vehicle_id, event_date)
left join slopes using (vehicle_id, event_date)
where health.event_date >= $first_date
