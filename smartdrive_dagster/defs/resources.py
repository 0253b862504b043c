"""The one resource: where the lake and its landing zone are, and the owner's thresholds."""

from typing import TYPE_CHECKING

import dagster as dg

from smartdrive_dagster.defs.dead_runs import process_tag
from smartdrive_dagster.settings import Settings

if TYPE_CHECKING:
    from smartdrive_dagster.defs.ingestion import Ingestion
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.retractions import Retractions
    from smartdrive_dagster.landing.store import LandingStore


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake as assets see it. The secret is not among the fields: run configuration is stored and shown."""

    lake_url: str
    landing_url: str
    secret_file: str
    time_zone: str
    trip_gap_s: float

    @classmethod
    def of(cls, settings: Settings) -> "LakeResource":
        """The resource that these settings describe."""
        return cls(
            lake_url=settings.lake_url,
            landing_url=settings.landing_url,
            secret_file=str(settings.secret_file),
            time_zone=settings.time_zone,
            trip_gap_s=settings.trip_gap_s,
        )

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Have a run say which process it is, so that others can tell whether it is alive."""
        if context.run is not None and context.instance is not None:
            context.instance.add_run_tags(context.run.run_id, process_tag())

    @property
    def settings(self) -> Settings:
        """The settings behind it; the secret comes from the environment or its file."""
        return Settings.model_validate({**Settings().model_dump(), **self.model_dump()})

    def lakehouse(self) -> "Lakehouse":
        """The Delta tables."""
        from smartdrive_dagster.lake.lakehouse import Lakehouse

        return Lakehouse(self.lake_url)

    def landing(self) -> "LandingStore":
        """The landing objects."""
        from smartdrive_dagster.landing.store import LandingStore

        return LandingStore(self.landing_url)

    def ingestion(self) -> "Ingestion":
        """Both steps from landing to Silver, with what has been taken back and who has been erased by now."""
        from smartdrive_dagster.defs.ingestion import Ingestion
        from smartdrive_dagster.domain.erasures import Erased

        secret, retractions = self.settings.lake_secret(), self.retractions()
        return Ingestion(
            retractions.lakehouse(self.lake_url),  # before it is asked who was erased
            self.landing(),
            secret,
            retractions.keys(),
            Erased(secret, retractions.vehicles()),
        )

    def retractions(self) -> "Retractions":
        """What was taken back and who was erased."""
        from smartdrive_dagster.lake.lakehouse import Lakehouse
        from smartdrive_dagster.lake.retractions import Retractions

        return Retractions(Lakehouse(self.settings.state_url))
