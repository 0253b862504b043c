"""Write the reference pages from what they describe: table specs, reason codes, settings and ``--help``.

Run as ``.venv/bin/python docs/generate_reference.py``; a test compares the pages with what this makes of the code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from smartdrive_api.app import create_app
from smartdrive_api.settings import Settings as ApiSettings
from sqlalchemy import create_engine

from smartdrive_dagster.lake.duck import session
from smartdrive_dagster.lake.model_files import DataTest, ModelFile, read_models
from smartdrive_dagster.lake.model_sql import parse
from smartdrive_dagster.lake.models import default_root, load_models
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import ALL, Column, Table
from smartdrive_dagster.tables.silver import REASONS

REFERENCE: Final = Path(__file__).parent / "reference"
_COMMANDS: Final = (
    *("demo", "up", "land", "process", "import", "sql", "status", "metrics", "explain", "backfill", "rebuild"),
    *("erase", "export-person", "retention", "verify"),
    *("alerts", "dtc", "import-dtc", "vehicle", "trips", "weather"),
)
_SUBCOMMANDS: Final = (
    *(("vehicle", name) for name in ("set", "list", "show")),
    *(("trips", name) for name in ("merge", "split", "label")),
    *(("weather", name) for name in ("fetch", "import")),
)
_EDGE_COMMANDS: Final = ("run", "doctor", "status", "calibrate", "simulate", "certs", "broker")
_CERTS: Final = ("init", "broker", "device", "lander", "revoke")
_API_COMMANDS: Final = (
    *(("serve",), ("migrate",), ("tidy",), ("openapi",), ("keys", "rotate"), ("accounts", "pending")),
    *(("accounts", "confirm"), ("vehicles", "pending"), ("vehicles", "confirm"), ("certificates", "authority")),
)
_MADE: Final = "<!-- Made by docs/generate_reference.py: change the code, not this page. -->"
_HELPS: Final = """
import importlib, json, sys
from typer.testing import CliRunner
module, program = sys.argv[1:]
app = importlib.import_module(module).app
shown = {"prog_name": program, "terminal_width": 78}
found = [CliRunner().invoke(app, [*command, "--help"], **shown) for command in json.load(sys.stdin)]
assert not any(one.exit_code for one in found), found
print(json.dumps([one.stdout for one in found]))
"""
_PLAIN: Final = {"TYPER_USE_RICH": "0", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "80", "TERMINAL_WIDTH": "80"}


def pages() -> dict[str, str]:
    """The text of each generated page, by file name."""
    return {
        "tables.md": _tables_page(),
        "models.md": _models_page(),
        "reasons.md": _reasons_page(),
        "cli.md": _cli_page(),
        "edge-cli.md": _edge_cli_page(),
        "api.md": _api_page(),
    }


def main() -> None:
    """Write all pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)


def _tables_page() -> str:
    tables = (*ALL, *(model.table for model in load_models().values()))
    contents = [f"- [{table}](#{_anchor(str(table))}): {table.description}" for table in tables]
    lines = [
        "# Tables",
        "",
        _MADE,
        "",
        "Every table is a Delta table at `{lake}/{layer}/{name}`. Instants are UTC microseconds. *Required*",
        "columns are never null. VSS is the COVESA Vehicle Signal Specification 6 path, PID the service and",
        "parameter of SAE J1979, *signal* the name in the [telemetry contract](../../contracts/README.md). The",
        "same facts stand in each Delta schema and in Dagster's catalogue.",
        "",
        *contents,
    ]
    for table in tables:
        lines += ["", *_table_section(table)]
    return "\n".join(lines) + "\n"


def _table_section(table: Table) -> Iterator[str]:
    yield f"## {table}"
    yield ""
    yield table.description
    yield ""
    yield f"- Key: {_names(table.key)}"
    yield f"- Partition: {_names([table.partition_by]) if table.partition_by else 'none'}"
    if table.provenance:
        yield f"- Provenance, not part of what makes rows equal: {_names(table.provenance)}"
    yield ""
    yield "| Column | Type | Meaning | Unit | VSS | PID | Signal |"
    yield "|---|---|---|---|---|---|---|"
    yield from (_column_row(column) for column in table.columns)


def _column_row(column: Column) -> str:
    meaning = column.description
    if column.accepted and set(column.accepted) != set(REASONS):
        meaning += f": {_names(column.accepted)}"
    elif column.accepted:
        meaning += ": see [reasons](reasons.md)"
    dtype = f"`{column.dtype}`{', required' if column.required else ''}"
    facts = (f"`{column.name}`", dtype, meaning, column.unit, column.vss, column.pid, column.signal)
    return f"| {' | '.join(fact or '' for fact in facts)} |"


def _models_page() -> str:
    files = {file.qualified_name: file for file in read_models(default_root())}
    with closing(session("UTC")) as connection:
        reads = {
            name: sorted(ref.name for ref in parse(connection, file).references) for name, file in files.items()
        }
    lines = [
        "# Models",
        "",
        _MADE,
        "",
        "What each SQL model in `dbt_like_models/` reads, directly, and what its `.yml` twin promises. How",
        "they are written is in [marts, for people who know dbt](../explanation/models.md).",
        "",
        "```mermaid",
        "graph LR",
        *(f"  {read} --> {name}" for name in files for read in reads[name]),
        "```",
    ]
    for name, file in files.items():
        lines += ["", *_model_section(name, file, reads)]
    return "\n".join(lines) + "\n"


def _model_section(name: str, file: ModelFile, reads: Mapping[str, list[str]]) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    yield file.description
    yield ""
    yield f"- Files: {_file_link(file.path)}, {_file_link(file.yml_path)}"
    yield f"- Reads: {_names(reads[name]) or 'nothing'}"
    yield f"- Read by: {_names(reader for reader, read in reads.items() if name in read) or 'no other model'}"
    if file.partition_by:
        yield f"- Key: {_names(file.unique_key)}; partition: `{file.partition_by}`"
        yield f"- Types of its columns: [tables](tables.md#{_anchor(name)})"
        yield f"- Unit tests: {_names(test.name for test in file.unit_tests)}"
    yield ""
    yield "| Column | Meaning | Unit | Data tests |"
    yield "|---|---|---|---|"
    for column in file.columns:
        tests = "; ".join(_data_test(test) for test in column.data_tests)
        yield f"| `{column.name}` | {column.description} | {column.unit or ''} | {tests} |"


def _data_test(test: DataTest) -> str:
    if test.kind == "accepted_values":
        return f"accepted_values: {_names(test.values)}"
    return f"relationships to {test.to}.{test.field}" if test.kind == "relationships" else test.kind


def _file_link(path: Path) -> str:
    return f"[{path.name}](../../dbt_like_models/{path.parent.name}/{path.name})"


def _reasons_page() -> str:
    lines = [
        "# Quarantine reasons",
        "",
        _MADE,
        "",
        "`silver.quarantine.reason` holds one of these codes. A row never quotes a value of the message; the",
        "message itself is in `bronze.messages` under the same `object_key` and `line_no`.",
        "",
        "| Reason | What it means |",
        "|---|---|",
        *(f"| `{reason}` | {text} |" for reason, text in REASONS.items()),
        "",
        "`conflict` is a verdict of its own in the ledger (`silver.messages.verdict`). What an import rejects",
        "before it lands has [codes of its own](../formats/README.md#what-becomes-of-each-reading).",
    ]
    return "\n".join(lines) + "\n"


def _cli_page() -> str:
    lines = [
        "# Command line and settings",
        "",
        _MADE,
        "",
        "`smartdrive` lies in `.venv/bin`. What a user can mend is said in one line on standard error, with exit",
        "code 1; progress goes to standard error too, so that a pipe gets the answer alone.",
        "",
        "## Settings",
        "",
        "Read from the environment.",
        "",
        "| Variable | Meaning | Default |",
        "|---|---|---|",
        *_setting_rows(),
        "",
        "S3 is reached as the usual `AWS_…` variables say; see [use S3](../how-to/use-s3.md).",
    ]
    lines += _helps("smartdrive_dagster.cli", "smartdrive", [(), *((name,) for name in _COMMANDS), *_SUBCOMMANDS])
    return "\n".join(lines) + "\n"


def _edge_cli_page() -> str:
    lines = [
        "# Command line of the edge",
        "",
        _MADE,
        "",
        "`smartdrive-edge` is a distribution of its own. Its settings are in",
        "[configuration](../../edge/docs/configuration.md).",
    ]
    commands = [(), *((name,) for name in _EDGE_COMMANDS), *(("certs", name) for name in _CERTS)]
    lines += _helps("smartdrive_edge.cli", "smartdrive-edge", commands)
    return "\n".join(lines) + "\n"


def _api_page() -> str:
    document = create_app(ApiSettings(), create_engine("postgresql+psycopg://")).openapi()  # connects to nothing
    lines = [
        "# REST API",
        "",
        _MADE,
        "",
        "`smartdrive-api` is a distribution of its own. `/openapi.json` says this to programs, with examples.",
        "",
        "## Routes",
        "",
        "| Method and path | What it does | Token | Answers |",
        "|---|---|---|---|",
        *_route_rows(document["paths"]),
        "",
        "Every error is `application/problem+json` (RFC 9457): `type` is `about:blank`, `code` names the kind for",
        "programs, `detail` for people, `errors` the fields that do not fit, `request_id` the request.",
        "",
        "## Settings",
        "",
        "Read from the environment. What is marked as a secret is itself, `file:PATH`, `secretsmanager:NAME` or",
        "`secretsmanager:NAME#KEY`.",
        "",
        "| Variable | Meaning | Default |",
        "|---|---|---|",
        *_api_setting_rows(),
    ]
    lines += _helps("smartdrive_api.cli", "smartdrive-api", [(), *_API_COMMANDS])
    return "\n".join(lines) + "\n"


def _route_rows(paths: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    for path, item in paths.items():
        for method, operation in item.items():
            text = " ".join(str(operation["description"]).split("\n\n")[0].split())
            token = "yes" if operation.get("security") else ""
            answers = ", ".join(operation["responses"])
            yield f"| `{method.upper()} {path}` | {text} | {token} | {answers} |"


def _api_setting_rows() -> Iterator[str]:
    for name, field in ApiSettings.model_fields.items():
        value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        default = "" if value in {None, ""} else f"`{value}`"
        yield f"| `SMARTDRIVE_API_{name.upper()}` | {field.description} | {default} |"


def _helps(module: str, program: str, commands: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Ask one fresh process for all: what a help looks like depends on variables read when Typer is imported."""
    asked = list(commands)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("_")} | _PLAIN
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _HELPS, module, program],
        input=json.dumps(asked),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    for command, text in zip(asked, json.loads(done.stdout), strict=True):
        shown = "\n".join(line.rstrip() for line in text.strip().splitlines())
        yield from ("", f"## {' '.join((program, *command))}", "", "```text", shown, "```")


def _setting_rows() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        yield f"| `SMARTDRIVE_{name.upper()}` | {field.description} | {default} |"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _anchor(title: str) -> str:
    return title.replace(".", "")


if __name__ == "__main__":
    main()
