-- The fuel of trips with the local date on which they count.
with

trip_fuel as (
    select * from gold.trip_fuel
),

dated as (
    select
        trip_id,
        vehicle_id,
        event_date,
        cast(started_at as date) as local_date,
        started_at,
        fuel_type,
        method,
        distance_km,
        fuel_l,
        fuel_low_l,
        fuel_high_l,
        co2_kg,
        cost,
        currency
    from trip_fuel
)

select * from dated
