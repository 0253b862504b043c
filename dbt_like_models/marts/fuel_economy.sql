with

trip_fuel as (
    select *
    from staging.stg_trip_fuel
    where
        event_date between cast($first_date as date) - 1 and cast($last_date as date) + 1
        and local_date between $first_date and $last_date
),

-- Consumption is fuel over distance of the trips that have both; sums run in the order of the trips.
daily as (
    select
        vehicle_id,
        local_date,
        count(*) as trips,
        count(fuel_l) as measured_trips,
        string_agg(distinct fuel_type, ', ' order by fuel_type) as fuel_types,
        string_agg(distinct method, ', ' order by method) as methods,
        sum(distance_km order by started_at, trip_id) as distance_km,
        sum(fuel_l order by started_at, trip_id) as fuel_l,
        sum(fuel_low_l order by started_at, trip_id) as fuel_low_l,
        sum(fuel_high_l order by started_at, trip_id) as fuel_high_l,
        sum(co2_kg order by started_at, trip_id) as co2_kg,
        sum(distance_km order by started_at, trip_id) filter (where fuel_l is not null) as fuelled_km,
        sum(fuel_l order by started_at, trip_id) filter (where distance_km is not null) as driven_l,
        sum(fuel_low_l order by started_at, trip_id) filter (where distance_km is not null) as driven_low_l,
        sum(fuel_high_l order by started_at, trip_id) filter (where distance_km is not null) as driven_high_l,
        if(count(distinct currency) = 1, sum(cost order by started_at, trip_id), null) as cost,
        if(count(distinct currency) = 1, max(currency), null) as currency
    from trip_fuel
    group by vehicle_id, local_date
)

select
    vehicle_id,
    local_date,
    trips,
    measured_trips,
    fuel_types,
    methods,
    distance_km,
    fuel_l,
    fuel_low_l,
    fuel_high_l,
    if(fuelled_km >= 1, 100 * driven_l / fuelled_km, null) as fuel_l_per_100km,
    if(fuelled_km >= 1, 100 * driven_low_l / fuelled_km, null) as fuel_low_l_per_100km,
    if(fuelled_km >= 1, 100 * driven_high_l / fuelled_km, null) as fuel_high_l_per_100km,
    co2_kg,
    cost,
    currency
from daily
