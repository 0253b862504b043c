-- Landed lines by the UTC day of their arrival and by who sent them.
with

ledger as (
    select * from silver.messages
),

sent as (
    select
        object_key,
        line_no,
        landing_date,
        coalesce(device_id, 'unnamed') as device_id,
        boot_id,
        seq,
        verdict,
        samples,
        samples_accepted,
        samples_duplicate,
        samples_quarantined
    from ledger
)

select * from sent
