"""The collector's configuration: one TOML file, any value of which the environment may override.

Read once at the edge of the program and passed on as values. `edge/docs/configuration.md` lists every field.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from smartdrive_edge.messages import check_device_id, check_vin
from smartdrive_edge.redaction import redact

PLACES: Final = (Path("smartdrive-edge.toml"), Path("/etc/smartdrive-edge/config.toml"))
"""Where the configuration is looked for, in this order, when no file is named."""

_PREFIX: Final = "SMARTDRIVE_EDGE_"
_SOCKET: Final = re.compile(r"socket://[^/:]+:\d{1,5}(?:/.*)?|socket://\[[^]]+\]:\d{1,5}(?:/.*)?")


class ConfigError(ValueError):
    """The configuration cannot be used; the text names each field, what is wrong and what it may be."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class AdapterConfig(_Section):
    """The ELM327."""

    port: str = "/dev/ttyUSB0"
    """Serial device, or a URL of pyserial such as `socket://192.168.0.10:35000` for a Wi-Fi adapter."""
    baud_rate: int = Field(default=38_400, ge=9_600, le=2_000_000)
    """Bits per second; Bluetooth adapters ignore it."""
    protocol: Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] = "0"
    """The ELM327's number of the car's protocol; 0 tries all, and what worked is remembered."""
    voltage_offset_v: float = Field(default=0.0, ge=-3, le=3)
    """Added to each reading of the adapter's voltmeter, V; `smartdrive-edge calibrate` finds it."""
    voltage_scale: float = Field(default=1.0, ge=0.8, le=1.25)
    """Each reading is multiplied by this before the offset is added."""

    @field_validator("port")
    @classmethod
    def _names_a_port(cls, port: str) -> str:
        if port.startswith("socket://") and not _SOCKET.fullmatch(port):
            raise ValueError("a socket is written socket://HOST:PORT, such as socket://192.168.0.10:35000")
        return port


class IgnitionConfig(_Section):
    """The ignition line, where one is wired."""

    source: Literal["none", "adapter", "gpio"] = "none"
    """`gpio`: an ACC line on a GPIO; `adapter`: `AT IGN`, only where that pin is wired; `none`: no line."""
    gpio_chip: str = "/dev/gpiochip0"
    """The GPIO chip's device."""
    gpio_line: int = Field(default=17, ge=0, le=511)
    """Offset of the line on the chip; on a Raspberry Pi its BCM number."""
    is_active_low: bool = False
    """Whether the line is low while the ignition is on, as behind an optocoupler with a pull-up."""


class VehicleConfig(_Section):
    """The car."""

    vin: Annotated[str, AfterValidator(check_vin)] | None = Field(default=None, repr=False)
    """Only for a car that does not tell its VIN (service 09, PID 02)."""


class BrokerSection(_Section):
    """Where messages go."""

    host: str = Field(default="localhost", min_length=1)
    """As in the broker's certificate."""
    port: int = Field(default=8883, ge=1, le=65_535)
    """8883 by convention; 443 with `alpn` for AWS IoT Core."""
    authority: Path | None = None
    """PEM file of the authority that signed the broker's certificate."""
    certificate: Path | None = None
    """PEM file of this device's certificate."""
    key: Path | None = None
    """PEM file of its key."""
    alpn: tuple[Annotated[str, Field(pattern="^[!-~]{1,255}$")], ...] = ()
    """Protocols to offer in the TLS handshake: `["x-amzn-mqtt-ca"]` for AWS IoT Core on port 443."""
    is_insecure: bool = False
    """Send in the clear. For a bench on one machine only; warned of at every connection."""
    has_lander: bool = True
    """Whether a lander answers with `ack.v1`. Where none does (AWS IoT Core), rows go 24 h after their PUBACK."""

    @field_validator("host")
    @classmethod
    def _is_a_name(cls, host: str) -> str:
        try:
            host.encode("idna")
        except UnicodeError as error:
            raise ValueError(f"no host can have this name: {error}") from error
        return host

    @model_validator(mode="after")
    def _is_whole(self) -> BrokerSection:
        files = (self.authority, self.certificate, self.key)
        if self.is_insecure and self.alpn:
            raise ValueError("alpn is a part of TLS, which is_insecure switches off: remove one of them")
        if self.is_insecure and any(files):
            raise ValueError("is_insecure and certificates exclude each other: remove one of them")
        if not self.is_insecure and not all(files):
            raise ValueError(
                "authority, certificate and key are needed (`smartdrive-edge certs` makes them), "
                "or is_insecure = true for a bench"
            )
        return self


class SpoolConfig(_Section):
    """What is kept until it has landed."""

    limit_mb: float = Field(default=50.0, ge=1, le=10_000)
    """Megabytes that messages may take; then the oldest samples are dropped and counted."""


class UploadConfig(_Section):
    """How fast messages go out."""

    flush_period_s: float = Field(default=10.0, gt=0, le=3600)
    """How long the lander collects before it answers, s; a row unanswered for three such periods goes again."""
    publishes_per_s: int = Field(default=80, ge=1, le=100)
    """Publishes in any second."""
    in_flight: int = Field(default=20, ge=1, le=100)
    """Publishes without PUBACK."""


class SamplingConfig(_Section):
    """What is asked, and how it is put into messages."""

    batch_s: float = Field(default=30.0, ge=1, le=600)
    """A message holds samples of at most so many seconds."""
    codes_every_s: float = Field(default=1800.0, ge=60)
    """Seconds between two scans of trouble codes while the engine runs; the first comes 20 s after its start."""
    health_every_s: float = Field(default=86_400.0, ge=60)
    """Seconds between two `health` events; one more comes at the end of each drive."""


class ClockConfig(_Section):
    """When samples can be stamped."""

    is_trusted: bool = False
    """Believe the machine's time without asking the kernel whether it is synced: for a machine with a
    battery-backed clock, or a container. Otherwise messages wait until chrony, ntpd or systemd-timesyncd has set
    the clock."""


class LogConfig(_Section):
    """What is written to standard error."""

    format: Literal["json", "text"] = "json"
    """One JSON object a line, or text for a person."""
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level that is written."""


class Config(BaseSettings):
    """All of it; every field but `device_id`, the port and the broker has a default that works."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    device_id: Annotated[str, AfterValidator(check_device_id)]
    """Names this device in topics and identities, for good; its certificate's common name. Never a VIN."""
    state_dir: Path = Path("/var/lib/smartdrive-edge")
    """Holds the spool and what the collector has learnt; private to its user, since the spool holds VINs."""
    run_dir: Path | None = None
    """Holds the status file, which is replaced every few seconds; by default `state_dir`. The systemd unit makes
    `/run/smartdrive-edge`, which is memory and spares the card."""
    adapter: AdapterConfig = AdapterConfig()
    ignition: IgnitionConfig = IgnitionConfig()
    vehicle: VehicleConfig = VehicleConfig()
    broker: BrokerSection
    spool: SpoolConfig = SpoolConfig()
    upload: UploadConfig = UploadConfig()
    sampling: SamplingConfig = SamplingConfig()
    clock: ClockConfig = ClockConfig()
    log: LogConfig = LogConfig()

    @property
    def spool_path(self) -> Path:
        """The spool's file."""
        return self.state_dir / "spool.db"

    @property
    def status_path(self) -> Path:
        """What `smartdrive-edge status` reads; the same whoever asks, so that nothing but this file decides it."""
        return (self.run_dir or self.state_dir) / "status.json"


def load(path: Path | None = None) -> Config:
    """Read the configuration.

    Args:
        path: the TOML file; by default the first of `PLACES` that exists, and the environment alone if none does.

    Raises:
        ConfigError: the file is missing or no TOML, or a field is unknown, missing or out of its range.
    """
    file = _found() if path is None else path
    if path is not None and not _is_file(path):
        raise ConfigError(f"{path}: no such file; edge/smartdrive-edge.example.toml is one to begin with")

    class _Read(Config):
        model_config = SettingsConfigDict(toml_file=file)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return env_settings, TomlConfigSettingsSource(settings_cls)

    where = str(file) if file else "no configuration file (looked for " + ", ".join(map(str, PLACES)) + ")"
    try:
        _refuse_unknown_variables()
        return _Read()
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: no valid TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: cannot be read: {error}") from error
    except ValidationError as error:
        faults = "; ".join(_told(dict(fault)) for fault in error.errors(include_url=False))
        raise ConfigError(redact(f"{where}: {faults}")) from error
    except SettingsError as error:
        name = error.args[0] if error.args else "a variable"
        raise ConfigError(f"the environment: {name}; lists and sections are written as JSON") from error


def _found() -> Path | None:
    return next((place for place in PLACES if _is_file(place)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # its folder may not be entered
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; run as the user of the collector") from error


def _refuse_unknown_variables() -> None:
    """A mistyped variable would silently change nothing."""
    for name in os.environ:
        if not name.upper().startswith(_PREFIX):
            continue
        parts = name.upper().removeprefix(_PREFIX).lower().split("__")
        model: Any = Config
        for part in parts:
            fields = getattr(model, "model_fields", {})
            if part not in fields:
                raise ConfigError(f"the environment's {name} is no setting: {_known(fields, part)}")
            model = fields[part].annotation


def _known(fields: dict[str, Any], part: str) -> str:
    return f"{part!r} is none of {', '.join(sorted(fields))}" if fields else f"{part!r} lies too deep"


def _told(fault: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in fault["loc"]) or "the file"
    if fault["type"] == "extra_forbidden":
        return f"{place}: there is no such field"
    if fault["type"] == "missing":
        return f"{place}: is missing"
    if fault["type"] == "model_type":
        return f"{place}: is a section, [{place}], with fields of its own"
    text = str(fault["msg"]).removeprefix("Value error, ")
    value = fault.get("input")
    # A VIN that was mistyped is still nearly a VIN: it is not repeated into a log.
    shown = f" (it is {value!r})" if isinstance(value, (str, int, float)) and "vehicle" not in place else ""
    return f"{place}: {text}{shown}"
