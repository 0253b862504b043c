"""The one settings object. It is read once, at the edge of the program, and passed on as values."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_MIN_SECRET_BYTES = 16


class SecretMissingError(RuntimeError):
    """The lake exists but its secret does not: a new one would give every vehicle a new pseudonym."""


class Settings(BaseSettings):
    """Where things lie and the thresholds that an owner may choose.

    Every field is read from the environment with the prefix ``SMARTDRIVE_``, for example
    ``SMARTDRIVE_LAKE_URL=s3://my-lake``. The usual ``AWS_…`` variables say how to reach S3.
    """

    model_config = SettingsConfigDict(env_prefix="SMARTDRIVE_", extra="ignore", frozen=True)

    lake_url: str = Field(
        default="lake",
        description="Root of the Delta tables: a path or s3://bucket/prefix, in which {layer} stands for bronze, "
        "silver, gold or marts, so that each may have a bucket of its own",
    )
    landing_url: str = Field(
        default="landing", description="Root of the landing objects: a path or s3://bucket/prefix"
    )
    secret_file: Path = Field(
        default=Path(".smartdrive/secret"),
        description="File with the lake's secret, outside the lake; made on first use for a lake on disk",
    )
    secret: str | None = Field(default=None, repr=False, description="The secret itself, in place of the file")
    dtc_file: Path = Field(
        default=Path(".smartdrive/dtc.csv"),
        description="Titles of trouble codes that `smartdrive import-dtc` imported; need not exist",
    )
    time_zone: str = Field(default="UTC", description="IANA name of the zone in which an owner's days run")
    trip_gap_s: float = Field(default=300.0, gt=0, le=86_400, description="A longer pause ends a trip (seconds)")

    weather_url: SecretStr | None = Field(
        default=None,
        description="Forecast service for winter alerts, told each vehicle's place to 0.1° once a day: "
        "https://api.open-meteo.com/v1/forecast (free for non-commercial use) or one that speaks the same",
    )

    state_url: str = Field(
        default=".smartdrive/state",
        description="What was told to whom and which imports were taken back, outside the lake: a path or "
        "s3://bucket/prefix",
    )
    serving_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL of the REST API, to which Gold and the marts are published: "
        "postgresql://user@host:port/name; libpq's variables (PGPASSWORD, PGSSLMODE) count too",
    )
    retention_landing_days: int | None = Field(
        default=None, ge=1, description="Delete landing objects that arrived longer ago and are processed (days)"
    )
    retention_bronze_days: int | None = Field(
        default=None, ge=1, description="Delete Bronze's lines that arrived longer ago and are processed (days)"
    )
    retention_silver_days: int | None = Field(
        default=None, ge=31, description="Delete Silver's samples that are older, and older rejections (days)"
    )
    retention_gold_days: int | None = Field(
        default=None,
        ge=31,
        description="Delete older rows of Gold, but of tables that histories are made of (days)",
    )
    retention_marts_days: int | None = Field(
        default=None,
        ge=31,
        description="Delete older rows of marts, but of those that histories are made of (days)",
    )
    slack_webhook: SecretStr | None = Field(default=None, description="Incoming webhook of Slack for alerts")
    smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server for alerts: smtp[s]://[user:password@]host[:port]; smtp:// asks for STARTTLS, "
        "unless ?tls=off is added",
    )
    email_sender: str = Field(default="smartdrive@localhost", description="From address of alerts by mail")
    email_recipients: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="To addresses of alerts by mail, separated by commas"
    )
    sns_topic_arn: str | None = Field(
        default=None, pattern=r"^arn:[^:]+:sns:[^:]*:[^:]*:.+$", description="Topic of Amazon SNS for alerts"
    )
    webhook_url: SecretStr | None = Field(default=None, description="HTTP service that takes alerts as JSON")
    alert_severity: Literal["info", "warning", "critical"] = Field(
        default="warning", description="Least severity that is told"
    )
    alert_digest: bool = Field(
        default=False, description="Tell what is not critical in one message a day instead of at once"
    )

    emf_metrics: bool = Field(
        default=False,
        description="Sensors and runs write lines to the log of which CloudWatch makes metrics (EMF)",
    )

    @field_validator("email_recipients", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        return (
            tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value
        )

    @model_validator(mode="after")
    def _mail_has_recipients(self) -> Settings:
        if self.smtp_url and not self.email_recipients:
            raise ValueError("SMARTDRIVE_SMTP_URL needs SMARTDRIVE_EMAIL_RECIPIENTS: nobody would get the mail")
        return self

    @field_validator("lake_url", "landing_url", "state_url")
    @classmethod
    def _known_place(cls, value: str) -> str:
        if "://" in value and not value.startswith("s3://"):
            raise ValueError(f"{value!r} is neither a local path nor s3://bucket/prefix")
        if "://" not in value and (odd := set("%[]*?") & set(str(Path(value).absolute()))):
            raise ValueError(f"a path with {' '.join(sorted(odd))} cannot hold a lake: choose another directory")
        return value

    @field_validator("lake_url")
    @classmethod
    def _known_placeholder(cls, value: str) -> str:
        unknown = set(re.findall(r"\{[^}]*\}|[{}]", value)) - {"{layer}"}
        if value.startswith("s3://") and unknown:
            raise ValueError(f"{value!r} holds {' '.join(sorted(unknown))}: the one placeholder is {{layer}}")
        return value

    @field_validator("landing_url", "state_url")
    @classmethod
    def _one_place(cls, value: str) -> str:
        if value.startswith("s3://") and set("{}") & set(value):
            raise ValueError(f"{value!r} holds a placeholder: only SMARTDRIVE_LAKE_URL may hold one, {{layer}}")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is no IANA time zone; for example Europe/Berlin") from error
        return value

    def lake_secret(self) -> bytes:
        """Return the secret that keys vehicle pseudonyms.

        Raises:
            SecretMissingError: there is a lake already (or it is on S3) and no secret is configured.
        """
        if self.secret is not None:
            return _checked(self.secret.strip().encode(), "SMARTDRIVE_SECRET")
        if self.secret_file.exists():
            return _checked(self.secret_file.read_bytes().strip(), str(self.secret_file))
        if "://" in self.lake_url or (Path(self.lake_url) / "silver").exists():
            raise SecretMissingError(
                f"no secret for the lake at {self.lake_url}: set SMARTDRIVE_SECRET or restore "
                f"{self.secret_file}. A new secret would give every vehicle a new vehicle_id."
            )
        self.secret_file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=self.secret_file.parent)  # readable by its owner only
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, self.secret_file)  # the first of two processes wins, both read the same file
        except FileExistsError:
            pass
        finally:
            os.unlink(draft)
        return _checked(self.secret_file.read_bytes().strip(), str(self.secret_file))


def _checked(secret: bytes, source: str) -> bytes:
    if len(secret) < _MIN_SECRET_BYTES:
        raise SecretMissingError(f"the secret in {source} is shorter than {_MIN_SECRET_BYTES} bytes")
    return secret
