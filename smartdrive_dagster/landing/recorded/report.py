"""The account that an import gives of every reading."""

from __future__ import annotations

from dataclasses import dataclass

from smartdrive_dagster.landing.recorded.errors import BalanceError
from smartdrive_dagster.landing.recorded.readings import Rejected


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a log. It is made only if it balances; it holds neither VIN nor position.

    Attributes:
        device_id: ``import-`` and 16 hexadecimal digits of the file's SHA-256.
        boot_id: keyed digest of what else decides the content: vehicle, mapping, date and time zone.
        lines: lines of the file.
        read: readings of the source; `readings` says what counts as one.
        mapped: readings that are now in a sample.
        duplicate: readings equal to another of the same signal and millisecond.
        ignored: readings by column or PID that the mapping does not import.
        quarantined: readings by reason code.
        signals: imported readings by signal.
        samples: distinct milliseconds, summed over the messages.
        messages: telemetry.v1 messages.
        objects: keys of the landing objects that were written.
        objects_present: names of those that were there before, from an earlier import in the same hour.
        first_ms: UTC epoch ms of the first sample; None where there is none.
        last_ms: of the last sample.
        examples: up to 5 quarantined lines per reason, by line.
        warnings: what the user should look at.
        preview: UTC epoch ms and values by signal of the first samples, without positions.
    """

    device_id: str
    boot_id: str
    lines: int
    read: int
    mapped: int
    duplicate: int
    ignored: dict[str, int]
    quarantined: dict[str, int]
    signals: dict[str, int]
    samples: int
    messages: int
    objects: tuple[str, ...]
    objects_present: tuple[str, ...]
    first_ms: int | None
    last_ms: int | None
    examples: tuple[Rejected, ...] = ()
    warnings: tuple[str, ...] = ()
    preview: tuple[tuple[int, dict[str, float]], ...] = ()

    @property
    def import_id(self) -> str:
        """What names the import: file and options. Its landing objects' names begin with it."""
        return f"{self.device_id}-{self.boot_id}"

    def __post_init__(self) -> None:
        kept = (self.mapped, sum(self.ignored.values()), sum(self.quarantined.values()), self.duplicate)
        if self.read != sum(kept) or self.mapped != sum(self.signals.values()):
            raise BalanceError(
                f"read {self.read}, but mapped, ignored, quarantined and duplicate are {kept}: "
                "this is a fault of the importer; please report it with the format"
            )
