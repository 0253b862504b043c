"""DuckDB over the lake: one view per table, read through the Delta log, and nothing else within reach.

A connection sees the schemas bronze, silver, gold and marts. A table that does not exist yet is an empty relation
of the right columns, so that a query written today runs on the first day. What a connection may touch is locked
after set-up: no path outside the lake, no extension, no setting.

Timestamps follow the session's time zone, which is always set: ``cast(event_at as date)`` is the local date.
The packages here read results as Arrow streams, `polars.DataFrame(connection.sql("…"))`, which needs no pyarrow.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

import duckdb

from smartdrive_dagster.tables import LAYERS, Table

if TYPE_CHECKING:  # loading models needs this module, but neither polars nor deltalake
    from smartdrive_dagster.lake.lakehouse import Lakehouse


DUCKDB_TYPES: Final[dict[str, str]] = {
    "string": "VARCHAR",
    "integer": "INTEGER",
    "long": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "binary": "BLOB",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "map<string,double>": "MAP(VARCHAR, DOUBLE)",
    "array<struct<event_date:date,vehicle_id:string>>": "STRUCT(event_date DATE, vehicle_id VARCHAR)[]",
}

# httpfs copies the credentials of the environment into settings that any query could read back.
_CREDENTIAL_SETTINGS = ("s3_access_key_id", "s3_secret_access_key", "s3_session_token")


class Credentials(NamedTuple):
    """What signs requests to S3, and where they go if not to AWS."""

    key_id: str
    secret: str
    session_token: str | None
    region: str
    endpoint: str | None


class CredentialsMissingError(RuntimeError):
    """The lake is on S3 and nothing says how to sign requests."""


def session(time_zone: str) -> duckdb.DuckDBPyConnection:
    """Open an empty in-memory database that knows the layers and the zone, and loads nothing by itself."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "allow_persistent_secrets": False,
            "temp_directory": os.path.join(tempfile.gettempdir(), f"smartdrive-duckdb-{uuid4().hex}"),
        },
    )
    connection.execute(f"SET GLOBAL TimeZone = {quoted(time_zone)}")
    _create_schemas(connection)
    return connection


def connect(
    lakehouse: Lakehouse, *, time_zone: str, tables: Iterable[Table], as_of: datetime | None = None
) -> duckdb.DuckDBPyConnection:
    """Open DuckDB over some tables of the lake, read-only and locked.

    Every query reads the newest version of each table it names, or the one that it had at an instant. `INSTALL`,
    `LOAD` and `SET` are refused, and so is to read, attach or copy to anything outside the lake's root; no
    view can be written to.

    Args:
        lakehouse: the lake.
        time_zone: IANA name of the zone in which dates are taken from instants.
        tables: the tables to show.
        as_of: show them as they were then. A table that did not exist yet is empty; a query that names one whose
            log does not reach back so far fails and says so.

    Raises:
        CredentialsMissingError: the lake is on S3 and there are no credentials.
    """
    connection = _engine(lakehouse.roots(), time_zone, _credentials(lakehouse.url))
    try:
        shown = tuple(tables)
        _show(connection, lakehouse, shown, as_of)
        _comment(connection, shown)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def borrowed(
    lakehouse: Lakehouse, *, time_zone: str, tables: Iterable[Table]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend what `connect` opens, uncommented, on an engine that this process keeps for the next one who asks.

    To load the delta extension takes half a second of CPU, more than most marts; what is made on the connection is
    gone when it is given back.

    Args:
        lakehouse: the lake.
        time_zone: IANA name of the zone in which dates are taken from instants.
        tables: the tables to show.

    Raises:
        CredentialsMissingError: the lake is on S3 and there are no credentials.
    """
    engine = _kept_engine(lakehouse.roots(), time_zone, _credentials(lakehouse.url))
    catalog = f"lent_{uuid4().hex}"
    with closing(engine.cursor()) as connection:
        connection.execute(f"ATTACH ':memory:' AS {catalog}; USE {catalog}")
        try:
            _create_schemas(connection)
            _show(connection, lakehouse, tables, None)
            yield connection
        finally:
            connection.execute(f"USE memory; DETACH {catalog}")


def quoted(text: str) -> str:
    """Write a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def columns_sql(table: Table) -> str:
    """The table's columns as `CREATE TABLE` lists them."""
    return ", ".join(f'"{column.name}" {DUCKDB_TYPES[column.dtype]}' for column in table.columns)


def _create_schemas(connection: duckdb.DuckDBPyConnection) -> None:
    for layer in LAYERS:
        connection.execute(f"CREATE SCHEMA {layer}")


def _engine(roots: tuple[str, ...], time_zone: str, credentials: Credentials | None) -> duckdb.DuckDBPyConnection:
    """Open a database that reads Delta tables under a lake's roots, and is locked to these."""
    connection = session(time_zone)
    try:
        if credentials is not None:
            _load_extension(connection, "httpfs")
            _create_secret(connection, roots, credentials)
        _load_extension(connection, "delta")
        allowed = ", ".join(quoted(f"{root}/") for root in roots)
        connection.execute(f"SET allowed_directories = [{allowed}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    return connection


# Credentials are of the key: those of a role expire, and their successors open an engine of their own.
_kept_engine = lru_cache(maxsize=1)(_engine)


def _show(
    connection: duckdb.DuckDBPyConnection, lakehouse: Lakehouse, tables: Iterable[Table], as_of: datetime | None
) -> None:
    relations = {table: _relation(lakehouse, table, as_of) for table in tables}
    for table, relation in relations.items():
        connection.execute(f"CREATE VIEW {table} AS {relation}")
    present = _columns(connection)
    for table, relation in relations.items():
        if absent := _absent_columns(table, present):
            connection.execute(f"CREATE OR REPLACE VIEW {table} AS {relation} SELECT *, {absent}")


def _columns(connection: duckdb.DuckDBPyConnection) -> set[tuple[str, str]]:
    """Each view and column that the catalog holds; to ask the views themselves would read their Delta logs."""
    shown = connection.sql(
        "SELECT schema_name || '.' || table_name, column_name FROM duckdb_columns() "
        "WHERE database_name = current_database()"
    )
    return set(shown.fetchall())


def _load_extension(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    # The wheel ships the binary under the version of DuckDB that it was built for; LOAD needs no network then.
    folder = resources.files(f"duckdb_extension_{name}") / "extensions" / f"v{duckdb.__version__}"
    with resources.as_file(folder / f"{name}.duckdb_extension") as path:
        connection.execute(f"LOAD {quoted(str(path))}")


def _relation(lakehouse: Lakehouse, table: Table, as_of: datetime | None) -> str:
    """The rows of a table now, or as they were, as DuckDB's FROM reads them."""
    from smartdrive_dagster.lake.time_travel import TooLongAgoError

    if as_of is None:
        return f"FROM delta_scan({quoted(lakehouse.uri(table))})" if lakehouse.exists(table) else _empty(table)
    try:
        version = lakehouse.open(table, as_of=as_of).version
    except TooLongAgoError as error:
        return _failing(table, str(error))
    return (
        f"FROM delta_scan({quoted(lakehouse.uri(table))}, version = {version})" if version >= 0 else _empty(table)
    )


def _failing(table: Table, reason: str) -> str:
    """A relation of the right columns that no query can read a row, or the want of one, from."""
    failure = f"error({quoted(reason)})"
    columns = ", ".join(f'CAST({failure} AS {DUCKDB_TYPES[c.dtype]}) AS "{c.name}"' for c in table.columns)
    return f"SELECT {columns} FROM range(1) WHERE {failure}"  # noqa: S608 - quoted


def _empty(table: Table) -> str:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    nulls = ", ".join(f"CAST(NULL AS {DUCKDB_TYPES[column.dtype]})" for column in table.columns)
    return f"FROM (VALUES ({nulls})) AS nothing({names}) WHERE false"


def _absent_columns(table: Table, present: set[tuple[str, str]]) -> str:
    """Columns that the spec has gained since the table was written so, as nulls; empty where there are none."""
    absent = (column for column in table.columns if (str(table), column.name) not in present)
    return ", ".join(f'CAST(NULL AS {DUCKDB_TYPES[column.dtype]}) AS "{column.name}"' for column in absent)


def _comment(connection: duckdb.DuckDBPyConnection, tables: tuple[Table, ...]) -> None:
    """Say of every view and column what it is, for people who ask the catalog."""
    for table in tables:
        comments = [f"COMMENT ON VIEW {table} IS {quoted(table.description)}"]
        comments += [f'COMMENT ON COLUMN {table}."{c.name}" IS {quoted(c.comment)}' for c in table.columns]
        connection.execute(";".join(comments))


def _credentials(url: str) -> Credentials | None:
    """What requests to the lake are signed with; None for a lake on disk."""
    if not url.startswith("s3://"):
        return None
    import boto3  # only here: a quarter of a second that a lake on disk need not pay

    aws = boto3.Session()
    found = aws.get_credentials()
    frozen = found.get_frozen_credentials() if found else None
    if frozen is None or not frozen.access_key or not frozen.secret_key:
        raise CredentialsMissingError(
            f"no AWS credentials for {url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, "
            "or run under a role"
        )
    region = os.environ.get("AWS_REGION") or aws.region_name or "us-east-1"
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token, region, endpoint)


def _create_secret(
    connection: duckdb.DuckDBPyConnection, roots: tuple[str, ...], credentials: Credentials
) -> None:
    options: dict[str, str | bool | list[str] | None] = {
        "key_id": credentials.key_id,
        "secret": credentials.secret,
        "region": credentials.region,
        "scope": list(roots),
    }
    if credentials.session_token:
        options["session_token"] = credentials.session_token
    if credentials.endpoint:
        scheme, _, host = credentials.endpoint.rpartition("://")
        options |= {"endpoint": host.rstrip("/"), "url_style": "path", "use_ssl": scheme != "http"}
    parameters = ", ".join(f"{name} ${name}" for name in options)
    connection.execute(f"CREATE SECRET lake (TYPE s3, {parameters})", options)
    for setting in _CREDENTIAL_SETTINGS:
        connection.execute(f"SET {setting} = ''")
