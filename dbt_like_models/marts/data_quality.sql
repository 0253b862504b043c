-- A day is looked at from both ends: what arrived on it (ledger and quarantine), and what was sampled on it
-- (telemetry). The two meet on the same row where a device sends as it samples.
with

ledger as (
    select *
    from staging.stg_ledger
    where landing_date between $first_date and $last_date
),

rejections as (
    select
        ledger.landing_date,
        ledger.device_id,
        quarantine.object_key,
        quarantine.line_no,
        quarantine.reason,
        quarantine.samples
    from silver.quarantine as quarantine
    inner join ledger using (object_key, line_no)
    where quarantine.landing_date between $first_date and $last_date
),

telemetry as (
    select
        *,
        coalesce(device_id, 'unnamed') as device,
        coalesce(phase, 'running') = 'running' as is_driving
    from silver.telemetry
    where event_date between $first_date and $last_date
),

arrived as (
    select
        landing_date as utc_date,
        device_id,
        count(*) as lines,
        count(*) filter (where verdict = 'accepted') as accepted_lines,
        count(*) filter (where verdict = 'duplicate') as duplicate_lines,
        count(*) filter (where verdict = 'quarantined') as quarantined_lines,
        count(*) filter (where verdict = 'conflict') as conflict_lines,
        count(*) filter (where verdict = 'erased') as erased_lines,
        cast(sum(samples_accepted) as bigint) as samples_accepted,
        cast(sum(samples_duplicate) as bigint) as samples_duplicate,
        cast(sum(samples_quarantined) as bigint) as samples_quarantined
    from ledger
    group by landing_date, device_id
),

-- Numbers of lines that were quarantined are not counted with: nothing vouches for them.
boots as (
    select
        landing_date as utc_date,
        device_id,
        boot_id,
        max(seq) - min(seq) + 1 - count(distinct seq) as missing
    from ledger
    where
        seq is not null
        and verdict in ('accepted', 'duplicate', 'conflict')
    group by landing_date, device_id, boot_id
),

gaps as (
    select
        utc_date,
        device_id,
        count(*) as boots,
        cast(sum(missing) as bigint) as missing_messages
    from boots
    group by utc_date, device_id
),

reasons as (
    select
        landing_date as utc_date,
        device_id,
        reason,
        count(distinct (object_key, line_no)) as lines,
        sum(samples) as samples
    from rejections
    group by landing_date, device_id, reason
),

rejected as (
    select
        reasons.utc_date,
        reasons.device_id,
        map_from_entries(
            list((reasons.reason, cast(100 * reasons.lines as double) / arrived.lines) order by reasons.reason)
        ) as quarantined_lines_pct,
        cast(sum(reasons.samples) filter (where reasons.reason like 'clock%') as bigint) as clock_fault_samples
    from reasons
    inner join arrived using (utc_date, device_id)
    group by reasons.utc_date, reasons.device_id
),

sampled as (
    select
        event_date as utc_date,
        device as device_id,
        if(count(distinct vehicle_id) = 1, min(vehicle_id), null) as vehicle_id,
        count(*) as samples,
        count(*) filter (where is_driving) as driving_samples,
        100.0 * count(speed_kmh) filter (where is_driving) / nullif(count(*) filter (where is_driving), 0)
            as speed_coverage_pct,
        100.0 * count(engine_speed_rpm) filter (where is_driving) / nullif(count(*) filter (where is_driving), 0)
            as engine_speed_coverage_pct,
        100.0 * count(coolant_temp_c) filter (where is_driving) / nullif(count(*) filter (where is_driving), 0)
            as coolant_temp_coverage_pct,
        100.0 * count(latitude_deg) filter (where is_driving) / nullif(count(*) filter (where is_driving), 0)
            as position_coverage_pct,
        100.0 * count(coalesce(fuel_rate_lph, maf_gps, intake_pressure_kpa)) filter (where is_driving)
        / nullif(count(*) filter (where is_driving), 0) as fuel_coverage_pct,
        100.0 * count(coalesce(adapter_voltage_v, control_module_voltage_v)) / count(*) as voltage_coverage_pct
    from telemetry
    group by event_date, device
),

intervals as (
    select
        event_date as utc_date,
        device as device_id,
        date_diff('millisecond', lag(event_at) over sender, event_at) as interval_ms
    from telemetry
    where is_driving
    window sender as (partition by event_date, device, vehicle_id order by event_at)
),

rates as (
    select
        utc_date,
        device_id,
        1000 / median(interval_ms) as driving_rate_hz
    from intervals
    where interval_ms > 0
    group by utc_date, device_id
)

select
    utc_date,
    device_id,
    sampled.vehicle_id,
    coalesce(arrived.lines, 0) as lines,
    coalesce(arrived.accepted_lines, 0) as accepted_lines,
    coalesce(arrived.duplicate_lines, 0) as duplicate_lines,
    coalesce(arrived.quarantined_lines, 0) as quarantined_lines,
    coalesce(arrived.conflict_lines, 0) as conflict_lines,
    coalesce(arrived.erased_lines, 0) as erased_lines,
    rejected.quarantined_lines_pct,
    coalesce(arrived.samples_accepted, 0) as samples_accepted,
    coalesce(arrived.samples_duplicate, 0) as samples_duplicate,
    coalesce(arrived.samples_quarantined, 0) as samples_quarantined,
    coalesce(rejected.clock_fault_samples, 0) as clock_fault_samples,
    coalesce(gaps.boots, 0) as boots,
    coalesce(gaps.missing_messages, 0) as missing_messages,
    coalesce(sampled.samples, 0) as samples,
    coalesce(sampled.driving_samples, 0) as driving_samples,
    rates.driving_rate_hz,
    sampled.speed_coverage_pct,
    sampled.engine_speed_coverage_pct,
    sampled.coolant_temp_coverage_pct,
    sampled.position_coverage_pct,
    sampled.fuel_coverage_pct,
    sampled.voltage_coverage_pct
from arrived
full join sampled using (utc_date, device_id)
left join gaps using (utc_date, device_id)
left join rejected using (utc_date, device_id)
left join rates using (utc_date, device_id)
