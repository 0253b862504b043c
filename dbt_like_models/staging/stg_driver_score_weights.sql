-- The configuration of marts.driver_scores: what one hard event per 100 km, and idling all the time, take off 100.
-- A change here makes another mart: recompute it with a backfill.
select
    3.0 as braking_weight,
    1.5 as acceleration_weight,
    30.0 as idle_weight,
    10.0 as min_distance_km
