import marimo

app = marimo.App(width="medium", app_title="Trips")


@app.cell
def _():
    import altair as alt
    import marimo as mo
    import polars as pl

    import smartdrive_dagster

    return alt, mo, pl, smartdrive_dagster


@app.cell
def _(mo):
    mo.md("""
    # Trips

    What the lake holds of your vehicles. `smartdrive_dagster.connect()` opens DuckDB over it, read-only:
    `bronze.*`, `silver.*`, `gold.*` and `marts.*` are views of the Delta tables, in your time zone.
    """)


@app.cell
def _(pl, smartdrive_dagster):
    lake = smartdrive_dagster.connect()

    def ask(sql, **params):
        """Rows of a query as a Polars frame."""
        return pl.DataFrame(lake.sql(sql, params=params))

    return (ask,)


@app.cell
def _(ask, mo):
    vehicles = ask("""
        select vehicle_id, count(*) as trips, sum(distance_km) as distance_km
        from gold.trips
        group by vehicle_id
        order by trips desc, vehicle_id
    """)
    mo.stop(
        vehicles.is_empty(),
        mo.md("**There is no trip in the lake yet.** `make demo` brings those of a small fleet."),
    )
    vehicle = mo.ui.dropdown(
        vehicles["vehicle_id"].to_list(), value=vehicles["vehicle_id"][0], label="Vehicle", searchable=True
    )
    vehicle
    return (vehicle,)


@app.cell
def _(ask, mo, vehicle):
    # Filters on event_date skip whole files; the other columns do not.
    trips = ask(
        """
        select
            trip_id,
            cast(started_at as timestamp) as started_at,
            cast(ended_at as timestamp) as ended_at,
            event_date,
            cast(timezone('UTC', ended_at) as date) as last_event_date,
            round(duration_s / 60, 1) as duration_min,
            round(distance_km, 1) as distance_km,
            round(mean_speed_kmh) as mean_speed_kmh,
            max_speed_kmh,
            round(idle_s / 60, 1) as idle_min
        from gold.trips
        where vehicle_id = $vehicle_id
        order by started_at desc
        """,
        vehicle_id=vehicle.value,
    )
    mo.vstack(
        [
            mo.md(f"## {trips.height} trips\n\nTimes are local."),
            mo.ui.table(trips.drop("trip_id", "event_date", "last_event_date"), selection=None),
        ]
    )
    return (trips,)


@app.cell
def _(mo, trips):
    choices = {
        f"{row['started_at']:%Y-%m-%d %H:%M}, {row['duration_min']} min ({row['trip_id'][:6]})": row["trip_id"]
        for row in trips.iter_rows(named=True)
    }
    trip = mo.ui.dropdown(choices, value=next(iter(choices)), label="Trip", searchable=True)
    trip
    return (trip,)


@app.cell
def _(ask, pl, trip, trips):
    chosen = trips.row(by_predicate=pl.col("trip_id") == trip.value, named=True)
    # At most some 4,000 points: enough for a line on a screen, few enough for a browser.
    samples = ask(
        """
        with

        trips as (
            select * from gold.trips where trip_id = $trip_id and event_date = $event_date
        ),

        telemetry as (
            select * from silver.telemetry where event_date between $event_date and $last_event_date
        ),

        samples as (
            select
                cast(telemetry.event_at as timestamp) as local_time,
                telemetry.event_at,
                telemetry.speed_kmh,
                telemetry.latitude_deg,
                telemetry.longitude_deg
            from telemetry
            inner join trips
                on
                    telemetry.vehicle_id = trips.vehicle_id
                    and telemetry.event_at between trips.started_at and trips.ended_at
        ),

        numbered as (
            select
                *,
                row_number() over (order by event_at) - 1 as position,
                count(*) over () as samples
            from samples
        )

        select local_time, speed_kmh, latitude_deg, longitude_deg
        from numbered
        where position % greatest(1, samples // 4000) = 0
        order by event_at
        """,
        trip_id=trip.value,
        event_date=chosen["event_date"],
        last_event_date=chosen["last_event_date"],
    )
    return chosen, samples


@app.cell
def _(alt, chosen, mo, samples):
    speed = samples.select("local_time", "speed_kmh").drop_nulls()
    speed_chart = (
        alt.Chart(speed, width=700, height=220)
        .mark_line(interpolate="linear")
        .encode(
            x=alt.X("local_time:T", title="local time"),
            y=alt.Y("speed_kmh:Q", title="speed (km/h)"),
        )
    )
    mo.vstack(
        [
            mo.md(f"## Speed\n\nThe trip of {chosen['started_at']:%Y-%m-%d %H:%M}."),
            mo.md("No speed was measured on this trip.") if speed.is_empty() else speed_chart,
        ]
    )


@app.cell
def _(alt, mo, samples):
    positions = samples.select("longitude_deg", "latitude_deg", "speed_kmh").drop_nulls(
        ["longitude_deg", "latitude_deg"]
    )
    # A plain scatter instead of map tiles: nobody else's server learns where the car has been.
    map_chart = (
        alt.Chart(positions, width=500, height=400)
        .mark_circle(size=18)
        .encode(
            x=alt.X("longitude_deg:Q", title="longitude (°)", scale=alt.Scale(zero=False)),
            y=alt.Y("latitude_deg:Q", title="latitude (°)", scale=alt.Scale(zero=False)),
            color=alt.Color("speed_kmh:Q", title="km/h", scale=alt.Scale(scheme="viridis")),
        )
    )
    mo.vstack(
        [
            mo.md("## Where\n\nEach point is a sample, coloured by speed."),
            mo.md("This trip has no positions: the device has no GPS.") if positions.is_empty() else map_chart,
        ]
    )


if __name__ == "__main__":
    app.run()
