"""When the weather service is asked: once a day, if the settings name one."""

from datetime import UTC, datetime

import dagster as dg

from smartdrive_dagster.defs.resources import LakeResource


@dg.op(description="Land a forecast for each place where a vehicle was last known to stand.")
def land_forecasts(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Ask the service, and fail where it did not answer for every place: what was landed stays landed."""
    from smartdrive_dagster.defs.forecasts import fetch_forecasts

    settings = lake.settings
    if settings.weather_url is None:
        raise dg.Failure("SMARTDRIVE_WEATHER_URL is not set: nobody can be asked", allow_retries=False)
    url, secret = settings.weather_url.get_secret_value(), settings.lake_secret()
    fetched = fetch_forecasts(lake.lakehouse(), lake.landing(), url, secret, now=datetime.now(UTC))
    if fetched.failed:
        raise dg.Failure(str(fetched), allow_retries=False)
    context.log.info(str(fetched))


@dg.job(executor_def=dg.in_process_executor, description="Lands forecasts for winter alerts.")
def fetch_weather() -> None:
    """Fetch forecasts."""
    land_forecasts()


@dg.schedule(
    job=fetch_weather,
    cron_schedule="20 0 * * *",  # so that a frost of tomorrow is known a day before it
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks the weather service that SMARTDRIVE_WEATHER_URL names; off without one.",
)
def daily_forecast(lake: LakeResource) -> dg.RunRequest | dg.SkipReason:
    """Request a run, if a service is named."""
    if lake.settings.weather_url is None:
        return dg.SkipReason("SMARTDRIVE_WEATHER_URL is not set")
    return dg.RunRequest()
