"""One version of a table: what a writer reads, decides and commits on, and what a reader scans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import polars as pl
from deltalake import DeltaTable

from smartdrive_dagster.lake.evolution import absent_columns
from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.lake.transactions import recorded
from smartdrive_dagster.tables import Table

_WORTH_READING = 3  # application ids; delta-rs reads the log once for each


class Snapshot:
    """One version of a table, on which a writer reads, decides and commits."""

    def __init__(
        self, table: Table, delta: DeltaTable | None, uri: str, storage_options: Mapping[str, str]
    ) -> None:
        self.table = table
        self.delta = delta
        self._uri = uri
        self._storage_options = dict(storage_options)

    @property
    def version(self) -> int:
        """The Delta version; -1 where the table does not exist yet."""
        return -1 if self.delta is None else self.delta.version()

    @property
    def batch(self) -> int:
        """How many appends and replacements this table has seen: its own transaction number."""
        return self.transaction(str(self.table))

    def transaction(self, app_id: str) -> int:
        """The number last recorded under an application id; 0 where there is none."""
        return 0 if self.delta is None else self.delta.transaction_version(app_id) or 0

    def transactions(self, app_ids: Iterable[str]) -> dict[str, int]:
        """The number last recorded under each application id, from one reading of the log."""
        asked = list(app_ids)
        if self.delta is None:
            return dict.fromkeys(asked, 0)
        found = None if len(asked) < _WORTH_READING else recorded(self._uri, self.version, self._storage_options)
        if found is None:
            return {app_id: self.transaction(app_id) for app_id in asked}
        return {app_id: found.get(app_id, 0) for app_id in asked}

    def count(self) -> int:
        """How many rows it has, from the log alone."""
        return 0 if self.delta is None else int(self.delta.count())

    def files(self) -> int:
        """How many data files it has."""
        return 0 if self.delta is None else len(self.delta.file_uris())

    def committed_at(self) -> datetime | None:
        """When this version was committed; None where the table does not exist yet."""
        if self.delta is None:
            return None
        newest = self.delta.history(1)[0]
        return datetime.fromtimestamp(newest["timestamp"] / 1000, UTC)

    def rows(self) -> pl.LazyFrame:
        """The rows of this version, lazily; filters on the partition column skip whole files.

        A column that the spec has gained since this version was written is null.

        Raises:
            SchemaChangeError: a column of the spec has another type in this version.
        """
        schema = polars_schema(self.table)
        if self.delta is None or not self.delta.file_uris():
            return pl.LazyFrame(schema=schema)
        absent = absent_columns(self.table, self.delta)
        if "://" not in self._uri and quote(self._uri) != self._uri:
            rows = self._rows_of_odd_path(self.delta)
        else:
            rows = pl.scan_delta(
                self.delta,
                version=self.version,
                storage_options=self._storage_options or None,
                credential_provider=None,
            )
        return rows.with_columns(pl.lit(None, schema[name]).alias(name) for name in absent).select(schema.names())

    def _rows_of_odd_path(self, delta: DeltaTable) -> pl.LazyFrame:
        """The rows of a table below a path with a space or a letter beyond ASCII.

        Polars 2.1 opens the percent-encoded names that delta-rs 1.6 gives for such a path as they are.
        """
        column = self.table.partition_by
        return pl.scan_parquet(
            [unquote(uri.removeprefix("file://")) for uri in delta.file_uris()],
            schema=pl.Schema(pl.scan_delta(delta, version=self.version).collect_schema()),
            missing_columns="insert",
            glob=False,
            hive_partitioning=column is not None,
            hive_schema={column: polars_schema(self.table)[column]} if column else None,
        )
